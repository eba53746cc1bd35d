import io
import struct
import zipfile
from dataclasses import asdict, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.archives import Archive, Limits, Rejected, normalise, open_archive
from core.errors import InvalidInputError, ItemError
from core.manifests import Row, read_manifest
from core.zipfiles import Entry, directory, read_entry

LIMITS = Limits(max_entries=1000, max_ratio=200)
MEBIBYTE = 1024 * 1024


def packed(
    files: dict[str, bytes] | list[tuple[str, bytes]], *, method: int = zipfile.ZIP_DEFLATED, comment: bytes = b""
) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", method) as archive:
        archive.comment = comment
        for name, data in files.items() if isinstance(files, dict) else files:
            archive.writestr(name, data)
    return target.getvalue()


def opened(data: bytes, limits: Limits = LIMITS) -> Archive:
    return open_archive(io.BytesIO(data), "a.zip", limits)


def read(archive: Archive, name: str, *, max_bytes: int = MEBIBYTE) -> bytes:
    return archive.read(archive.find(name), max_bytes=max_bytes)


def code(archive: Archive, name: str, *, max_bytes: int = 100 * MEBIBYTE) -> str:
    with pytest.raises(ItemError) as caught:
        read(archive, name, max_bytes=max_bytes)
    return caught.value.item_code


def patched(data: bytes, signature: bytes, offset: int, value: bytes) -> bytes:
    """The archive with `value` written `offset` bytes behind each `signature`."""
    found = bytearray(data)
    at = found.find(signature)
    while at >= 0:
        found[at + offset : at + offset + len(value)] = value
        at = found.find(signature, at + 4)
    return bytes(found)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("comment", [b"", b"packed by a shop"])
@pytest.mark.parametrize("prefix", [b"", b"#!/bin/sh self-extractor\n"])
def test_files_come_back_as_they_were(method: int, comment: bytes, prefix: bytes) -> None:
    files = {"a.jpg": b"", "b/c.jpg": np.random.default_rng(1).bytes(200_000), "b/d.txt": b"d" * 70_000}
    archive = opened(prefix + packed(files, method=method, comment=comment))
    assert archive.names() == tuple(files)
    assert {name: read(archive, name) for name in files} == files


def test_a_zip64_archive_is_read() -> None:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive, archive.open("a.jpg", "w", force_zip64=True) as entry:
        entry.write(b"content")
    data = target.getvalue()
    assert read(opened(data), "a.jpg") == b"content"

    head, count = data[: data.rfind(b"PK\x05\x06")], 1
    start = data.find(b"PK\x01\x02")
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, len(head) - start, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(head), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    assert read(opened(head + end64 + locator + end), "a.jpg") == b"content"


@given(
    entries=st.lists(
        st.builds(
            Entry,
            name=st.from_regex(r"[a-z]{1,3}/[a-z]{1,3}\.jpg", fullmatch=True),
            offset=st.integers(0, 2**64 - 1),
            packed_bytes=st.integers(0, 2**64 - 1),
            size_bytes=st.integers(0, 2**64 - 1),
            method=st.integers(0, 2**16 - 1),
            flags=st.integers(0, 2**16 - 1),
            crc32=st.integers(0, 2**32 - 1),
        ),
        unique_by=lambda entry: entry.name,
    )
)
def test_entries_come_out_of_the_directory_as_they_went_in(entries: list[Entry]) -> None:
    archive = Archive(io.BytesIO(), LIMITS)
    for entry in entries:
        archive.add(entry)

    assert archive.names() == tuple(entry.name for entry in entries)
    assert [archive.find(entry.name) for entry in entries] == entries


def test_an_entry_is_read_by_its_description_alone() -> None:
    data = packed({"a.jpg": b"one", "b.jpg": b"two"})
    described = asdict(opened(data).find("b.jpg"))
    assert read_entry(io.BytesIO(data), Entry(**described), max_bytes=10, max_ratio=10) == b"two"


