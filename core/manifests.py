"""Manifests: CSV and JSONL files that name the images of an import, read row by row in constant memory.

A row that cannot be used becomes a RowError and the reading goes on; InvalidInputError means that the file as a whole
cannot be read (so that a mirror import must not delete anything).
"""

import csv
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from typing import Any, BinaryIO, TypeAlias

from core.errors import InvalidInputError
from core.lines import MAX_RECORD_CHARS, LineError, Lines, is_clean
from core.models import Attributes

MAX_CELL_CHARS = 131_072
MAX_EXTERNAL_ID = 512
MAX_ATTRIBUTES = 256
MAX_NAME = 128

ATTRIBUTE_TYPES = ("string", "number", "boolean")

_DELIMITERS = (",", ";", "\t", "|")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_MAX_INTEGER = 2**63
_MAX_BROKEN_QUOTES = 100
_WORDS = {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}
_JSON_WORDS = {"true": True, "false": False}
_REQUIRED = ("external_id", "image")
_MAX_NUMBER_CHARS = 64

# Lines bounds what is held. The library's own, smaller bound would come first and speak of itself.
csv.field_size_limit(MAX_RECORD_CHARS)


class Operation(StrEnum):
    """What a row asks for."""

    UPSERT = "upsert"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class Row:
    """A usable row. `line` counts from 1; `image` is a path or URL, empty for a delete."""

    line: int
    external_id: str
    image: str
    attributes: Attributes
    operation: Operation = Operation.UPSERT


@dataclass(frozen=True, slots=True)
class RowError:
    """A row that cannot be used. `external_id` is empty when it is what is wrong."""

    line: int
    external_id: str
    code: str
    detail: str


Rows: TypeAlias = Iterator[Row | RowError]
Schema: TypeAlias = Mapping[str, str]


