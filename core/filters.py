"""Attribute filters: parsed from JSON into a tree that storage turns into bound SQL, and their reference semantics.

The JSON form is an object whose entries must all match: `{"category": "dress"}` (equal), `{"color": ["red", "blue"]}`
(one of), `{"price": {"gte": 10, "lte": 80}}` (operators), and the three reserved keys `and`, `or` and `not`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from core.errors import FieldError, InvalidInputError
from core.models import Attributes

Scalar: TypeAlias = str | int | float | bool

MAX_DEPTH = 8
MAX_CONDITIONS = 100
MAX_VALUES = 1000
MAX_TEXT = 1000
_MAX_REPORTED = 20
_MAX_INTEGER = 2**63
_ABSENT_HINT = 'to ask for rows without the attribute write {"exists": false}'


class Operator(StrEnum):
    """Comparisons of one attribute. A row whose value has another type does not match."""

    EQ = "eq"
    IN = "in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    EXISTS = "exists"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True)
class Condition:
    """One comparison. `value` is a tuple for IN, a bool for EXISTS, a number for the ranges, a string for PREFIX."""

    attribute: str
    operator: Operator
    value: Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    """Every part matches; no parts match everything."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """At least one part matches."""

    parts: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not match. There is no third truth value: what fails to match for its type matches here."""

    part: "Filter"


Filter: TypeAlias = Condition | AllOf | AnyOf | Not


def parse_filter(raw: object, *, pointer: str = "/filter") -> Filter:
    """The filter that decoded JSON `raw` describes; `{}` matches everything.

    InvalidInputError carries one FieldError per mistake, with JSON pointers that start at `pointer`. Bounds:
    MAX_DEPTH levels of `and`/`or`/`not`, MAX_CONDITIONS comparisons, MAX_VALUES values of one list.
    """
    parser = _Parser()
    parsed = parser.node(raw, pointer, 1)
    if parser.conditions > MAX_CONDITIONS:
        parser.wrong(pointer, f"has {parser.conditions} conditions; use at most {MAX_CONDITIONS}")
    if parser.errors:
        raise InvalidInputError(
            f"The filter is not valid: {parser.errors[0].detail}", errors=tuple(parser.errors[:_MAX_REPORTED])
        )
    return parsed


def evaluate(where: Filter, attributes: Attributes) -> bool:
    """Whether a row with these attributes matches: the semantics that every adapter must reproduce.

    Equality is by type and value: 80 equals 80.0, but a bool is no number and "80" is no 80. An absent attribute and
    a value of another type do not match (so `not` of such a comparison does). A list matches when one of its elements
    does. `exists` asks for a value; null counts as absent.
    """
    match where:
        case AllOf(parts):
            return all(evaluate(part, attributes) for part in parts)
        case AnyOf(parts):
            return any(evaluate(part, attributes) for part in parts)
        case Not(part):
            return not evaluate(part, attributes)
        case Condition(attribute, Operator.EXISTS, value):
            return (attributes.get(attribute) is not None) is value
        case Condition(attribute, operator, value):
            held = attributes.get(attribute)
            matches = _MATCHERS[operator]
            return any(matches(element, value) for element in (held if isinstance(held, list) else [held]))


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _equal(held: object, wanted: object) -> bool:
    if _is_number(held) and _is_number(wanted):
        return held == wanted
    return type(held) is type(wanted) and held == wanted


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[object, Any], bool]:
    return lambda held, bound: _is_number(held) and compare(held, bound)


_MATCHERS: Mapping[Operator, Callable[[object, Any], bool]] = {
    Operator.EQ: _equal,
    Operator.IN: lambda held, wanted: any(_equal(held, one) for one in wanted),
    Operator.LT: _ordered(lambda held, bound: held < bound),
    Operator.LTE: _ordered(lambda held, bound: held <= bound),
    Operator.GT: _ordered(lambda held, bound: held > bound),
    Operator.GTE: _ordered(lambda held, bound: held >= bound),
    Operator.PREFIX: lambda held, start: isinstance(held, str) and held.startswith(start),
}
_RANGES = frozenset({Operator.LT, Operator.LTE, Operator.GT, Operator.GTE})
_NOTHING = AllOf(())