def test_folders_and_junk_are_left_out() -> None:
    archive = opened(
        packed(
            {
                "top/": b"",
                "top/a.jpg": b"a",
                "top/.DS_Store": b"x",
                "top/._a.jpg": b"x",
                "__MACOSX/top/._a.jpg": b"x",
                "top/Thumbs.db": b"x",
                "top/desktop.ini": b"x",
            }
        )
    )
    assert archive.names() == ("top/a.jpg",)
    assert archive.rejected == []


@pytest.mark.parametrize(
    ("names", "manifest"),
    [
        (["catalog.csv", "images/1.jpg"], "catalog.csv"),
        (["Catalog.JSONL", "1.jpg"], "Catalog.JSONL"),
        (["shop/catalog.csv", "shop/images/1.jpg"], "shop/catalog.csv"),
        (["shop/data/catalog.csv", "shop/1.jpg"], None),
        (["shop/catalog.csv", "other/1.jpg"], None),
        (["shop/catalog.csv", "1.jpg"], None),
        (["catalog.csv", "deep/other.csv"], "catalog.csv"),
        (["1.jpg"], None),
    ],
)
def test_the_manifest_lies_at_the_top_or_in_the_single_top_folder(names: list[str], manifest: str | None) -> None:
    found = opened(packed(dict.fromkeys(names, b"x"))).manifest
    assert (found.name if found else None) == manifest


def test_two_manifests_are_refused_by_name() -> None:
    with pytest.raises(InvalidInputError, match=r"2 manifests \(a.csv, b.jsonl\)"):
        _ = opened(packed({"a.csv": b"", "b.jsonl": b""})).manifest


def test_a_manifest_is_read_as_a_stream() -> None:
    archive = opened(packed({"shop/c.csv": b"external_id,image\na,1.jpg\n", "shop/1.jpg": b"one"}))
    assert archive.manifest is not None
    (row,) = read_manifest(archive.open(archive.manifest), archive.manifest.name)
    assert isinstance(row, Row)
    assert read(archive, row.image) == b"one"


@pytest.mark.parametrize(
    "path", ["images/ä.jpg", "./images/ä.jpg", "images\\ä.jpg", "images//ä.jpg", "shop/images/ä.jpg"]
)
def test_manifest_paths_find_their_entries_however_they_are_spelt(path: str) -> None:
    archive = opened(packed({"shop/c.csv": b"", "shop/images/a\u0308.jpg": b"found"}))
    assert read(archive, path) == b"found"


def test_a_missing_file_has_a_hint() -> None:
    archive = opened(packed({"c.csv": b"", "images/Dress-1.JPG": b""}))
    with pytest.raises(ItemError, match=r"did you mean 'images/Dress-1\.JPG'") as caught:
        archive.find("dress-1.jpg")
    assert caught.value.item_code == "missing_file"
    with pytest.raises(ItemError, match="check the path"):
        archive.find("other.jpg")


