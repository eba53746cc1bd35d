"""Files that shops send and that are not as they should be: what each comes to.

The table "Bad input" in docs/importing.md has a row for each `Case.said`, with its outcome and code.
"""

import gzip
import io
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from core.settings import MEBIBYTE
from tests import pictures

IMPORTED, FAILED, JOB_FAILS = "imported", "fails alone", "the job fails"
REFUSED = "invalid_input"
BOUNDS: dict[str, Any] = {"max_image_mib": 2, "max_archive_entries": 20, "max_unpacked_mib": 2}
"""Settings under which the cases that are too much of something need not be large."""

Files: TypeAlias = dict[str, bytes]
GOOD = "good.png"


@dataclass(frozen=True)
class Case:
    """An upload. `good` are the external ids that go through; every other item fails with `code`."""

    said: str
    outcome: str
    code: str
    files: Callable[[], Files]
    name: str = ""
    good: frozenset[str] = field(default=frozenset({GOOD}))

    def __str__(self) -> str:
        return self.name or self.said


def zipped(entries: Iterable[tuple[str, bytes]], *, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=method)
    return target.getvalue()


def tarred(entries: Iterable[tuple[str, bytes]], *, special: tuple[tuple[str, bytes], ...] = ()) -> bytes:
    """A tar of files, and of special entries by name and type."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name, data in entries:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind in special:
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, GOOD
            archive.addfile(entry)
    return target.getvalue()


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The data with `value` written `offset` bytes behind the last `signature`."""
    at = data.rfind(signature) + offset
    return data[:at] + value + data[at + len(value) :]


def _good() -> tuple[str, bytes]:
    return GOOD, pictures.png()