@dataclass(slots=True)
class _Parser:
    """Walks the JSON once, collecting every mistake."""

    errors: list[FieldError] = field(default_factory=list)
    conditions: int = 0

    def wrong(self, pointer: str, detail: str) -> Filter:
        """Note a mistake; returns a filter to go on with, which nobody gets to see."""
        self.errors.append(FieldError(pointer, detail))
        return _NOTHING

    def node(self, raw: object, pointer: str, depth: int) -> Filter:
        """The filter of a JSON object at `pointer`, all of whose entries must hold; the outermost has depth 1."""
        if not isinstance(raw, dict):
            return self.wrong(pointer, 'must be an object such as {"category": "dress"}')
        if depth > MAX_DEPTH:
            return self.wrong(pointer, f"is nested deeper than {MAX_DEPTH} levels of and, or, not")
        return _joined(tuple(self._entry(key, value, pointer, depth) for key, value in raw.items()))

    def _entry(self, key: object, value: object, pointer: str, depth: int) -> Filter:
        if not isinstance(key, str) or not _is_storable(key):
            return self.wrong(pointer, f"has an attribute name that is not 1..{MAX_TEXT} printable characters")
        here = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        match key:
            case "not":
                return Not(self.node(value, here, depth + 1))
            case "and":
                return _joined(self._parts(value, here, depth))
            case "or":
                return AnyOf(self._parts(value, here, depth))
            case _:
                return self._attribute(key, value, here)

    def _parts(self, raw: object, pointer: str, depth: int) -> tuple[Filter, ...]:
        if not isinstance(raw, list) or not raw:
            self.wrong(pointer, "must be a list of at least one filter object")
            return ()
        if len(raw) > MAX_CONDITIONS:
            self.wrong(pointer, f"lists {len(raw)} filters; use at most {MAX_CONDITIONS}")
            return ()
        return tuple(self.node(part, f"{pointer}/{index}", depth + 1) for index, part in enumerate(raw))

    def _attribute(self, name: str, raw: object, pointer: str) -> Filter:
        if isinstance(raw, list):
            return self._condition(name, Operator.IN, raw, pointer)
        if not isinstance(raw, dict):
            return self._condition(name, Operator.EQ, raw, pointer)
        if not raw:
            return self.wrong(pointer, f"needs an operator: one of {', '.join(Operator)}")
        return _joined(tuple(self._operation(name, key, value, pointer) for key, value in raw.items()))

    def _operation(self, name: str, key: object, value: object, pointer: str) -> Filter:
        if key not in set(Operator):
            return self.wrong(pointer, f"unknown operator {str(key)[:40]!r}; use one of {', '.join(Operator)}")
        operator = Operator(str(key))
        return self._condition(name, operator, value, f"{pointer}/{operator}")

    def _condition(self, name: str, operator: Operator, value: object, pointer: str) -> Filter:
        self.conditions += 1
        problem = _value_problem(operator, value)
        if problem:
            return self.wrong(pointer, problem)
        held: Any = tuple(value) if isinstance(value, list) else value
        return Condition(name, operator, held)


def _joined(parts: tuple[Filter, ...]) -> Filter:
    return parts[0] if len(parts) == 1 else AllOf(parts)


def _is_storable(text: str) -> bool:
    """Postgres' JSON takes neither NUL nor lone surrogates."""
    return 0 < len(text) <= MAX_TEXT and "\0" not in text and not any("\ud800" <= char <= "\udfff" for char in text)


def _is_scalar(value: object) -> bool:
    match value:
        case bool():
            return True
        case str():
            return value == "" or _is_storable(value)
        case int():
            return abs(value) <= _MAX_INTEGER
        case float():
            return math.isfinite(value)
        case _:
            return False


def _value_problem(operator: Operator, value: object) -> str:
    """What is wrong with the operator's value; empty when nothing is."""
    match operator:
        case Operator.IN:
            fits = isinstance(value, list) and 0 < len(value) <= MAX_VALUES and all(map(_is_scalar, value))
            needs = f"must be a list of 1..{MAX_VALUES} strings, finite numbers, true or false"
        case Operator.EXISTS:
            fits, needs = isinstance(value, bool), "must be true or false"
        case Operator.PREFIX:
            fits = isinstance(value, str) and _is_storable(value)
            needs = f"must be a string of 1..{MAX_TEXT} characters"
        case Operator.EQ:
            fits = _is_scalar(value)
            needs = f"must be true, false, a finite number or a string of at most {MAX_TEXT} characters; {_ABSENT_HINT}"
        case _:
            fits, needs = _is_number(value) and _is_scalar(value), "must be a finite number"
    return "" if fits else needs