@pytest.mark.parametrize(
    "name", ["../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "C:\\evil.jpg", "\\\\host\\evil.jpg"]
)
def test_a_path_out_of_the_archive_is_unsafe(name: str) -> None:
    archive = opened(packed([(name, b"x"), ("fine.jpg", b"x")]))
    assert archive.names() == ("fine.jpg",)
    assert [(one.name, one.code) for one in archive.rejected] == [(name, "unsafe_path")]
    with pytest.raises(ItemError) as caught:
        archive.find(name)
    assert caught.value.item_code == "unsafe_path"


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_of_two_entries_with_one_name_the_first_counts() -> None:
    archive = opened(packed([("a.jpg", b"first"), ("./a.jpg", b"second"), ("a.jpg", b"third")]))
    assert read(archive, "a.jpg") == b"first"
    assert [one.code for one in archive.rejected] == ["duplicate_entry", "duplicate_entry"]


def test_without_a_manifest_every_file_is_an_item_or_rejected() -> None:
    archive = opened(packed([("b/1.jpg", b"x"), ("notes.txt", b"x"), ("bad\x07.jpg", b"x"), ("../2.jpg", b"x")]))
    items = [(item.name, item.code if isinstance(item, Rejected) else "") for item in archive.items()]
    assert items == [
        ("b/1.jpg", ""),
        ("notes.txt", ""),
        ("bad\ufffd.jpg", "bad_external_id"),
        ("../2.jpg", "unsafe_path"),
    ]


def test_names_that_are_utf8_without_saying_so_and_old_names_are_read() -> None:
    data = packed({"xx.jpg": b"1", "yz.jpg": b"2"})
    data = data.replace(b"xx.jpg", "ä.jpg".encode()).replace(b"yz.jpg", "üz.jpg".encode("cp437"))
    assert opened(data).names() == ("ä.jpg", "üz.jpg")


def test_an_encrypted_entry_fails_alone() -> None:
    data = packed({"a.jpg": b"secret"})
    data = patched(patched(data, b"PK\x01\x02", 8, b"\x01\0"), b"PK\x03\x04", 6, b"\x01\0")
    assert code(opened(data), "a.jpg") == "encrypted_entry"


def test_an_exotic_compression_fails_alone() -> None:
    assert code(opened(packed({"a.jpg": b"x"}, method=zipfile.ZIP_LZMA)), "a.jpg") == "unsupported_compression"


def test_a_large_entry_is_refused_by_its_declared_size() -> None:
    archive = opened(packed({"a.jpg": b"x" * 2000}))
    assert code(archive, "a.jpg", max_bytes=1999) == "file_too_large"
    assert read(archive, "a.jpg", max_bytes=2000) == b"x" * 2000


def test_a_bomb_is_refused_by_its_ratio_but_a_small_plain_bitmap_is_not() -> None:
    archive = opened(packed({"bomb.jpg": bytes(20 * MEBIBYTE), "plain.bmp": bytes(MEBIBYTE)}))
    assert code(archive, "bomb.jpg") == "archive_bomb"
    assert len(read(archive, "plain.bmp")) == MEBIBYTE


def test_an_entry_that_lies_about_its_size_is_stopped_there() -> None:
    data = patched(packed({"a.jpg": bytes(20 * MEBIBYTE)}), b"PK\x01\x02", 24, struct.pack("<L", 1000))
    assert code(opened(data), "a.jpg") == "archive_bomb"


@pytest.mark.parametrize(("first", "second"), [("a.jpg", "b.jpg"), ("b.jpg", "a.jpg")])
def test_overlapping_entries_are_refused_but_for_the_first(first: str, second: str) -> None:
    data = packed([(first, b"kernel" * 100), (second, b"kernel" * 100)])
    start = data.rfind(b"PK\x01\x02")
    overlapping = data[: start + 42] + bytes(4) + data[start + 46 :]
    archive = opened(overlapping)
    assert archive.names() == (first,)
    assert [(one.name, one.code) for one in archive.rejected] == [(second, "archive_bomb")]


@pytest.mark.parametrize("place", [0, 35, 134])
def test_a_damaged_entry_fails_alone(place: int) -> None:
    data = bytearray(packed({"a.jpg": b"0123456789" * 10, "b.jpg": b"fine"}, method=zipfile.ZIP_STORED))
    data[place] ^= 0xFF
    archive = opened(bytes(data))
    assert code(archive, "a.jpg") == "corrupt_entry"
    assert read(archive, "b.jpg") == b"fine"


def test_a_damaged_deflate_stream_fails_alone() -> None:
    data = bytearray(packed({"a.jpg": np.random.default_rng(2).bytes(5000), "b.jpg": b"fine"}))
    data[40:60] = b"\xff" * 20
    archive = opened(bytes(data))
    assert code(archive, "a.jpg") == "corrupt_entry"
    assert read(archive, "b.jpg") == b"fine"


def test_an_entry_whose_data_is_missing_is_corrupt() -> None:
    data = packed({"a.jpg": b"x" * 100}, method=zipfile.ZIP_STORED)
    entry = opened(data).find("a.jpg")
    assert isinstance(entry, Entry)
    for wrong in (replace(entry, offset=10**6), replace(entry, packed_bytes=40), replace(entry, crc32=1)):
        with pytest.raises(ItemError) as caught:
            read_entry(io.BytesIO(data), wrong, max_bytes=1000, max_ratio=100)
        assert caught.value.item_code == "corrupt_entry"


def test_a_nested_archive_is_just_a_file() -> None:
    inner = packed({"a.jpg": b"x"})
    archive = opened(packed({"inner.zip": inner}))
    assert archive.names() == ("inner.zip",)
    assert read(archive, "inner.zip") == inner


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "no ZIP archive"),
        (b"not an archive" * 100, "no ZIP archive"),
        (packed({"a.jpg": b"x" * 1000})[:-30], "no ZIP archive"),
        (packed({}), "no files"),
        (packed({"folder/": b"", "__MACOSX/._x": b"x"}), "no files"),
        (packed({"a.jpg": b""}).replace(b"PK\x01\x02", b"PK\x01\x09"), "damaged"),
        (packed({"a.jpg": b""})[20:], "damaged"),
    ],
    ids=["empty", "text", "cut", "no entries", "only junk", "directory", "front missing"],
)
def test_an_unusable_archive_is_refused_as_a_whole(data: bytes, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        opened(data)


def test_the_number_of_entries_is_bounded_by_claim_and_by_count() -> None:
    data = packed({f"{index}.jpg": b"" for index in range(11)})
    limits = Limits(max_entries=10, max_ratio=10)
    with pytest.raises(InvalidInputError, match="more than 10 entries"):
        opened(data, limits)
    lying = patched(data, b"PK\x05\x06", 8, struct.pack("<2H", 1, 1))
    with pytest.raises(InvalidInputError, match="more than 10 entries"):
        opened(lying, limits)


def test_paths_are_normalised_once() -> None:
    assert normalise("./a\\b//c/./d.jpg") == "a/b/c/d.jpg"
    assert normalise("e\u0301.jpg") == "\u00e9.jpg"


SEED = packed({"c.csv": b"external_id,image\n", "a/1.jpg": b"one" * 50, "a/2.jpg": b"two" * 50})


@given(st.lists(st.tuples(st.integers(0, len(SEED) - 1), st.binary(min_size=1, max_size=4)), min_size=1, max_size=5))
def test_damage_anywhere_is_one_of_our_errors_or_still_readable(damage: list[tuple[int, bytes]]) -> None:
    data = bytearray(SEED)
    for at, patch in damage:
        data[at : at + len(patch)] = patch
    read_bytes = 0
    try:
        archive = opened(bytes(data))
        for name in archive.names():
            try:
                read_bytes += len(read(archive, name, max_bytes=1000))
            except ItemError as error:
                assert error.item_code  # noqa: PT017 - either outcome is right, this checks one
    except InvalidInputError as error:
        assert error.detail  # noqa: PT017 - either outcome is right, this checks one
    assert read_bytes <= 3000


NAMES = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=10).filter(
    lambda name: not set(name) & set("/\\:.")
)


@given(st.dictionaries(NAMES, st.binary(max_size=200), min_size=1, max_size=6))
def test_the_directory_agrees_with_the_standard_librarys(files: dict[str, bytes]) -> None:
    data = packed(files)
    with zipfile.ZipFile(io.BytesIO(data)) as reference:
        wanted = [(one.filename, one.header_offset, one.file_size, one.CRC) for one in reference.infolist()]
    found = directory(io.BytesIO(data), max_entries=10)
    assert [(one.name, one.offset, one.size_bytes, one.crc32) for one in found] == wanted


def test_a_zip64_offset_beyond_every_file_is_damage() -> None:
    """Not every stream can be asked to seek so far: what its refusal raises must not end the worker."""
    archive = Archive(io.BufferedReader(io.BytesIO(bytes(200))), LIMITS)
    archive.add(Entry("a.png", 2**64 - 1, 1, 1, 0, 0, 0))
    assert code(archive, "a.png") == "corrupt_entry"

    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 2**64 - 1, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    with pytest.raises(InvalidInputError, match="damaged"):
        open_archive(io.BufferedReader(io.BytesIO(bytes(200) + locator + end)), "a.zip", LIMITS)
