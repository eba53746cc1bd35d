import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.filters import (
    MAX_CONDITIONS,
    MAX_DEPTH,
    MAX_TEXT,
    MAX_VALUES,
    AllOf,
    AnyOf,
    Condition,
    Filter,
    Not,
    Operator,
    evaluate,
    parse_filter,
)

DRESS = {
    "category": "dress",
    "price": 79.5,
    "stock": 3,
    "in_stock": True,
    "sizes": ["S", "M", 40],
    "code": "007",
    "gone": None,
}


def matches(raw: Mapping[str, Any], attributes: dict[str, Any] | None = None) -> bool:
    return evaluate(parse_filter(raw), DRESS if attributes is None else attributes)


def problems(raw: object) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        parse_filter(raw)
    return {error.pointer: error.detail for error in caught.value.errors}


def test_the_documented_example_parses() -> None:
    raw = {"category": "dress", "price": {"lte": 80}, "in_stock": True, "color": ["red", "blue"]}
    assert parse_filter(raw) == AllOf(
        (
            Condition("category", Operator.EQ, "dress"),
            Condition("price", Operator.LTE, 80),
            Condition("in_stock", Operator.EQ, value=True),
            Condition("color", Operator.IN, ("red", "blue")),
        )
    )


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"category": "dress"},
        {"category": {"eq": "dress"}},
        {"category": ["skirt", "dress"]},
        {"price": {"gte": 79.5, "lt": 80}},
        {"stock": 3.0},
        {"in_stock": True},
        {"category": {"prefix": "dr"}},
        {"price": {"exists": True}},
        {"brand": {"exists": False}},
        {"gone": {"exists": False}},
        {"sizes": "M"},
        {"sizes": ["L", 40.0]},
        {"sizes": {"lte": 40}},
        {"sizes": {"prefix": "S"}},
        {"or": [{"category": "skirt"}, {"stock": {"gt": 2}}]},
        {"and": [{"category": "dress"}, {"not": {"stock": 4}}]},
        {"not": {"category": {"gt": 1}}},
        {"not": {"brand": "acme"}},
    ],
    ids=str,
)
def test_what_matches(raw: dict[str, Any]) -> None:
    assert matches(raw)


@pytest.mark.parametrize(
    "raw",
    [
        {"category": "Dress"},
        {"category": "dress", "stock": 4},
        {"price": {"lt": 79.5}},
        {"stock": "3"},
        {"code": 7},
        {"in_stock": 1},
        {"in_stock": {"gte": 0}},
        {"stock": True},
        {"price": {"prefix": "79"}},
        {"category": {"gte": 0}},
        {"sizes": {"gt": 40}},
        {"sizes": {"prefix": "s"}},
        {"brand": "acme"},
        {"gone": {"exists": True}},
        {"not": {}},
        {"or": [{"category": "skirt"}, {"stock": 4}]},
    ],
    ids=str,
)
def test_what_does_not_match_and_never_raises(raw: dict[str, Any]) -> None:
    assert not matches(raw)


@pytest.mark.parametrize(
    ("raw", "pointer", "word"),
    [
        (None, "/filter", "object"),
        ([], "/filter", "object"),
        ({"price": {"le": 80}}, "/filter/price", "eq, in, lt, lte, gt, gte, exists, prefix"),
        ({"price": {}}, "/filter/price", "operator"),
        ({"price": {"lte": "80"}}, "/filter/price/lte", "number"),
        ({"price": {"lte": True}}, "/filter/price/lte", "number"),
        ({"price": {"gt": float("nan")}}, "/filter/price/gt", "finite"),
        ({"price": float("inf")}, "/filter/price", "finite"),
        ({"price": 10**400}, "/filter/price", "finite"),
        ({"brand": None}, "/filter/brand", "exists"),
        ({"brand": {"exists": "yes"}}, "/filter/brand/exists", "true or false"),
        ({"name": {"prefix": ""}}, "/filter/name/prefix", "string"),
        ({"color": []}, "/filter/color", "list"),
        ({"color": [["red"]]}, "/filter/color", "list"),
        ({"color": "nul\0"}, "/filter/color", "string"),
        ({"color": "\ud800"}, "/filter/color", "string"),
        ({"or": {"a": 1}}, "/filter/or", "list"),
        ({"and": []}, "/filter/and", "at least one"),
        ({"or": [{"a": 1}, 3]}, "/filter/or/1", "object"),
        ({"not": [1]}, "/filter/not", "object"),
        ({"a/b~c": {"x": 1}}, "/filter/a~1b~0c", "operator"),
        ({"": 1}, "/filter", "attribute name"),
    ],
    ids=str,
)
def test_each_mistake_is_named_where_it_is(raw: object, pointer: str, word: str) -> None:
    found = problems(raw)
    assert list(found) == [pointer]
    assert word in found[pointer]


def test_all_mistakes_are_reported_together() -> None:
    assert set(problems({"a": None, "b": {"lt": "x"}, "or": [{"c": []}]})) == {
        "/filter/a",
        "/filter/b/lt",
        "/filter/or/0/c",
    }