def _in_zip(*entries: tuple[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Files:
    return {"a.zip": zipped([_good(), *entries], method=method)}


def _in_tar(*entries: tuple[str, bytes], special: tuple[tuple[str, bytes], ...] = ()) -> Files:
    return {"a.tar": tarred([_good(), *entries], special=special)}


def _manifest(text: str | bytes, name: str = "m.csv") -> Files:
    return {name: text.encode() if isinstance(text, str) else text, "p.png": pictures.png()}


def _rows(*rows: bytes) -> Callable[[], Files]:
    """A CSV whose first row is good."""
    return lambda: _manifest(b"\n".join((b"external_id,image,x", b"good.png,p.png,1", *rows)))


def _lines(*lines: bytes) -> Callable[[], Files]:
    """JSONL whose first line is good."""
    return lambda: _manifest(b"\n".join((b'{"external_id": "good.png", "image": "p.png"}', *lines)), "m.jsonl")


def _picture(said: str, make: Callable[[], bytes], outcome: str, code: str = "", name: str = "") -> Case:
    good = frozenset({GOOD, "odd.jpg"} if outcome == IMPORTED else {GOOD})
    return Case(said, outcome, code, lambda: dict([_good(), ("odd.jpg", make())]), name, good)


def _lying_zip() -> Files:
    """Says 1000 bytes in its directory, and unpacks to 4 MiB."""
    data = zipped([_good(), ("bomb.jpg", bytes(4 * MEBIBYTE))])
    return {"a.zip": patched(data, b"PK\x01\x02", 24, struct.pack("<L", 1000))}


def _overlapping_zip() -> Files:
    """The second entry's data is the first's."""
    data = zipped([_good(), ("again.jpg", pictures.png())])
    return {"a.zip": patched(data, b"PK\x01\x02", 42, bytes(4))}


def _locked_zip() -> Files:
    data = patched(zipped([_good(), ("locked.jpg", pictures.jpeg())]), b"PK\x01\x02", 8, b"\x01\0")
    return {"a.zip": patched(data, b"PK\x03\x04", 6, b"\x01\0")}


def _damaged_zip() -> Files:
    data = zipped([_good(), ("hurt.jpg", pictures.noisy("JPEG"))])
    at = data.find(b"hurt.jpg") + 200
    return {"a.zip": data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]}


def _too_many() -> Files:
    return {"a.zip": zipped([(f"{number}.png", pictures.png()) for number in range(BOUNDS["max_archive_entries"] + 1)])}


SLIP = "a path, in an archive or of a file that was sent, that leads out of it: `..`, absolute, a drive (zip slip)"
BOMB = "an archive's entry that unpacks to far more than its size, or than it says, or overlaps another (zip bomb)"
CUT_ARCHIVE = "an archive that is cut off, or is none"
MARKS = "a manifest with a byte order mark, as UTF-16, with `;` or tabs, with line breaks in quotes"
ENCODING = "a row that is not UTF-8, or contains NUL"
BROKEN_ROW = "a row with a wrong number of cells or an open quote; a line that is no JSON object"
NO_MANIFEST = "a manifest without header, without its columns, or as UTF-16 without a mark; two manifests"
REPEATED = "two rows, or files of several archives, with one `external_id`"
KINDS = "HEIC, AVIF, JPEG XL, SVG, PDF, video, 32-bit TIFF; an archive inside an archive"

POISON = ("a picture whose reading or embedding ends the worker", FAILED, "poison")
"""A row of the table that takes more than a file: see tests/integration/core/test_bad_input.py."""

CASES = (
    _picture("0 bytes", lambda: b"", FAILED, "empty_file"),
    _picture("a picture that is cut off", lambda: pictures.noisy("JPEG")[:-2000], FAILED, "truncated_image"),
    _picture(
        "a picture that is cut off", lambda: pictures.noisy("PNG")[:-2000], FAILED, "truncated_image", "PNG cut off"
    ),
    _picture(
        "a picture that is cut off", pictures.zero_padded_jpeg, FAILED, "truncated_image", "cut off, padded with zeros"
    ),
    _picture("damaged data", lambda: pictures.png().replace(b"IDAT", b"IDAT\xde", 1), FAILED, "corrupt_image"),
    _picture("a wrong extension", pictures.png, IMPORTED),
    _picture("CMYK", pictures.cmyk_jpeg, IMPORTED),
    _picture("16 bits a channel", pictures.rgb16_png, IMPORTED),
    _picture("16 bits a channel", pictures.gray16_tiff, IMPORTED, name="16-bit grey TIFF"),
    _picture("an animation", pictures.animated_gif, IMPORTED),
    _picture("an animation", pictures.animated_webp, IMPORTED, name="animated WebP"),
    _picture("turned by EXIF", lambda: pictures.rotated(6), IMPORTED),
    _picture("60 000 x 60 000 pixels", pictures.bomb_png, FAILED, "too_many_pixels"),
    _picture("60 000 x 60 000 pixels", pictures.bomb_gif, FAILED, "too_many_pixels", "60 000 x 60 000 GIF"),
    _picture(
        "more bytes than `SETR_MAX_IMAGE_MIB`", lambda: pictures.jpeg() + bytes(2 * MEBIBYTE), FAILED, "file_too_large"
    ),
    _picture(KINDS, pictures.heic, FAILED, "unsupported_format", "HEIC"),
    _picture(KINDS, pictures.svg, FAILED, "unsupported_format", "SVG"),
    _picture(KINDS, pictures.avif, FAILED, "unsupported_format", "AVIF"),
    _picture(KINDS, pictures.float_tiff, FAILED, "unsupported_format", "32-bit TIFF"),
    Case(KINDS, FAILED, "unsupported_format", lambda: _in_zip(("inner.zip", zipped([_good()]))), "a ZIP inside a ZIP"),
    Case(KINDS, FAILED, "unsupported_format", lambda: _in_tar(("inner.zip", zipped([_good()]))), "a ZIP inside a tar"),
    Case(KINDS, FAILED, "unsupported_format", lambda: _in_zip(("inner.tar", tarred([_good()]))), "a tar inside a ZIP"),
    _picture("text, or a web page saved as a picture", lambda: b"<!doctype html><p>404", FAILED, "not_an_image"),
    Case(SLIP, FAILED, "unsafe_path", lambda: _in_zip(("../../etc/a.png", pictures.png())), "zip slip"),
    Case(SLIP, FAILED, "unsafe_path", lambda: _in_zip(("C:\\a.png", pictures.png())), "zip slip by a drive"),
    Case(SLIP, FAILED, "unsafe_path", lambda: _in_tar(("/etc/a.png", pictures.png())), "tar slip"),
    Case(SLIP, FAILED, "unsafe_path", lambda: dict([_good(), ("../../etc/a.png", pictures.png())]), "a loose file"),
    Case(
        "two entries of one name in an archive", FAILED, "duplicate_entry", lambda: _in_zip(_good()), "twice in a ZIP"
    ),
    Case(
        "two entries of one name in an archive", FAILED, "duplicate_entry", lambda: _in_tar(_good()), "twice in a tar"
    ),
    Case(BOMB, FAILED, "archive_bomb", lambda: _in_zip(("bomb.jpg", bytes(MEBIBYTE + 1))), "zip bomb"),
    Case(BOMB, FAILED, "archive_bomb", _lying_zip, "an entry that lies about its size"),
    Case(BOMB, FAILED, "archive_bomb", _overlapping_zip, "overlapping entries"),
    Case(
        "a `.tar.gz` that unpacks to more than it may",
        JOB_FAILS,
        REFUSED,
        lambda: {"a.tar.gz": gzip.compress(tarred([_good(), ("bomb.jpg", bytes(3 * MEBIBYTE))]))},
    ),
    Case(
        "a link, a device or a pipe in a tar",
        FAILED,
        "unsupported_entry",
        lambda: _in_tar(special=(("link.png", tarfile.SYMTYPE), ("pipe.png", tarfile.FIFOTYPE))),
    ),
    Case("an entry with a password", FAILED, "encrypted_entry", _locked_zip),
    Case(
        "an entry packed by another method than Store and Deflate",
        FAILED,
        "unsupported_compression",
        lambda: {"a.zip": zipped([("odd.jpg", pictures.jpeg())], method=zipfile.ZIP_LZMA), GOOD: pictures.png()},
    ),
    Case("an entry with damaged data", FAILED, "corrupt_entry", _damaged_zip),
    Case(CUT_ARCHIVE, JOB_FAILS, REFUSED, lambda: {"a.zip": _in_zip()["a.zip"][:-30]}, "a ZIP cut off"),
    Case(CUT_ARCHIVE, JOB_FAILS, REFUSED, lambda: {"a.tar": _in_tar()["a.tar"][:700]}, "a tar cut off"),
    Case(CUT_ARCHIVE, JOB_FAILS, REFUSED, lambda: {"a.tgz": b"no gzip at all"}, "no gzip"),
    Case("more entries than `SETR_MAX_ARCHIVE_ENTRIES`", JOB_FAILS, REFUSED, _too_many),
    Case(MARKS, IMPORTED, "", lambda: _manifest("\ufeffexternal_id,image\ngood.png,p.png\n"), "UTF-8 with a mark"),
    Case(
        MARKS,
        IMPORTED,
        "",
        lambda: _manifest("external_id;image\ngood.png;p.png\n".encode("utf-16")),
        "UTF-16 with `;`",
    ),
    Case(MARKS, IMPORTED, "", lambda: _manifest("external_id\timage\r\ngood.png\tp.png\r\n"), "tabs and CRLF"),
    Case(
        MARKS,
        IMPORTED,
        "",
        lambda: _manifest('external_id,image,x\n"good.png","p.png","a, ""b""\nc"\n'),
        "quotes, delimiters and line breaks in a cell",
    ),
    Case(ENCODING, FAILED, "bad_encoding", _rows(b"a,p.png,caf\xe9"), "Latin-1"),
    Case(ENCODING, FAILED, "bad_encoding", _rows(b"a,p.png,\0"), "NUL"),
    Case(BROKEN_ROW, FAILED, "bad_row", _rows(b"a,p.png", b"b,p.png,1,2"), "wrong number of cells"),
    Case(BROKEN_ROW, FAILED, "bad_row", _rows(b'a,"p.png,1'), "an open quote"),
    Case(BROKEN_ROW, FAILED, "bad_row", _lines(b"{broken", b"[1]"), "no JSON object"),
    Case("a line of more than a million characters", FAILED, "row_too_long", _rows(b"a,p.png," + b"x" * 1_000_001)),
    Case("a CSV cell of more than 131 072 characters", FAILED, "row_too_long", _rows(b"a,p.png," + b"x" * 131_073)),
    Case("a row without `external_id`", FAILED, "missing_external_id", _rows(b",p.png,1")),
    Case(
        "an `external_id` that cannot be printed, or is longer than 512",
        FAILED,
        "bad_external_id",
        _rows(b"a\x07,p.png,1"),
    ),
    Case(
        REPEATED,
        FAILED,
        "duplicate_external_id",
        _rows(b"a,p.png,1", b"a,p.png,2"),
        "two rows of one id",
        frozenset({GOOD, "a"}),
    ),
    Case(
        REPEATED,
        FAILED,
        "duplicate_external_id",
        lambda: {"a.zip": zipped([_good()]), "b.tar": tarred([_good()])},
        "one file in two archives",
    ),
    Case("a row without a picture", FAILED, "missing_image", _rows(b"a,,1")),
    Case("a path that is not among the files", FAILED, "missing_file", _rows(b"a,other.png,1")),
    Case(
        "a nested or endless value",
        FAILED,
        "bad_attribute",
        _lines(b'{"external_id": "a", "image": "p.png", "x": {"y": 1}}'),
    ),
    Case(
        "an unknown `operation`",
        FAILED,
        "unknown_operation",
        _lines(b'{"external_id": "a", "image": "p.png", "operation": "remove"}'),
    ),
    Case(NO_MANIFEST, JOB_FAILS, REFUSED, lambda: _manifest("id,picture\n1,p.png\n"), "no known column"),
    Case(
        NO_MANIFEST,
        JOB_FAILS,
        REFUSED,
        lambda: _manifest("external_id,image\na,p.png\n".encode("utf-16-le")),
        "UTF-16 bare",
    ),
    Case(
        NO_MANIFEST,
        JOB_FAILS,
        REFUSED,
        lambda: {"a.csv": b"external_id,image\n", "b.jsonl": b"{}\n"},
        "two manifests",
    ),
)