class _RowProblemError(Exception):
    """Why a row cannot be used."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def is_manifest_name(name: str) -> bool:
    """Whether a file of this name is a manifest."""
    return name.lower().endswith((".csv", ".jsonl"))


def read_manifest(stream: BinaryIO, name: str, *, schema: Schema | None = None) -> Rows:
    """`read_jsonl` for `*.jsonl`, else `read_csv`."""
    reader = read_jsonl if name.lower().endswith(".jsonl") else read_csv
    return reader(stream, schema=schema)


def external_id_problem(value: str) -> str:
    """What is wrong with an external id (1..512 printable characters); empty when nothing is."""
    if not value:
        return "external_id is missing: give every row an id that is unique in the gallery"
    if len(value) > MAX_EXTERNAL_ID:
        return f"external_id has {len(value)} characters: use at most {MAX_EXTERNAL_ID}"
    if not value.isprintable():
        return "external_id has characters that cannot be printed: remove line breaks, tabs and control characters"
    return ""


def read_csv(stream: BinaryIO, *, schema: Schema | None = None) -> Rows:
    """Rows of a CSV with a header; columns other than `external_id` and `image` are attributes.

    The delimiter (comma, semicolon, tab or `|`) is recognised by the header. Cells are stripped; an empty one is an
    absent attribute; numbers and true/false as JSON writes them become such unless `schema` gives the attribute a type
    of ATTRIBUTE_TYPES. RowError codes: `bad_row`, `row_too_long`, `bad_encoding`, `missing_external_id`,
    `bad_external_id`, `missing_image`, `bad_attribute`. InvalidInputError: no usable header, or quotes broken beyond
    use.
    """
    lines = Lines(stream)
    header = _read_header(lines)
    types = schema or {}
    broken = 0
    for cells in _csv_records(lines, header.delimiter):
        if isinstance(cells, RowError):
            broken += cells.code == "bad_row"
            if broken > _MAX_BROKEN_QUOTES:
                raise InvalidInputError(f"More than {_MAX_BROKEN_QUOTES} rows have broken quotes: is this a CSV file?")
            yield cells
        elif any(cells):
            yield _row(lines.first_number, partial(header.fields, cells), partial(_typed, types))


def read_jsonl(stream: BinaryIO, *, schema: Schema | None = None) -> Rows:
    """Rows of JSON objects, one a line; keys other than `external_id`, `image` and `operation` are attributes.

    Values are scalars or lists of scalars; null is an absent attribute. RowError codes as for `read_csv`, and
    `unknown_operation`.
    """
    lines = Lines(stream)
    types = schema or {}
    while True:
        lines.begin()
        try:
            line = next(lines, None)
        except LineError as error:
            yield RowError(lines.first_number, "", "row_too_long", f"The row {error}.")
            continue
        if line is None:
            return
        if line.strip():
            yield _row(lines.first_number, partial(_json_fields, line), partial(_checked, types))


@dataclass(frozen=True, slots=True)
class _Fields:
    """A row taken apart, its values not looked at yet."""

    external_id: object
    image: object
    attributes: dict[str, Any]
    operation: object = Operation.UPSERT.value


def _row(number: int, split: Callable[[], _Fields], convert: Callable[[str, Any], Any]) -> Row | RowError:
    external_id = ""
    try:
        fields = split()
        external_id = _external_id(fields.external_id)
        operation = _operation(fields.operation)
        if operation is Operation.DELETE:
            return Row(number, external_id, "", {}, operation)
        image = _image(fields.image)
        attributes = {name: convert(name, value) for name, value in fields.attributes.items() if value is not None}
    except _RowProblemError as problem:
        return RowError(number, external_id, problem.code, problem.detail)
    return Row(number, external_id, image, attributes)


def _external_id(value: object) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str | None):
        raise _RowProblemError("bad_external_id", "external_id must be a string or a whole number.")
    problem = external_id_problem(text or "")
    if problem:
        raise _RowProblemError("bad_external_id" if text else "missing_external_id", f"{problem}.")
    return text or ""


def _operation(value: object) -> Operation:
    try:
        return Operation(str(value))
    except ValueError:
        raise _RowProblemError(
            "unknown_operation", f"operation is {str(value)[:40]!r}: use upsert (the default) or delete."
        ) from None


def _image(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise _RowProblemError("missing_image", "image is missing: name the picture's path inside the archive.")
    if not is_clean(value):
        raise _RowProblemError("bad_encoding", "image has characters that are not text: save the file as UTF-8.")
    return value


# CSV


@dataclass(frozen=True, slots=True)
class _Header:
    delimiter: str
    columns: tuple[str, ...]

    def fields(self, cells: Sequence[str]) -> _Fields:
        """A row's cells by column, empty ones left out. _RowProblemError where they do not fit the header."""
        if not all(map(is_clean, cells)):
            raise _RowProblemError("bad_encoding", "The row is not valid UTF-8 text: save the file as UTF-8.")
        extra = [cell for cell in cells[len(self.columns) :] if cell]
        if extra or len(cells) < len(self.columns):
            raise _RowProblemError(
                "bad_row",
                f"The row has {len(cells)} cells, the header {len(self.columns)}: "
                f"put cells that contain {self.delimiter!r} in double quotes.",
            )
        named = {name: cell for name, cell in zip(self.columns, cells, strict=False) if name and cell}
        return _Fields(named.pop("external_id", None), named.pop("image", None), named)


