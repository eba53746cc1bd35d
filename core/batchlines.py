"""Lines of query batches: where they begin, what they ask, and how they are answered. See docs/adr/0023."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from pydantic import StrictInt, ValidationError

from core.errors import InvalidInputError, ItemError, ServiceError
from core.fields import ExternalId, invalid
from core.models import ItemOutcome, Outcome
from core.queries import NewQuery
from core.queryforms import QueryForm
from core.settings import Settings

MAX_LINE_BYTES = 64 * 1024
MAX_ID = 512
POISON = "poison"
POISON_DETAIL = "Answering this query stopped its worker, more than once; the operator's logs name the reason."
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class Range:
    """Consecutive lines of a file: `queries` of them are not blank; the first line has the number `first_line`."""

    first_line: int
    offset: int
    size_bytes: int
    queries: int


class Cutting:
    """A stream that is cut into ranges of `every` queries while somebody reads it.

    InvalidInputError when there are more than `most` queries.
    """

    def __init__(self, stream: BinaryIO, *, every: int, most: int) -> None:
        self._stream = stream
        self._every = every
        self._most = most
        self._total = 0
        self._line = 1
        self._offset = 0
        self._blank = True
        self._first_line, self._start, self._queries = 1, 0, 0
        self._ranges: list[Range] = []

    def ranges(self) -> tuple[Range, ...]:
        """All ranges in order, once the stream was read to its end."""
        self._count()
        if self._queries:
            self._cut()
        return tuple(self._ranges)

    def read(self, size: int = -1) -> bytes:
        """As the stream does it."""
        data = self._stream.read(size)
        *ended, rest = data.split(b"\n")
        for line in ended:
            self._see(line)
            self._end_line(len(line) + 1)
        self._see(rest)
        self._offset += len(rest)
        return data

    def _see(self, part: bytes) -> None:
        self._blank = self._blank and not part.removeprefix(_BYTE_ORDER_MARK).strip()

    def _end_line(self, length: int) -> None:
        self._offset += length
        self._line += 1
        self._count()
        if self._queries == self._every:
            self._cut()

    def _count(self) -> None:
        if self._blank:
            return
        self._blank = True
        self._queries += 1
        self._total += 1
        if self._total > self._most:
            raise InvalidInputError(f"A batch has at most {self._most} queries; send the rest as another batch.")

    def _cut(self) -> None:
        size_bytes = self._offset - self._start
        self._ranges.append(Range(self._first_line, self._start, size_bytes, self._queries))
        self._first_line, self._start, self._queries = self._line, self._offset, 0


def numbered(data: bytes, first_line: int) -> tuple[tuple[int, bytes], ...]:
    """Lines of a range, with their numbers, that are not blank."""
    lines = enumerate(data.removeprefix(_BYTE_ORDER_MARK).split(b"\n"), start=first_line)
    return tuple((number, line) for number, line in lines if line.strip())


class BatchLine(QueryForm):
    """A line: a query as in a request, and the client's own id for it."""

    id: ExternalId | StrictInt | None = None

    def to_use_case(self, settings: Settings, *, picture: bytes | None = None) -> NewQuery:
        """As of a request, but without the second stage unless the line asks for it."""
        if self.reference is not None and self.reference.url is not None:
            raise InvalidInputError("/reference/url: in a batch a reference is an image of the gallery.")
        asked = self if self.rerank is not None else self.model_copy(update={"rerank": False})
        return super(BatchLine, asked).to_use_case(settings, picture=picture)


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read: its number, the client's id, and the query, or why it is none."""

    number: int
    client_id: str | int | None
    asked: NewQuery | ServiceError


def read_line(number: int, data: bytes, settings: Settings) -> Line:
    """Read one line; never raises."""
    if len(data) > MAX_LINE_BYTES:
        return Line(number, None, ItemError("line_too_long", f"A line has at most {MAX_LINE_BYTES} bytes."))
    document = _document(data)
    if document is None:
        return Line(number, None, ItemError("invalid_json", "The line is no JSON object."))
    client_id = _client_id(document.get("id"))
    try:
        line = BatchLine.model_validate(document)
        return Line(number, line.id, line.to_use_case(settings))
    except ValidationError as error:
        return Line(number, client_id, invalid(error, document))
    except ServiceError as error:
        return Line(number, client_id, error)


def _document(data: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(data, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _client_id(found: object) -> str | int | None:
    """The id of a line that may be wrong elsewhere."""
    if isinstance(found, str):
        return found if len(found) <= MAX_ID and found.isprintable() else None
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def error_code(error: ServiceError) -> str:
    """The code that clients see."""
    return error.item_code if isinstance(error, ItemError) else error.code


def answered(number: int, client_id: str | int | None, result: Mapping[str, Any]) -> dict[str, Any]:
    """The output line of a query that was answered."""
    return {**_head(number, client_id), **result}


def failed(number: int, client_id: str | int | None, *, code: str, detail: str) -> dict[str, Any]:
    """The output line of a query that was not."""
    return {**_head(number, client_id), "error": {"code": code, "detail": detail}}


def _head(number: int, client_id: str | int | None) -> dict[str, Any]:
    return {"line": number} if client_id is None else {"line": number, "id": client_id}


def outcome(line: Mapping[str, Any]) -> ItemOutcome:
    """How an output line is counted."""
    number, name = line["line"], str(line.get("id", ""))
    if "error" not in line:
        return ItemOutcome(name, Outcome.CREATED, source=f"line {number}")
    error = line["error"]
    return ItemOutcome(name, Outcome.FAILED, source=f"line {number}", code=error["code"], detail=error["detail"])


def from_outcome(failure: ItemOutcome) -> dict[str, Any]:
    """The output line of a query that never came to have one."""
    number = int(failure.source.removeprefix("line "))
    return failed(number, failure.external_id or None, code=failure.code, detail=failure.detail)


def to_ndjson(lines: Sequence[Mapping[str, Any]]) -> bytes:
    """Lines as they are stored. What says why a line is wrong may quote half of a surrogate pair: that becomes `?`."""
    texts = (json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines)
    return b"".join(text.encode(errors="replace") + b"\n" for text in texts)


def from_ndjson(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Stored lines as they are, with their numbers."""
    for line in data.splitlines():
        yield json.loads(line)["line"], line
