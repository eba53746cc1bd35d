"""Attribute filters as SQL over the JSONB column `images.attributes`, with every value and name bound."""

from collections.abc import Callable
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, any_, case, false, func, literal, not_, or_, select, true
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from core.filters import AllOf, AnyOf, Condition, Filter, Not, Operator
from storage.tables import ImageRow

Predicate = ColumnElement[bool]
Json = ColumnElement[Any]
_ATTRIBUTES = ImageRow.__table__.c.attributes


def predicate(where: Filter | None) -> Predicate:
    """SQL that is true exactly where `core.filters.evaluate` is, and false (never null, never an error) elsewhere.

    Equality and IN are containments, which the GIN index serves. Names and values are as `parse_filter` admits them.
    """
    match where:
        case None:
            return true()
        case AllOf(parts):
            return and_(true(), *map(predicate, parts))
        case AnyOf(parts):
            return or_(false(), *map(predicate, parts))
        case Not(part):
            return not_(predicate(part))
        case Condition(attribute, operator, value):
            return _PREDICATES[operator](attribute, value)


def _equals_any(attribute: str, values: Any) -> Predicate:
    """A list contains what one of its elements equals, so it needs a list to be contained."""
    wanted = [{attribute: held} for value in values for held in (value, [value])]
    return _ATTRIBUTES.op("@>", is_comparison=True)(any_(literal(wanted, ARRAY(JSONB))))


def _exists(attribute: str, wanted: Any) -> Predicate:
    absent = func.coalesce(func.jsonb_typeof(_ATTRIBUTES[attribute]), "null") == "null"
    return not_(absent) if wanted else absent


def _some_element(type_name: str, matches: Callable[[Json, Any], Predicate]) -> Callable[[str, Any], Predicate]:
    """The attribute, or an element of it where it is a list, has the type and matches.

    CASE, because only it promises that a list's function is never applied to something else.
    """

    def compare(attribute: str, value: Any) -> Predicate:
        held = _ATTRIBUTES[attribute]
        element = func.jsonb_array_elements(held, type_=JSONB).column_valued("element")
        element_matches = select(true()).where(func.jsonb_typeof(element) == type_name, matches(element, value))
        found = case(
            {type_name: matches(held, value), "array": element_matches.exists()}, value=func.jsonb_typeof(held)
        )
        return func.coalesce(found, false())

    return compare


def _range(comparison: str) -> Callable[[str, Any], Predicate]:
    return _some_element("number", lambda held, bound: held.op(comparison, is_comparison=True)(literal(bound, JSONB)))


def _starts_with(held: Json, start: str) -> Predicate:
    return func.starts_with(held.op("#>>")(literal([], ARRAY(Text))), start)


_PREDICATES: dict[Operator, Callable[[str, Any], Predicate]] = {
    Operator.EQ: lambda attribute, value: _equals_any(attribute, (value,)),
    Operator.IN: _equals_any,
    Operator.EXISTS: _exists,
    Operator.PREFIX: _some_element("string", _starts_with),
    Operator.LT: _range("<"),
    Operator.LTE: _range("<="),
    Operator.GT: _range(">"),
    Operator.GTE: _range(">="),
}