def _read_header(lines: Lines) -> _Header:
    try:
        line = next((line for line in lines if line.strip() and not line.lower().startswith("sep=")), "")
    except LineError as error:
        raise InvalidInputError(f"The header {error}: is this a CSV file?") from error
    if not is_clean(line):
        raise InvalidInputError("The header is not valid UTF-8 text: save the file as 'CSV UTF-8'.")
    headers = [_Header(delimiter, _columns(line, delimiter)) for delimiter in _DELIMITERS]
    header = max(headers, key=lambda one: ("external_id" in one.columns, len(one.columns)))
    missing = [name for name in ("external_id", "image") if name not in header.columns]
    found = ", ".join(repr(name[:40]) for name in header.columns[:20]) or "none"
    if missing:
        raise InvalidInputError(
            f"The manifest needs a header row with the column{'s' * (len(missing) > 1)} {' and '.join(missing)}; "
            f"found {found}."
        )
    named = [name for name in header.columns if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if twice:
        raise InvalidInputError(f"The manifest has two columns named {twice[0]!r}: rename one of them.")
    wrong = [name for name in named if _name_problem(name)]
    if wrong or len(named) > MAX_ATTRIBUTES:
        raise InvalidInputError(
            f"The manifest may have at most {MAX_ATTRIBUTES} columns, with names of 1..{MAX_NAME} printable characters."
        )
    return header


def _columns(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        names = [name.strip() for name in next(csv.reader([line], delimiter=delimiter))]
    except csv.Error:
        return ()
    return tuple(name.lower() if name.lower() in _REQUIRED else name for name in names)


def _csv_records(lines: Lines, delimiter: str) -> Iterator[list[str] | RowError]:
    """Stripped cells of each record; a record that never ends fails alone: the lines after its first are read again."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        lines.begin()
        try:
            cells = next(reader, None)
        except (csv.Error, LineError) as error:
            yield _csv_error(lines, error)
            lines.put_back()
            continue
        if cells is None:
            return
        if max(map(len, cells), default=0) > MAX_CELL_CHARS:
            yield _long_cell(lines)
            lines.put_back()
            continue
        yield [cell.strip() for cell in cells]


def _csv_error(lines: Lines, error: Exception) -> RowError:
    if not lines.record:
        return RowError(lines.first_number, "", "row_too_long", f"The row {error}.")
    detail = f"The row is no valid CSV ({error}): close every quoted cell, and write a quote inside one twice."
    return RowError(lines.first_number, "", "bad_row", detail)


def _long_cell(lines: Lines) -> RowError:
    detail = f"A cell of the row has more than {MAX_CELL_CHARS} characters: shorten it, or close its quote."
    return RowError(lines.first_number, "", "row_too_long", detail)


def _typed(types: Schema, name: str, cell: str) -> Any:
    match types.get(name):
        case "string":
            return cell
        case "number":
            value = _json_scalar(cell)
            if _kind(value) != "number":
                raise _wrong_type(name, cell, "number")
            return value
        case "boolean":
            if cell.lower() not in _WORDS:
                raise _wrong_type(name, cell, "boolean")
            return _WORDS[cell.lower()]
        case _:
            return _json_scalar(cell)


def _json_scalar(cell: str) -> str | int | float | bool:
    """The number or boolean that the cell is in JSON's own notation, else the cell as it stands."""
    if cell in _JSON_WORDS:
        return _JSON_WORDS[cell]
    form = _NUMBER.fullmatch(cell) if len(cell) <= _MAX_NUMBER_CHARS else None
    if form is None:
        return cell
    if form[2] is None and form[3] is None:
        return int(cell) if abs(int(cell)) <= _MAX_INTEGER else cell
    return float(cell) if math.isfinite(float(cell)) else cell


# JSONL


def _json_fields(line: str) -> _Fields:
    try:
        held = json.loads(line, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise _RowProblemError(
            "bad_row", f"The line is not valid JSON ({_reason(error)}): write one object a line."
        ) from error
    if not isinstance(held, dict):
        raise _RowProblemError(
            "bad_row", 'The line must be an object such as {"external_id": "a-1", "image": "a.jpg"}.'
        )
    if len(held) > MAX_ATTRIBUTES:
        raise _RowProblemError("bad_row", f"The row has {len(held)} keys: use at most {MAX_ATTRIBUTES}.")
    operation = held.pop("operation", None)
    return _Fields(
        held.pop("external_id", None),
        held.pop("image", None),
        held,
        Operation.UPSERT.value if operation is None else operation,
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON number")


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg} at column {error.colno}"
    return "nested too deeply" if isinstance(error, RecursionError) else "a number is not finite or too long"


def _checked(types: Schema, name: str, value: Any) -> Any:
    problem = _name_problem(name)
    if problem:
        raise _RowProblemError("bad_attribute", problem)
    wanted = types.get(name)
    for element in value if isinstance(value, list) else [value]:
        kind = _kind(element)
        if not kind:
            raise _RowProblemError(
                "bad_attribute",
                f"{name} holds {str(element)[:40]!r}: a value is a string, a finite number, true, false or a list of "
                "these; flatten nested objects into attributes of their own.",
            )
        if wanted is not None and kind != wanted:
            raise _wrong_type(name, element, wanted)
    return value


def _kind(value: object) -> str:
    """The value's type of ATTRIBUTE_TYPES; empty when it cannot be stored."""
    match value:
        case bool():
            return "boolean"
        case str():
            return "string" if is_clean(value) else ""
        case int():
            return "number" if abs(value) <= _MAX_INTEGER else ""
        case float():
            return "number" if math.isfinite(value) else ""
        case _:
            return ""


def _name_problem(name: str) -> str:
    if 0 < len(name) <= MAX_NAME and name.isprintable():
        return ""
    return f"{name[:40]!r} is no attribute name: use 1..{MAX_NAME} printable characters."


def _wrong_type(name: str, value: object, wanted: str) -> _RowProblemError:
    return _RowProblemError(
        "bad_attribute", f"{name} is {str(value)[:40]!r}, but the gallery's attributes_schema says {wanted}."
    )
