"""The ZIP format, read straight from its directory: bounded before anything is allocated, and nothing touches a disk.

The standard library's reader holds a large object per entry and must parse the whole directory again to read one entry;
an import of a million pictures plans once and then reads entries by their position. Format: PKWARE APPNOTE 6.3.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import BinaryIO

from core.errors import InvalidInputError, ItemError

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _UTF8 = 0x0001, 0x0800
_END = struct.Struct("<4s4H2LH")
_END_SIGNATURE = b"PK\x05\x06"
_LOCATOR = struct.Struct("<4sLQL")
_LOCATOR_SIGNATURE = b"PK\x06\x07"
_END64 = struct.Struct("<4sQ2H2L4Q")
_END64_SIGNATURE = b"PK\x06\x06"
_RECORD = struct.Struct("<4s6H3L5H2L")
_RECORD_SIGNATURE = b"PK\x01\x02"
_LOCAL = struct.Struct("<4s5H3L2H")
_LOCAL_SIGNATURE = b"PK\x03\x04"
_ZIP64_FIELD = 0x0001
_SENTINEL = 0xFFFFFFFF
_MAX_COMMENT = 0xFFFF
_CHUNK = 64 * 1024
# Below this size a ratio proves nothing: a plain white bitmap packs a thousandfold.
_FREE_BYTES = 1024 * 1024
_FARTHEST = 2**62  # no file is longer, and not every stream can be asked to seek further
_DAMAGED = "The archive's directory is damaged: pack and upload it again."


@dataclass(frozen=True, slots=True)
class Entry:
    """A file in an archive and all that is needed to read it without the directory. Sizes and offset in bytes."""

    name: str
    offset: int
    packed_bytes: int
    size_bytes: int
    method: int
    flags: int
    crc32: int


def directory(stream: BinaryIO, *, max_entries: int) -> Iterator[Entry]:
    """Entries in the order of the directory, names as stored (UTF-8 where they are, else code page 437).

    InvalidInputError when this is no ZIP file, its directory is damaged, or it has more than `max_entries` entries.
    """
    place = _locate(stream)
    if place.count > max_entries:
        raise _too_many(max_entries)
    stream.seek(place.start)
    read, found = 0, 0
    while read < place.size_bytes:
        found += 1
        if found > max_entries:
            raise _too_many(max_entries)
        entry, length = _record(stream)
        read += length
        yield replace(entry, offset=entry.offset + place.shift) if place.shift else entry


def read_entry(stream: BinaryIO, entry: Entry, *, max_bytes: int, max_ratio: int) -> bytes:
    """The entry's content, its checksum verified. Moves the stream's position, so one thread at a time.

    ItemError: `file_too_large`, `archive_bomb`, `encrypted_entry`, `unsupported_compression`, `corrupt_entry`.
    """
    if entry.size_bytes > max_bytes:
        raise ItemError(
            "file_too_large",
            f"The file has {entry.size_bytes} bytes, more than the {max_bytes} allowed: send a smaller version.",
        )
    with open_entry(stream, entry, max_ratio=max_ratio) as content:
        return content.read()


def open_entry(stream: BinaryIO, entry: Entry, *, max_ratio: int) -> io.BufferedReader:
    """The entry's content as a stream in constant memory, for entries of any size; errors as for `read_entry`.

    Reading it moves `stream`, which stays open.
    """
    if entry.flags & _ENCRYPTED:
        raise ItemError("encrypted_entry", "The entry is encrypted: pack the archive without a password.")
    if entry.method not in {_STORED, _DEFLATED}:
        raise ItemError(
            "unsupported_compression", f"Compression method {entry.method} is not read: pack with Deflate or Store."
        )
    if entry.size_bytes > max(_FREE_BYTES, entry.packed_bytes * max_ratio):
        raise _bomb(f"unpacks to more than {max_ratio} times its packed size")
    _seek(stream, entry.offset)
    head = stream.read(_LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(_LOCAL_SIGNATURE):
        raise _corrupt()
    name_length, extra_length = _LOCAL.unpack(head)[-2:]
    return io.BufferedReader(_Content(stream, entry, entry.offset + _LOCAL.size + name_length + extra_length), _CHUNK)


def _seek(stream: BinaryIO, at: int) -> None:
    """To `at`, or somewhere behind the end of every file, where there is nothing to read either."""
    stream.seek(min(at, _FARTHEST))


class _Content(io.RawIOBase):
    """Unpacks one entry; never hands out more than the directory declared, and checks the checksum at the end."""

    def __init__(self, stream: BinaryIO, entry: Entry, start: int) -> None:
        super().__init__()
        self._stream, self._entry = stream, entry
        self._at, self._packed_left, self._left = start, entry.packed_bytes, entry.size_bytes
        self._inflater = zlib.decompressobj(-zlib.MAX_WBITS) if entry.method == _DEFLATED else None
        self._crc = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._next(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise _bomb("is larger than the archive says")
        self._crc = zlib.crc32(data, self._crc)
        if not data and (self._left or self._crc != self._entry.crc32):
            raise _corrupt()
        buffer[: len(data)] = data
        return len(data)

    def _next(self, size: int) -> bytes:
        if self._inflater is None:
            return self._packed(size)
        try:
            while not self._inflater.eof:
                packed = self._inflater.unconsumed_tail or self._packed(_CHUNK)
                data = self._inflater.decompress(packed, size)
                if data or not packed:
                    return data
        except zlib.error as error:
            raise _corrupt() from error
        return b""

    def _packed(self, size: int) -> bytes:
        self._stream.seek(self._at)
        data = self._stream.read(min(size, self._packed_left))
        self._at += len(data)
        self._packed_left -= len(data)
        return data


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the directory lies, how many entries it claims, and by how much its offsets are short (in bytes)."""

    start: int
    size_bytes: int
    count: int
    shift: int


