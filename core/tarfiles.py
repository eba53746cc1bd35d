"""The tar format, read header by header: bounded before anything is allocated, and nothing touches a disk.

A compressed tar can only be read from its start, so it is unpacked once into the bucket (see docs/adr/0017) and from
then on read as a plain one. Format: POSIX.1-1988 (ustar), POSIX.1-2001 (pax), and GNU's long names.
"""

import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import BinaryIO, cast

from core.errors import InvalidInputError, ItemError

_BLOCK = 512
_EMPTY = bytes(_BLOCK)
_MAX_EXTENSION = 1024 * 1024
_WINDOW = 4 * 1024 * 1024
# Below this size a ratio proves nothing: a tar of small files is mostly padding.
_FREE_BYTES = 64 * 1024 * 1024
_MAX_DIGITS = 20
_OCTAL = b"01234567"
_BASE_256 = 0x80
_USTAR = b"ustar\0"
_SPARSE = b"S"
_EXTENSIONS = frozenset({b"x", b"g", b"L", b"K"})
_DEVICES = frozenset({b"3", b"4", b"6"})
_DAMAGED = "The archive is damaged or cut off: pack and upload it again."
_NO_TAR = "The file is no tar archive, or it is empty: pack and upload it again."


class TarKind(StrEnum):
    """What an entry is; only files can become items."""

    FILE = "file"
    FOLDER = "folder"
    LINK = "link"
    OTHER = "other"


_KINDS = {
    b"0": TarKind.FILE,
    b"\0": TarKind.FILE,
    b"7": TarKind.FILE,
    b"1": TarKind.LINK,
    b"2": TarKind.LINK,
    b"5": TarKind.FOLDER,
}


@dataclass(frozen=True, slots=True)
class TarEntry:
    """A file in a plain tar and all that is needed to read it alone. Offset of its content and size in bytes."""

    name: str
    offset: int
    size_bytes: int


def tar_directory(stream: BinaryIO, *, max_entries: int) -> Iterator[tuple[TarEntry, TarKind]]:
    """Entries of a seekable plain tar and what they are, names as stored (UTF-8 where they are, else Latin-1).

    InvalidInputError when this is no tar file, it is damaged or cut off, or it has more than `max_entries` entries.
    """
    size_bytes = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    window = io.BufferedReader(stream, _WINDOW)  # type: ignore[type-var]
    try:
        yield from _entries(cast("BinaryIO", window), size_bytes, max_entries)
    finally:
        window.detach()


def read_tar_entry(stream: BinaryIO, entry: TarEntry, *, max_bytes: int) -> bytes:
    """The entry's content. Moves the stream's position, so one thread at a time. ItemError `file_too_large`."""
    if entry.size_bytes > max_bytes:
        raise ItemError(
            "file_too_large",
            f"The file has {entry.size_bytes} bytes, more than the {max_bytes} allowed: send a smaller version.",
        )
    stream.seek(entry.offset)
    data = stream.read(entry.size_bytes)
    if len(data) < entry.size_bytes:
        raise ItemError("corrupt_entry", "The entry is damaged inside the archive: pack and upload it again.")
    return data


def open_tar_entry(stream: BinaryIO, entry: TarEntry) -> io.BufferedReader:
    """The entry's content as a stream in constant memory. Reading it moves `stream`, which stays open."""
    return io.BufferedReader(_Slice(stream, entry), _WINDOW)


class Gunzipped(io.RawIOBase):
    """What a gzip file unpacks to, as a stream in constant memory, for an object store to take.

    Reading raises InvalidInputError when the file is no gzip, is damaged or cut off, unpacks to more than `max_ratio`
    times its size (beyond 64 MiB) or to more than `max_bytes`.
    """

    def __init__(self, stream: BinaryIO, *, max_ratio: int, max_bytes: int) -> None:
        super().__init__()
        self._packed = stream
        self._file = gzip.GzipFile(fileobj=stream)
        self._max_ratio, self._max_bytes = max_ratio, max_bytes
        self._size_bytes = 0

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        """Fill the buffer as far as the file goes."""
        try:
            count = self._file.readinto(buffer)
        except (OSError, EOFError, zlib.error) as error:
            raise InvalidInputError(_DAMAGED) from error
        self._size_bytes += count
        if self._size_bytes > max(_FREE_BYTES, self._packed.tell() * self._max_ratio):
            raise InvalidInputError(
                f"The archive unpacks to more than {self._max_ratio} times its size: pack it with an ordinary tool."
            )
        if self._size_bytes > self._max_bytes:
            raise InvalidInputError(f"The archive unpacks to more than {self._max_bytes} bytes: split it.")
        return count


