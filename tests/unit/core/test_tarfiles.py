import gzip
import io
import tarfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.archives import Archive, Limits, is_archive_name, is_gzipped_tar, open_archive
from core.errors import InvalidInputError, ItemError
from core.items import Place, PlannedItem, as_raw, planned_item
from core.manifests import Row, read_manifest
from core.tarfiles import Gunzipped, TarEntry, read_tar_entry, tar_directory

LIMITS = Limits(max_entries=1000, max_ratio=200)
MEBIBYTE = 1024 * 1024
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]


def packed(
    files: dict[str, bytes] | list[tuple[str, bytes]],
    *,
    form: int = tarfile.PAX_FORMAT,
    special: dict[str, bytes] | None = None,
) -> bytes:
    """A tar of files, and of special entries by name and type."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w", format=form) as archive:
        for name, data in files.items() if isinstance(files, dict) else files:
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
        for name, kind in (special or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "a.jpg"
            archive.addfile(entry)
    return target.getvalue()


def opened(data: bytes, limits: Limits = LIMITS) -> Archive:
    return open_archive(io.BytesIO(data), "a.tar", limits)


def read(archive: Archive, name: str, *, max_bytes: int = 100 * MEBIBYTE) -> bytes:
    return archive.read(archive.find(name), max_bytes=max_bytes)


def gunzipped(data: bytes, *, max_ratio: int = 200, max_bytes: int = 1024 * MEBIBYTE) -> bytes:
    return Gunzipped(io.BytesIO(data), max_ratio=max_ratio, max_bytes=max_bytes).readall()


@pytest.mark.parametrize("form", FORMATS)
def test_files_come_back_as_they_were(form: int) -> None:
    files = {"a.jpg": b"", "b/c.jpg": np.random.default_rng(1).bytes(200_000), "b/d.txt": b"d" * 512}
    archive = opened(packed(files, form=form))
    assert archive.names() == tuple(files)
    assert {name: read(archive, name) for name in files} == files


@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names(form: int) -> None:
    files = {"p/" * 80 + "a.jpg": b"1", "größe/ñ.jpg": b"2", "b.jpg": b"3"}
    assert opened(packed(files, form=form)).names() == tuple(files)


def test_a_prefix_is_part_of_the_name() -> None:
    name = "folder/" * 20 + "a.jpg"
    assert opened(packed({name: b"1"}, form=tarfile.USTAR_FORMAT)).names() == (name,)


def test_an_entry_is_read_by_its_description_alone_after_a_trip_through_a_payload() -> None:
    data = packed({"a.jpg": b"one", "b.jpg": b"two"})
    entry = opened(data).find("b.jpg")
    item = PlannedItem("b", None, "a.tar/b.jpg", Place("key", len(data), entry))
    again = planned_item(as_raw(item))
    assert again == item
    assert isinstance(again.place, Place)
    assert isinstance(again.place.entry, TarEntry)
    assert read_tar_entry(io.BytesIO(data), again.place.entry, max_bytes=10) == b"two"


def test_the_manifest_streams_out_of_the_archive() -> None:
    rows = "external_id,image\n" + "".join(f"sku-{number},images/{number}.jpg\n" for number in range(20_000))
    archive = opened(packed({"shop/images/7.jpg": b"seven", "shop/catalog.csv": rows.encode()}))
    assert archive.manifest is not None
    with archive.open(archive.manifest) as stream:
        found = list(read_manifest(stream, "catalog.csv"))
    assert len(found) == 20_000
    assert isinstance(found[7], Row)
    assert read(archive, found[7].image) == b"seven"


@pytest.mark.parametrize("name", ["../a.jpg", "b/../../a.jpg", "/etc/a.jpg", "C:\\a.jpg"])
def test_paths_out_of_the_archive_are_rejected(name: str) -> None:
    archive = opened(packed({"ok.jpg": b"x", name: b"x"}))
    assert archive.names() == ("ok.jpg",)
    assert [rejected.code for rejected in archive.rejected] == ["unsafe_path"]


@pytest.mark.parametrize(
    "kind",
    [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE],
    ids=["symlink", "hard link", "character device", "block device", "pipe"],
)
def test_links_and_devices_are_rejected_and_say_so_to_a_manifest(kind: bytes) -> None:
    archive = opened(packed({"a.jpg": b"x"}, special={"./b.jpg": kind}))
    assert archive.names() == ("a.jpg",)
    assert [(rejected.name, rejected.code) for rejected in archive.rejected] == [("b.jpg", "unsupported_entry")]
    with pytest.raises(ItemError) as caught:
        archive.find("b.jpg")
    assert caught.value.item_code == "unsupported_entry"


def test_folders_and_junk_are_left_out() -> None:
    files = {"top/a.jpg": b"a", "top/.DS_Store": b"x", "top/._a.jpg": b"x", "__MACOSX/a.jpg": b"x"}
    archive = opened(packed(files, special={"top": tarfile.DIRTYPE, "top/._b": tarfile.SYMTYPE}))
    assert archive.names() == ("top/a.jpg",)
    assert archive.rejected == []


def test_the_first_of_two_entries_with_one_name_counts() -> None:
    archive = opened(packed([("a.jpg", b"first"), ("./a.jpg", b"second")]))
    assert read(archive, "a.jpg") == b"first"
    assert [rejected.code for rejected in archive.rejected] == ["duplicate_entry"]


def test_archives_inside_are_files_like_any_other() -> None:
    inner = packed({"deep.jpg": b"x"})
    assert opened(packed({"inner.tar": inner, "a.jpg": b"x"})).names() == ("inner.tar", "a.jpg")


def test_a_file_larger_than_allowed_is_refused_before_it_is_read() -> None:
    archive = opened(packed({"a.jpg": b"x" * 1000}))
    with pytest.raises(ItemError) as caught:
        read(archive, "a.jpg", max_bytes=999)
    assert caught.value.item_code == "file_too_large"


def test_entries_are_counted() -> None:
    data = packed({f"{number}.jpg": b"x" for number in range(11)})
    assert len(opened(data, Limits(max_entries=11, max_ratio=1)).names()) == 11
    with pytest.raises(InvalidInputError, match="more than 10 entries"):
        opened(data, Limits(max_entries=10, max_ratio=1))


WHOLE = packed({"a.jpg": b"a" * 3000, "b.jpg": b"b" * 3000})


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a tar file",
        b"x" * 10_000,
        bytes(10_240),
        WHOLE[:100],
        WHOLE[:2000],
        WHOLE[: 512 + 3072],
        WHOLE[: 2 * (512 + 3072)],
        WHOLE[:3584] + b"x" * 512 + WHOLE[4096:],
    ],
    ids=["empty", "text", "junk", "no entries", "header cut", "file cut", "between", "no end", "second header"],
)
def test_what_is_no_whole_tar_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        opened(data)


def patched(field: slice, value: bytes, data: bytes = WHOLE) -> bytes:
    """The first header with another value and a right checksum."""
    header = bytearray(data[:512])
    header[field] = value
    header[148:156] = b" " * 8
    header[148:156] = b"%06o\0 " % sum(header)
    return bytes(header) + data[512:]


@pytest.mark.parametrize(
    "data",
    [
        patched(slice(124, 136), b"77777777777\0"),
        patched(slice(124, 136), b"-0000000001\0"),
        patched(slice(124, 136), b"\xff" * 12),
        patched(slice(124, 136), b"\x80" + b"\xff" * 11),
        patched(slice(156, 157), b"S"),
        patched(slice(124, 137), b"00077777777\0" + b" ", patched(slice(156, 157), b"x")),
        patched(slice(156, 157), b"x"),
    ],
    ids=["8 GiB", "negative", "negative binary", "huge binary", "sparse", "huge extension", "no extension"],
)
def test_headers_that_lie_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        opened(data)


@given(st.binary(max_size=2000))
@settings(max_examples=200)
def test_no_bytes_break_the_reader(data: bytes) -> None:
    for start in (data, WHOLE[:512] + data, patched(slice(156, 157), b"x") + data):
        try:
            list(tar_directory(io.BytesIO(start), max_entries=100))
        except InvalidInputError:
            continue


@given(
    st.dictionaries(st.text("abcä/._", min_size=1, max_size=120), st.binary(max_size=2000), max_size=8),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
@settings(max_examples=50)
def test_directories_say_what_was_packed(files: dict[str, bytes], form: int) -> None:
    data = packed(files, form=form)
    if not files:
        return
    stream = io.BytesIO(data)
    entries = [entry for entry, _ in tar_directory(stream, max_entries=100)]
    assert [read_tar_entry(stream, entry, max_bytes=MEBIBYTE) for entry in entries] == list(files.values())
    assert not stream.closed


def test_gzip_comes_unpacked_whole_with_several_members() -> None:
    data = packed({"a.jpg": np.random.default_rng(2).bytes(300_000)})
    split = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    assert gunzipped(gzip.compress(data)) == data
    assert gunzipped(split) == data


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no gzip at all",
        gzip.compress(WHOLE)[:-9],
        gzip.compress(WHOLE)[:40],
        gzip.compress(WHOLE)[:-8] + bytes(8),
    ],
    ids=["empty", "text", "cut", "cut early", "wrong checksum"],
)
def test_damaged_gzip_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInputError):
        opened(gunzipped(data))


def test_a_gzip_bomb_is_refused_while_it_unpacks() -> None:
    bomb = gzip.compress(bytes(80 * MEBIBYTE), 6)
    with pytest.raises(InvalidInputError, match="200 times"):
        gunzipped(bomb)
    with pytest.raises(InvalidInputError, match="more than"):
        gunzipped(bomb, max_ratio=10_000, max_bytes=MEBIBYTE)


@pytest.mark.parametrize(
    ("name", "archive", "gzipped"),
    [
        ("A.ZIP", True, False),
        ("a.tar", True, False),
        ("a.Tar.Gz", True, True),
        ("a.tgz", True, True),
        ("a.gz", False, False),
    ],
)
def test_archives_are_known_by_their_names(name: str, archive: bool, gzipped: bool) -> None:  # noqa: FBT001
    assert (is_archive_name(name), is_gzipped_tar(name)) == (archive, gzipped)