def test_depth_is_bounded() -> None:
    raw: dict[str, Any] = {"a": 1}
    for _ in range(MAX_DEPTH - 1):
        raw = {"not": raw}
    parse_filter(raw)
    assert "nested deeper" in next(iter(problems({"not": raw}).values()))


def test_the_number_of_conditions_is_bounded() -> None:
    parse_filter({f"a{index}": index for index in range(MAX_CONDITIONS)})
    assert "at most" in problems({f"a{index}": index for index in range(MAX_CONDITIONS + 1)})["/filter"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["and", "or", "not", "a", *Operator]) | st.text(max_size=3), inner, max_size=3
        )
    ),
    max_leaves=12,
)
SCALARS = st.booleans() | st.integers(-5, 5) | st.floats(-5, 5) | st.sampled_from(["", "a", "ab", "b"])
NAMES = st.sampled_from(["a", "b", "c"])
ROWS = st.dictionaries(NAMES, SCALARS | st.none() | st.lists(SCALARS, max_size=3), max_size=3)
NUMBERS = st.integers(-5, 5) | st.floats(-5, 5)
RANGES = st.sampled_from([Operator.LT, Operator.LTE, Operator.GT, Operator.GTE])
CONDITIONS = (
    st.builds(Condition, NAMES, st.just(Operator.EQ), SCALARS)
    | st.builds(Condition, NAMES, st.just(Operator.IN), st.lists(SCALARS, min_size=1, max_size=3).map(tuple))
    | st.builds(Condition, NAMES, RANGES, NUMBERS)
    | st.builds(Condition, NAMES, st.just(Operator.EXISTS), st.booleans())
    | st.builds(Condition, NAMES, st.just(Operator.PREFIX), st.sampled_from(["a", "ab"]))
)
FILTERS = st.recursive(
    CONDITIONS,
    lambda inner: (
        st.builds(Not, inner)
        | st.lists(inner, min_size=2, max_size=3).map(tuple).map(AllOf)
        | st.lists(inner, min_size=1, max_size=3).map(tuple).map(AnyOf)
    ),
    max_leaves=6,
)


def as_json(where: Filter) -> dict[str, Any]:
    match where:
        case Condition(attribute, operator, value):
            return {attribute: {operator.value: list(value) if isinstance(value, tuple) else value}}
        case AllOf(parts):
            return {"and": [as_json(part) for part in parts]}
        case AnyOf(parts):
            return {"or": [as_json(part) for part in parts]}
        case Not(part):
            return {"not": as_json(part)}


@given(JSON, ROWS)
def test_any_json_is_a_filter_or_an_input_error(raw: object, row: dict[str, Any]) -> None:
    try:
        parsed = parse_filter(raw)
    except InvalidInputError as error:
        assert error.errors  # noqa: PT017 - either outcome is right, this checks one
    else:
        assert evaluate(Not(parsed), row) is not evaluate(parsed, row)


@given(FILTERS, ROWS)
def test_a_filter_survives_its_json_form(where: Filter, row: dict[str, Any]) -> None:
    try:
        parsed = parse_filter(as_json(where))
    except InvalidInputError as error:
        assert "nested deeper" in error.detail  # noqa: PT017 - the only reason there can be
    else:
        assert parsed == where
        assert evaluate(parsed, row) == evaluate(where, row)


@given(CONDITIONS, CONDITIONS, ROWS)
def test_and_or_not_follow_de_morgan(one: Condition, other: Condition, row: dict[str, Any]) -> None:
    assert evaluate(Not(AllOf((one, other))), row) is evaluate(AnyOf((Not(one), Not(other))), row)


def test_the_page_about_filters_is_right() -> None:
    page = (Path(__file__).resolve().parents[3] / "docs" / "filters.md").read_text()
    rows = re.findall(r"^\| .*\| `(\{.*\})` \|$", page, flags=re.MULTILINE)
    assert len(rows) == 8
    for example in (*rows, *re.findall(r"```json\n(.*?)\n```", page)):
        parse_filter(json.loads(example))
    assert all(f"`{operator}`" in page for operator in Operator)
    for bound in (f"{MAX_DEPTH} levels", f"{MAX_CONDITIONS} comparisons", "1 000 values", "1 000 characters"):
        assert bound in page
    assert MAX_VALUES == MAX_TEXT == 1000
    for raw, attributes, expected in (
        ({"price": {"lte": 80}}, {"price": "on request"}, False),
        ({"tags": "summer"}, {"tags": ["beach", "summer"]}, True),
        ({"sizes": {"gte": 30, "lte": 10}}, {"sizes": [5, 40]}, True),
        ({"color": {"exists": False}}, {"color": None}, True),
        ({"not": {"price": {"gt": 80}}}, {}, True),
        ({"price": 80}, {"price": 80.0}, True),
        ({"price": 80}, {"price": "80"}, False),
        ({"price": 1}, {"price": True}, False),
    ):
        assert evaluate(parse_filter(raw), attributes) is expected, raw