def _locate(stream: BinaryIO) -> _Place:
    total = stream.seek(0, io.SEEK_END)
    tail_start = max(0, total - _END.size - _MAX_COMMENT)
    stream.seek(tail_start)
    tail = stream.read()
    at = tail.rfind(_END_SIGNATURE)
    if at < 0 or len(tail) - at < _END.size:
        raise InvalidInputError("The file is no ZIP archive, or its end is missing: pack and upload it again.")
    _, _, _, _, count, size, offset, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if at >= _LOCATOR.size and tail[at - _LOCATOR.size :].startswith(_LOCATOR_SIGNATURE):
        _, _, end, _ = _LOCATOR.unpack_from(tail, at - _LOCATOR.size)
        size, offset, count = _locate64(stream, end)
    start = end - size  # counted from the end, so that archives behind a self-extractor read too
    if start < 0 or start < offset:
        raise InvalidInputError(_DAMAGED)
    return _Place(start, size, count, start - offset)


def _locate64(stream: BinaryIO, at: int) -> tuple[int, int, int]:
    """Size of the directory, its offset (both in bytes) and the number of entries, from the ZIP64 record."""
    _seek(stream, at)
    record = stream.read(_END64.size)
    if len(record) < _END64.size or not record.startswith(_END64_SIGNATURE):
        raise InvalidInputError(_DAMAGED)
    *_, count, size, offset = _END64.unpack(record)
    return size, offset, count


def _record(stream: BinaryIO) -> tuple[Entry, int]:
    """The next directory record and its length in bytes."""
    head = stream.read(_RECORD.size)
    if len(head) < _RECORD.size or not head.startswith(_RECORD_SIGNATURE):
        raise InvalidInputError(_DAMAGED)
    (_, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length, comment_length, *_, offset) = (
        _RECORD.unpack(head)
    )
    variable = stream.read(name_length + extra_length + comment_length)
    if len(variable) < name_length + extra_length + comment_length:
        raise InvalidInputError(_DAMAGED)
    extra = variable[name_length : name_length + extra_length]
    size, packed, offset = _widened(extra, (size, packed, offset))
    name = _name(variable[:name_length], utf8=bool(flags & _UTF8))
    return Entry(name, offset, packed, size, method, flags, crc), len(head) + len(variable)


def _widened(extra: bytes, values: tuple[int, int, int]) -> tuple[int, int, int]:
    """Replace the 32-bit sentinels among (size, packed, offset) by their 64-bit values in the extra field."""
    if _SENTINEL not in values:
        return values
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        at += 4
        if kind == _ZIP64_FIELD:
            wide = iter(struct.unpack_from(f"<{min(length, len(extra) - at) // 8}Q", extra, at))
            size, packed, offset = (next(wide, value) if value == _SENTINEL else value for value in values)
            return size, packed, offset
        at += length
    return values


def _name(raw: bytes, *, utf8: bool) -> str:
    """Many packers write UTF-8 without saying so; text in another code page is hardly ever valid UTF-8."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("cp437") if not utf8 else raw.decode(errors="replace")


def _too_many(max_entries: int) -> InvalidInputError:
    return InvalidInputError(f"The archive has more than {max_entries} entries: split it.")


def _bomb(why: str) -> ItemError:
    return ItemError("archive_bomb", f"The entry {why}: pack the archive again with an ordinary tool.")


def _corrupt() -> ItemError:
    return ItemError("corrupt_entry", "The entry is damaged inside the archive: pack and upload it again.")
