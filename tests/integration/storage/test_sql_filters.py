"""The SQL of a filter against the reference semantics in core.filters, over random rows and random filters."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.filters import AllOf, AnyOf, Condition, Filter, Not, Operator, evaluate
from core.models import Gallery
from core.ports import UnitOfWorkFactory
from tests.integration.storage.builders import add_gallery, add_images, add_tenant

pytestmark = pytest.mark.integration

NAMES = ("a", "b", 'quo"te', "sla\\sh", "$.x", "a b", "ä%s:x")
# Few values, so that they meet; all the ways in which types are confused.
SCALARS: tuple[Any, ...] = (
    0,
    1,
    -1,
    1.0,
    1.5,
    80,
    80.0,
    True,
    False,
    "",
    "1",
    "true",
    "red",
    "re",
    "RED",
    "é",
    "%",
    "a\\b",
)
NUMBERS = (0, 1, -1, 1.0, 1.5, 80, -0.5, 2**53)
VALUES: tuple[Any, ...] = (
    *SCALARS,
    None,
    [],
    {},
    [1],
    ["red", 80],
    [["red"], None, [1]],
    [True, "x"],
    {"a": 1},
    [{"a": "red"}],
    1e300,
    2**53,
)

scalars = st.sampled_from(SCALARS)
operands: dict[Operator, st.SearchStrategy[Any]] = {
    Operator.EQ: scalars,
    Operator.IN: st.lists(scalars, min_size=1, max_size=3).map(tuple),
    Operator.EXISTS: st.booleans(),
    Operator.PREFIX: st.sampled_from(["r", "re", "red", "%", "é", "a\\", "1"]),
    Operator.LT: st.sampled_from(NUMBERS),
    Operator.LTE: st.sampled_from(NUMBERS),
    Operator.GT: st.sampled_from(NUMBERS),
    Operator.GTE: st.sampled_from(NUMBERS),
}
conditions = st.sampled_from(Operator).flatmap(
    lambda operator: st.builds(Condition, st.sampled_from(NAMES), st.just(operator), operands[operator])
)
filters: st.SearchStrategy[Filter] = st.recursive(
    conditions,
    lambda part: (
        st.builds(Not, part)
        | st.lists(part, max_size=3).map(tuple).map(AllOf)
        | st.lists(part, max_size=3).map(tuple).map(AnyOf)
    ),
    max_leaves=5,
)
rows = st.lists(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4), min_size=40, max_size=40)


@pytest.fixture
def summer(uow_factory: UnitOfWorkFactory) -> Gallery:
    return add_gallery(uow_factory, add_tenant(uow_factory))


def matching(uow_factory: UnitOfWorkFactory, gallery: Gallery, where: Filter) -> set[str]:
    with uow_factory() as uow:
        page = uow.images.page(gallery.id, size=1000, after=None, where=where, external_id=None)
    return {image.external_id for image in page.items}


def test_every_value_under_every_condition(uow_factory: UnitOfWorkFactory, summer: Gallery) -> None:
    held = {f"{n:03}": {"a": value} for n, value in enumerate(VALUES)} | {"none": {}}
    add_images(uow_factory, summer, list(held), list(held.values()))
    each: Sequence[tuple[Operator, Sequence[Any]]] = (
        (Operator.EQ, SCALARS),
        (Operator.IN, [(value, "no") for value in SCALARS]),
        (Operator.EXISTS, [True, False]),
        (Operator.PREFIX, ["r", "red", "%", "1"]),
        *((operator, NUMBERS) for operator in (Operator.LT, Operator.LTE, Operator.GT, Operator.GTE)),
    )
    for operator, values in each:
        for value in values:
            for where in (Condition("a", operator, value), Not(Condition("a", operator, value))):
                expected = {name for name, attributes in held.items() if evaluate(where, attributes)}
                assert matching(uow_factory, summer, where) == expected, where


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(held=rows, wheres=st.lists(filters, min_size=10, max_size=10))
def test_sql_and_reference_agree(
    uow_factory: UnitOfWorkFactory, summer: Gallery, held: list[dict[str, Any]], wheres: list[Filter]
) -> None:
    names = [f"{n:02}" for n in range(len(held))]
    add_images(uow_factory, summer, names, held)
    for where in wheres:
        expected = {name for name, attributes in zip(names, held, strict=True) if evaluate(where, attributes)}
        assert matching(uow_factory, summer, where) == expected
