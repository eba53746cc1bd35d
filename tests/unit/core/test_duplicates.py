"""Grouping by looks, against the plain definition."""

import tracemalloc
from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from core.duplicates import label
from core.looks import MAX_TINT


def plain(phashes: list[int], tints: list[int], distance: int) -> list[int]:
    """Union of all neighbours, pair by pair."""
    labels = list(range(len(phashes)))
    for one in range(len(phashes)):
        for other in range(one):
            if close(phashes[one], phashes[other], tints[one], tints[other], distance):
                kept, gone = sorted((labels[one], labels[other]))
                labels = [kept if each == gone else each for each in labels]
    return labels


def close(one: int, other: int, tint: int, other_tint: int, distance: int) -> bool:
    apart = [abs((tint >> shift & 255) - (other_tint >> shift & 255)) for shift in (16, 8, 0)]
    return ((one ^ other) & (1 << 64) - 1).bit_count() <= distance and max(apart) <= MAX_TINT


def signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def labels_of(phashes: list[int], tints: list[int], distance: int) -> list[int]:
    found: NDArray[np.int64] = label(np.array(phashes, np.int64), np.array(tints, np.int64), distance=distance)
    return [int(each) for each in found]


# Few bits around few centres, so that neighbours, chains and equals all come up.
HASHES = st.builds(
    lambda centre, flips: signed(centre ^ sum({1 << bit for bit in flips})),
    st.sampled_from([0, (1 << 64) - 1, 0xF0F0F0F0F0F0F0F0]),
    st.lists(st.integers(0, 63), max_size=6),
)
TINTS = st.sampled_from([0, 0x0A0A0A, 0x141414, 0xFF0000])


@given(st.lists(st.tuples(HASHES, TINTS), max_size=25), st.integers(0, 10))
def test_groups_are_what_neighbours_connect(rows: list[tuple[int, int]], distance: int) -> None:
    phashes, tints = [row[0] for row in rows], [row[1] for row in rows]
    assert labels_of(phashes, tints, distance) == plain(phashes, tints, distance)


def test_the_first_row_names_the_group() -> None:
    assert labels_of([7, 1 << 40, 7, 6, -1], [0] * 5, 1) == [0, 1, 0, 0, 4]


def test_another_colour_is_another_product() -> None:
    assert labels_of([7, 7, 7], [0xFF0000, 0x0000FF, 0xFA0505], 4) == [0, 1, 0]


def test_many_equal_pictures_are_one_look() -> None:
    assert set(labels_of([5] * 30_000, [0] * 30_000, 10)) == {0}


def test_neighbours_are_not_kept_pair_by_pair() -> None:
    """Plain pictures of similar shades have one hash, and all of them are neighbours."""
    shades = [red << 16 | green << 8 for red, green in product(range(MAX_TINT + 1), repeat=2)]
    tracemalloc.start()
    labels = labels_of([0] * len(shades), shades, 8)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert set(labels) == {0}
    assert peak_bytes < 1000 * len(shades)
