"""Grouping against its definition, pair by pair."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from core.grouping import Group, Grouping, group
from core.looks import MAX_TINT
from core.ports import Traits

VALUES = st.sampled_from([None, "a", "b", 1, 1.0, True, "1", ["a"], {"x": 1}])
HASHES = st.sampled_from([0, 1, 3, 0b1111, -1, -2, 1 << 62, 0b11111111])
TINTS = st.sampled_from([0, 5, 0x0C0000, 0x0D0000, 0xFFFFFF])
ROWS = st.lists(st.builds(Traits, VALUES, HASHES, TINTS), max_size=25)
HOW = st.builds(Grouping, by_value=st.booleans(), distance=st.sampled_from([None, 0, 1, 4]))


def places(groups: tuple[Group, ...]) -> list[int]:
    return [each.place for each in groups]


def same_value(one: Any, other: Any) -> bool:
    """As filters compare: a bool is no number."""
    return one is not None and isinstance(one, bool) == isinstance(other, bool) and one == other


def look_alike(one: Traits, other: Traits, distance: int | None) -> bool:
    apart = [abs((one.tint >> shift & 255) - (other.tint >> shift & 255)) for shift in (16, 8, 0)]
    bits = ((one.phash ^ other.phash) & (1 << 64) - 1).bit_count()
    return distance is not None and bits <= distance and max(apart) <= MAX_TINT


def belong(one: Traits, other: Traits, how: Grouping) -> bool:
    return (how.by_value and same_value(one.value, other.value)) or look_alike(one, other, how.distance)


@settings(max_examples=50)
@given(ROWS, HOW)
def test_a_row_is_shown_exactly_when_no_shown_one_before_it_belongs_to_it(rows: list[Traits], how: Grouping) -> None:
    shown: list[int] = []
    for place, row in enumerate(rows):
        if not any(belong(rows[better], row, how) for better in shown):
            shown.append(place)
    assert places(group(rows, how, limit=100)) == shown


@settings(max_examples=50)
@given(ROWS, HOW, st.integers(1, 10))
def test_more_candidates_never_change_what_fewer_showed(rows: list[Traits], how: Grouping, cut: int) -> None:
    fewer = places(group(rows[:cut], how, limit=100))
    assert places(group(rows, how, limit=100))[: len(fewer)] == fewer


@settings(max_examples=50)
@given(ROWS, HOW, st.integers(1, 10))
def test_a_limit_cuts_the_same_list(rows: list[Traits], how: Grouping, limit: int) -> None:
    assert places(group(rows, how, limit=limit)) == places(group(rows, how, limit=100))[:limit]


@settings(max_examples=50)
@given(ROWS, HOW)
def test_each_row_is_shown_or_counted(rows: list[Traits], how: Grouping) -> None:
    groups = group(rows, how, limit=100)
    for each in groups:
        equal = sum(how.by_value and same_value(row.value, each.value) for row in rows)
        assert each.images == equal
    left_out = len(rows) - len(groups)
    repeated = sum(
        how.by_value and any(same_value(row.value, each.value) and each.place < place for each in groups)
        for place, row in enumerate(rows)
    )
    assert sum(each.duplicates for each in groups) == left_out - repeated


def test_a_product_shown_already_by_its_twin_is_shown_by_its_next_picture() -> None:
    rows = [Traits("dress", 0, 0), Traits("skirt", 0, 0), Traits("skirt", -1, 0), Traits("dress", -1, 0)]
    assert group(rows, Grouping(by_value=True, distance=4), limit=9) == (
        Group(place=0, value="dress", images=2, duplicates=1),
        Group(place=2, value="skirt", images=2, duplicates=0),
    )


def test_rows_without_the_attribute_stand_for_themselves() -> None:
    rows = [Traits(None, 0, 0), Traits(None, 0, 0)]
    assert group(rows, Grouping(by_value=True, distance=None), limit=9) == (Group(0, None, 0, 0), Group(1, None, 0, 0))
