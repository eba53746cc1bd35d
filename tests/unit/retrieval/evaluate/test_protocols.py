"""Hand-computed rankings: one test for each trap of the official protocols."""

import numpy as np
import pytest

from retrieval.datasets.composed import CirQuery
from retrieval.evaluate.protocols import PROTOCOLS, Ranked, average_precision, best_first, of_members

NAMES = "abcdefgh"


def ranking(scores: list[float], *, without: int | None = None) -> str:
    order = best_first(np.array(scores, np.float32), without=without)
    return "".join(NAMES[place] for place in order)


def measured(protocol: str, ranked: Ranked, *targets: str) -> dict[str, float]:
    return PROTOCOLS[protocol].measure(CirQuery("0", "reference", ("x",), targets), ranked)


def test_ties_are_broken_by_id_in_either_direction_of_the_input() -> None:
    assert ranking([0.5, 0.9, 0.5, 0.9, 0.5]) == "bdace"
    assert ranking([0.1] * 8) == NAMES


def test_the_reference_leaves_the_ranking_and_nothing_else_does() -> None:
    assert ranking([0.4, 0.9, 0.7, 0.8], without=1) == "dca"
    assert len(ranking([0.4, 0.9, 0.7, 0.8], without=1)) == 3


def test_a_score_that_is_no_number_is_an_error_and_not_a_rank() -> None:
    with pytest.raises(ValueError, match="finite"):
        ranking([0.1, float("nan")])


def test_cirr_and_synthcir_drop_the_reference_while_fashioniq_and_circo_keep_it() -> None:
    assert {name: protocol.drops_reference for name, protocol in PROTOCOLS.items()} == {
        "cirr": True,
        "synthcir": True,
        "fashioniq": False,
        "circo": False,
    }


@pytest.mark.parametrize(("place", "hits"), [(1, "1111"), (2, "0111"), (5, "0111"), (6, "0011"), (11, "0001")])
def test_cirr_counts_the_target_among_the_first_k(place: int, hits: str) -> None:
    found = [f"x{number}" for number in range(1, 51)]
    found[place - 1] = "t"
    metrics = measured("cirr", Ranked(tuple(found), ("t",)), "t")

    assert "".join(f"{metrics[f'R@{k}']:.0f}" for k in (1, 5, 10, 50)) == hits


def test_cirr_ranks_the_subset_apart_from_the_gallery() -> None:
    metrics = measured("cirr", Ranked(("x", "y", "z"), ("m", "t", "n", "o", "p")), "t")

    assert [metrics[f"Rsubset@{k}"] for k in (1, 2, 3)] == [0.0, 1.0, 1.0]
    assert metrics["R@50"] == 0.0


def test_cirr_average_is_of_recall_at_5_and_subset_recall_at_1() -> None:
    assert measured("cirr", Ranked(("x", "t"), ("t", "x")), "t")["Avg"] == 1.0
    assert measured("cirr", Ranked(("x", "t"), ("x", "t")), "t")["Avg"] == 0.5


def test_cirr_map_at_10_of_one_target_is_its_reciprocal_rank() -> None:
    assert measured("cirr", Ranked(("x", "y", "z", "t"), ("t",)), "t")["mAP@10"] == 0.25
    assert measured("cirr", Ranked((*"abcdefghij", "t"), ("t",)), "t")["mAP@10"] == 0.0


def test_the_subset_keeps_the_order_of_the_ranking() -> None:
    assert of_members("hgfedcba", {"a", "c", "h"}) == ("h", "c", "a")


def test_a_member_that_was_not_ranked_is_an_error() -> None:
    with pytest.raises(ValueError, match="'z'"):
        of_members("abc", {"a", "z"})


def test_circo_divides_by_k_where_there_are_more_ground_truths_than_k() -> None:
    # Hits at 1 and 3 of the first 3; four ground truths: (1/1 + 2/3) / min(4, 3).
    assert average_precision("axbyz", "abcd", 3) == pytest.approx((1 + 2 / 3) / 3)


def test_circo_divides_by_the_ground_truths_and_not_by_the_hits() -> None:
    # One hit at 2; three ground truths of which two are never found: (1/2) / 3, not (1/2) / 1.
    assert average_precision("xaxxx", "abc", 5) == pytest.approx(1 / 6)


def test_circo_precision_counts_at_hits_only() -> None:
    # Hits at 2, 3 and 5: (1/2 + 2/3 + 3/5) / 3.
    assert average_precision("xabxc", "abc", 5) == pytest.approx((1 / 2 + 2 / 3 + 3 / 5) / 3)


def test_circo_recall_is_of_the_first_ground_truth_alone() -> None:
    metrics = measured("circo", Ranked(tuple("bxxxxxa")), "a", "b")

    assert metrics["R@5"] == 0.0
    assert metrics["R@10"] == 1.0
    assert metrics["mAP@5"] == pytest.approx(1 / 2)


def test_circo_has_four_depths_of_both() -> None:
    assert list(measured("circo", Ranked(("a",)), "a")) == [
        f"{name}@{k}" for name in ("mAP", "R") for k in (5, 10, 25, 50)
    ]


def test_fashioniq_counts_at_10_and_50() -> None:
    found = tuple(f"x{number}" for number in range(10))

    assert measured("fashioniq", Ranked((*found, "t")), "t") == {"R@10": 0.0, "R@50": 1.0, "Avg": 0.5}
