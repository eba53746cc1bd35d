"""The whole study on a tiny benchmark: which rows there are, what they are compared with, and what sums them up."""

import pytest

from benchmarks.quality.content import find, summarise
from benchmarks.quality.numbers import COLUMNS, best_of, best_of_each_family
from retrieval.strategies import COMPOSED, SINGLE_MODALITY
from tests.unit.benchmarks.quality.miniature import ABLATIONS, UNIONS, Ran

SUMMARY = {
    "best_union",
    "best_union_r1",
    "intersection_r1",
    "intersection_minus_union_r1_ci95",
    "intersection_minus_union_r1_ci95_noattr",
    "scene_dropped_share",
    "stage1_r1",
    "stage2_r1",
    "stage2_gain_r1",
    "stage2_errors_removed_share",
    "base_without_lora_r1",
}


def test_every_strategy_has_a_row_without_and_with_the_judge(ran: Ran) -> None:
    dev = ran.content["dev"]
    for strategy in [*SINGLE_MODALITY, *COMPOSED, *dev["best_ablations"], dev["best_union"]["own"]]:
        for judge, weight in ((None, None), ("adapter", 0.25)):
            row = find(ran.content, strategy, judge)
            assert row["weight"] == weight
            assert tuple(row["metrics"]) == COLUMNS
            assert row["queries"] == 12


def test_rows_have_slices_with_intervals(ran: Ran) -> None:
    slices = find(ran.content, "intersection")["slices"]

    assert "same-scene" in slices
    assert any(label.startswith("style:") for label in slices)
    assert not any(label.startswith("changes:") for label in slices)
    for measured in slices.values():
        low, high = measured["metrics"]["R@1"]["ci95"]
        assert 0 <= low <= measured["metrics"]["R@1"]["percent"] <= high <= 100


def test_the_union_is_the_best_on_dev_for_each_use_of_attributes(ran: Ran) -> None:
    dev = ran.content["dev"]

    assert set(dev["best_union"]) == {"own", "degraded", "none"}
    for use, best in dev["best_union"].items():
        assert set(dev["unions"][use]) == set(UNIONS)
        assert dev["unions"][use][best] == max(dev["unions"][use].values())
        for judge in (None, "adapter"):
            assert find(ran.content, best, judge, attributes=use) is not None
            assert find(ran.content, "intersection", judge, attributes=use) is not None


def test_of_equal_unions_the_better_ranking_wins_and_then_the_first() -> None:
    assert best_of({"a": (50.0, 60.0), "b": (50.0, 70.0), "c": (50.0, 70.0), "d": (40.0, 90.0)}) == "b"


def test_the_best_of_each_family() -> None:
    scores = {"a-0.10": (1.0, 0.0), "b-c-0.10": (5.0, 0.0), "a-0.20": (2.0, 0.0), "b-c-0.20": (5.0, 1.0)}
    assert best_of_each_family(scores) == ["a-0.20", "b-c-0.20"]


def test_intersections_are_compared_on_dev(ran: Ran) -> None:
    dev = ran.content["dev"]

    assert set(dev["intersections"]) == {"intersection", *ABLATIONS}
    literal, multiplied = dev["best_ablations"]
    assert literal == "intersection-literal-0.50"
    assert multiplied.startswith("intersection-and-")
    assert dev["intersections"][dev["best_intersection"]] == max(dev["intersections"].values())


def test_the_difference_to_the_union_is_that_of_the_rows(ran: Ran) -> None:
    for use, best in ran.content["dev"]["best_union"].items():
        found = ran.content["comparisons"]["intersection_minus_union"][use]
        ours, theirs = (find(ran.content, name, attributes=use)["metrics"] for name in ("intersection", best))
        for name in COLUMNS:
            expected = ours[name]["percent"] - theirs[name]["percent"]
            assert found["all"][name]["percent"] == pytest.approx(expected, abs=0.02)
            assert found["all"][name]["ci95"][0] <= expected + 0.02
        assert "same-scene" in found


def test_the_judge_is_measured_with_and_without_its_adapter(ran: Ran) -> None:
    weights = {
        judge: find(ran.content, "intersection", judge)["weight"]
        for judge in ("adapter", "adapter alone", "base", "base alone")
    }

    assert weights == {"adapter": 0.25, "adapter alone": 1.0, "base": 0.25, "base alone": 1.0}
    assert set(ran.content["comparisons"]) == {"intersection_minus_union", "stage2_gain", "adapter_minus_base"}


def test_the_judge_hears_each_question_once(ran: Ran) -> None:
    # 23 candidates are the whole gallery: the first strategy's shortlist is everybody's.
    assert ran.judge.asked == [23] * 12


def test_the_study_is_saved_as_it_grows(ran: Ran) -> None:
    assert ran.saved[0] == 0  # dev comes first
    assert ran.saved == sorted(ran.saved)
    assert ran.saved[-1] == len(ran.content["rows"])
    assert "dev, unions, attributes own" in ran.diary.seconds
    assert "intersection, base" in ran.diary.seconds


def test_the_summary_has_its_keys_and_takes_them_from_the_rows(ran: Ran) -> None:
    found = summarise(ran.content)

    assert set(found) == SUMMARY
    assert found["stage1_r1"] == found["intersection_r1"]
    assert found["stage2_gain_r1"] == pytest.approx(found["stage2_r1"] - found["stage1_r1"], abs=0.02)
    assert found["best_union"] in UNIONS
    assert len(found["intersection_minus_union_r1_ci95"]) == 2


def test_explanations_are_counted_for_each_use_of_attributes(ran: Ran) -> None:
    shares = ran.content["explanations"]

    assert set(shares) == {"own", "degraded", "none", "unnamed", "unknown"}
    assert set(shares["own"]) <= {"scene_dropped", "category_kept", "scene_kept"}
    assert all(0 <= share <= 100 for share in shares["own"].values())