class _Slice(io.RawIOBase):
    """One entry's bytes."""

    def __init__(self, stream: BinaryIO, entry: TarEntry) -> None:
        super().__init__()
        self._stream, self._at, self._left = stream, entry.offset, entry.size_bytes

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        self._stream.seek(self._at)
        data = self._stream.read(min(len(buffer), self._left))
        self._at += len(data)
        self._left -= len(data)
        buffer[: len(data)] = data
        return len(data)


@dataclass(frozen=True, slots=True)
class _Header:
    """A header block taken apart. `content_at` is the offset of what follows it, `size_bytes` how much that is."""

    name: str
    flag: bytes
    content_at: int
    size_bytes: int


@dataclass(slots=True)
class _Overrides:
    """What extension headers say about the entry that follows them."""

    name: str | None = None
    size_bytes: int | None = None


def _entries(stream: BinaryIO, total_bytes: int, max_entries: int) -> Iterator[tuple[TarEntry, TarKind]]:
    overrides = _Overrides()
    at, count = 0, 0
    while (block := _block(stream, at)) != _EMPTY:
        header = _header(block, at + _BLOCK)
        size_bytes = header.size_bytes
        if header.flag in _EXTENSIONS:
            if size_bytes > _MAX_EXTENSION:
                raise InvalidInputError(_DAMAGED)
            _extend(overrides, header.flag, stream.read(size_bytes))
        else:
            count += 1
            if count > max_entries:
                raise InvalidInputError(f"The archive has more than {max_entries} entries: split it.")
            kind = _KINDS.get(header.flag, TarKind.OTHER)
            entry = _entry(header, kind, overrides)
            size_bytes = entry.size_bytes
            overrides = _Overrides()
            yield entry, kind
        at = header.content_at + -(-size_bytes // _BLOCK) * _BLOCK
        if at > total_bytes:
            raise InvalidInputError(_DAMAGED)


def _block(stream: BinaryIO, at: int) -> bytes:
    stream.seek(at)
    block = stream.read(_BLOCK)
    if len(block) < _BLOCK:  # a whole archive ends with an empty block
        raise InvalidInputError(_DAMAGED if at else _NO_TAR)
    return block


def _header(block: bytes, content_at: int) -> _Header:
    blank = block[:148] + b" " * 8 + block[156:]
    if _number(block[148:156]) != sum(blank):
        raise InvalidInputError(_DAMAGED if content_at > _BLOCK else _NO_TAR)
    name = _until_nul(block[:100])
    prefix = _until_nul(block[345:500]) if block[257:263] == _USTAR else b""
    return _Header(_text(prefix + b"/" * bool(prefix) + name), block[156:157], content_at, _number(block[124:136]))


def _entry(header: _Header, kind: TarKind, overrides: _Overrides) -> TarEntry:
    if header.flag == _SPARSE:
        raise InvalidInputError("The archive holds sparse files: pack it again without `--sparse`.")
    if kind in {TarKind.LINK, TarKind.FOLDER} or header.flag in _DEVICES:
        size_bytes = 0  # whatever the field says, nothing follows
    else:
        size_bytes = header.size_bytes if overrides.size_bytes is None else overrides.size_bytes
    name = header.name if overrides.name is None else overrides.name
    return TarEntry(name, header.content_at, size_bytes)


def _extend(overrides: _Overrides, flag: bytes, content: bytes) -> None:
    if flag == b"L":
        overrides.name = _text(_until_nul(content))
    elif flag == b"x":
        for key, value in _records(content):
            if key == b"path":
                overrides.name = _text(value)
            elif key == b"size":
                overrides.size_bytes = _decimal(value)


def _records(content: bytes) -> Iterator[tuple[bytes, bytes]]:
    """`(key, value)` of a pax header: lines of `length key=value`, the length counting all of the line."""
    at = 0
    while at < len(content):
        digits, space, _ = content[at : at + _MAX_DIGITS].partition(b" ")
        length = _decimal(digits)
        record = content[at : at + length]
        if not space or not record.endswith(b"\n"):
            raise InvalidInputError(_DAMAGED)
        key, _, value = record[len(digits) + 1 : -1].partition(b"=")
        yield key, value
        at += length


def _decimal(digits: bytes) -> int:
    if not digits.isdigit() or len(digits) > _MAX_DIGITS:
        raise InvalidInputError(_DAMAGED)
    return int(digits)


def _number(raw: bytes) -> int:
    """Octal digits, or base 256 behind a set first bit."""
    if raw[0] == _BASE_256:
        return int.from_bytes(raw[1:])
    digits = raw.strip(b" \0")
    if not digits:
        return 0
    if digits.strip(_OCTAL):
        raise InvalidInputError(_DAMAGED)
    return int(digits, 8)


def _until_nul(raw: bytes) -> bytes:
    return raw.partition(b"\0")[0]


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")
