"""Text lines of an uploaded file: encoding recognised, length bounded, numbered."""

import codecs
import io
from collections import deque
from collections.abc import Iterator
from typing import BinaryIO

from core.errors import InvalidInputError

MAX_LINE_CHARS = 1_000_000
MAX_RECORD_CHARS = 1_000_000

_BUFFER_BYTES = 256 * 1024


class LineError(Exception):
    """This line (or the record it belongs to) cannot be used; the lines after it can."""


class Lines(Iterator[str]):
    """Lines of a UTF-8 or (with a byte order mark) UTF-16 stream, which stays open.

    `record` holds (number, line) pairs since `begin()`; `put_back()` returns all of them but the first to the
    front, so that a record that never ends costs one line. Undecodable bytes come as lone surrogates (see
    `is_clean`). `next` raises LineError for a line or record that is too long and goes on with the line after;
    InvalidInputError when the encoding is beyond use.
    """

    def __init__(self, stream: BinaryIO) -> None:
        self._text = _open_text(stream)
        self._held: deque[tuple[int, str | None]] = deque()
        self._number = 0
        self._chars = 0
        self.record: list[tuple[int, str]] = []

    @property
    def first_number(self) -> int:
        """Number, from 1, of the line that the present record starts at; the last line read when it is empty."""
        return self.record[0][0] if self.record else self._number

    def begin(self) -> None:
        """Start a record."""
        self.record, self._chars = [], 0

    def put_back(self) -> None:
        """Hand out the lines after the record's first one again."""
        self._held.extendleft(reversed(self.record[1:]))
        del self.record[1:]

    def __next__(self) -> str:
        number, line = self._held.popleft() if self._held else self._read()
        self._number = number
        if line is None or self._chars + len(line) > MAX_RECORD_CHARS:
            if self.record:
                self._held.appendleft((number, line))
            raise LineError(f"is longer than {MAX_LINE_CHARS} characters")
        self.record.append((number, line))
        self._chars += len(line)
        return line

    def _read(self) -> tuple[int, str | None]:
        last = self._number
        try:
            line = self._text.readline(MAX_LINE_CHARS)
            whole = len(line) < MAX_LINE_CHARS or line.endswith(("\n", "\r"))
            part = line
            while not whole:
                part = self._text.readline(MAX_LINE_CHARS)
                whole = len(part) < MAX_LINE_CHARS or part.endswith(("\n", "\r"))
        except UnicodeDecodeError as error:
            raise InvalidInputError(f"The text breaks off after line {last}: save the file as UTF-8.") from error
        if not line:
            raise StopIteration
        return last + 1, line if part is line else None


def is_clean(text: str) -> bool:
    """Whether the text came from valid bytes and can be stored: neither lone surrogates nor NUL."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text


def _open_text(stream: BinaryIO) -> io.TextIOWrapper:
    head = stream.read(2)
    if head in {codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE}:
        encoding, errors = "utf-16", "surrogatepass"
    else:
        encoding, errors = "utf-8-sig", "surrogateescape"
    raw = _Resumed(head, stream)
    return io.TextIOWrapper(io.BufferedReader(raw, _BUFFER_BYTES), encoding=encoding, errors=errors, newline="")


class _Resumed(io.RawIOBase):
    """A stream whose head was already read; closing this leaves the stream open."""

    def __init__(self, head: bytes, stream: BinaryIO) -> None:
        super().__init__()
        self._head, self._stream = head, stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        data = self._head or self._stream.read(len(buffer))
        self._head = b""
        buffer[: len(data)] = data
        return len(data)
