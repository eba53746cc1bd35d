import json
from dataclasses import replace
from pathlib import Path

import pytest

from core.errors import InvalidInputError
from core.models import Explanation
from core.pictures import decode
from retrieval.datasets.composed import CirQuery
from retrieval.evaluate.report import as_json, difference, errors_removed, metric_rows, summary
from retrieval.evaluate.run import EvalOptions, Evaluation, Models, evaluate
from tests.unit.retrieval.evaluate.scripted import ScriptedComposer, ScriptedEncoder, ScriptedJudge, dataset, gallery

NAMES = [f"{letter}{number}" for letter in "abcdefghij" for number in range(6)]
DOWN = [1.0 - place / 100 for place in range(60)]
"""Scores in order of ids: NAMES is the ranking."""


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Path]:
    return gallery(tmp_path, NAMES)


def answered(
    images: dict[str, Path], *queries: CirQuery, name: str = "cirr", judge: ScriptedJudge | None = None
) -> Evaluation:
    encoder = ScriptedEncoder()
    said = Explanation(kept=(("shirt", 0.6),), dropped=(("in the snow", 0.4),))
    composer = ScriptedComposer(encoder, {"x": DOWN}, explanation=said)
    return evaluate([dataset(name, images, *queries)], Models(encoder, composer, judge), EvalOptions(depth=5))


def query(number: int, target: str, *labels: str) -> CirQuery:
    return CirQuery(str(number), "j5", ("x",), (target,), members=("a0", "a1", "a2", "a3", target), labels=labels)


def test_metrics_are_percentages_with_intervals(images: dict[str, Path]) -> None:
    evaluation = answered(images, query(1, "a4"), query(2, "j4"))
    found = summary(metric_rows(evaluation))

    assert (found["R@1"].percent, found["R@5"].percent, found["R@50"].percent) == (0.0, 50.0, 50.0)
    assert found["Rsubset@3"].percent == 0.0
    assert found["R@5"].ci95 == (0.0, 100.0)
    assert found["Avg"].percent == 25.0
    assert found["mAP@10"].percent == 10.0


def test_slices_hold_their_own_queries(images: dict[str, Path]) -> None:
    content = as_json(answered(images, query(1, "a4", "easy"), query(2, "j4", "hard", "odd")))

    assert content["slices"]["easy"]["queries"] == 1
    assert content["slices"]["easy"]["metrics"]["R@5"]["percent"] == 100.0
    assert content["slices"]["hard"]["metrics"]["R@5"]["percent"] == 0.0


def test_semantic_aspects_are_slices(images: dict[str, Path]) -> None:
    queries = (query(1, "a4", "aspect:negation"), query(2, "j4", "aspect:negation", "aspect:addition"))
    content = as_json(answered(images, *queries, name="circo"))

    assert content["slices"]["aspect:negation"]["metrics"]["mAP@10"]["percent"] == 10.0
    assert content["slices"]["aspect:addition"]["metrics"]["mAP@10"]["percent"] == 0.0


def test_fashioniq_averages_its_categories_and_not_its_queries(images: dict[str, Path]) -> None:
    encoder = ScriptedEncoder()
    models = Models(encoder, ScriptedComposer(encoder, {"x": DOWN}))
    hit, miss = CirQuery("1", "a0", ("x",), ("a0",)), CirQuery("2", "a0", ("x",), ("j5",))
    parts = [
        dataset("fashioniq", images, hit, part="dress"),
        dataset("fashioniq", images, miss, miss, miss, part="shirt"),
    ]
    content = as_json(evaluate(parts, models, EvalOptions()))

    assert content["metrics"]["R@10"]["percent"] == 50.0
    assert content["parts"]["dress"]["R@10"]["percent"] == 100.0
    assert content["parts"]["shirt"]["R@10"]["percent"] == 0.0
    assert content["queries"] == [1, 3]


def test_stage_2_is_compared_with_stage_1_query_by_query(images: dict[str, Path]) -> None:
    judge = ScriptedJudge({decode(images["a1"].read_bytes()).tobytes(): 1.0})
    evaluation = answered(images, query(1, "a1"), query(2, "a0"), query(3, "a1"), query(4, "j4"), judge=judge)
    content = as_json(evaluation)

    assert content["stage1_metrics"]["R@1"]["percent"] == 25.0
    assert content["metrics"]["R@1"]["percent"] == 50.0
    assert content["stage2_gain"]["R@1"]["percent"] == 25.0
    assert content["stage2_errors_removed"]["percent"] == pytest.approx(33.3333)
    low, high = content["stage2_errors_removed"]["ci95"]
    assert low < 0.0  # two of three errors go, but the one right answer goes too: draws differ widely
    assert high == 100.0
    assert content["judge"] == {
        "spec": "scripted",
        "weights_sha256": "0" * 64,
        "prompt_version": 1,
        "weight": 1.0,
        "depth": 5,
    }


def test_no_errors_to_remove_is_no_number(images: dict[str, Path]) -> None:
    rows = metric_rows(answered(images, query(1, "a0")))

    assert errors_removed(rows, rows) is None


def test_two_strategies_are_compared_on_the_same_queries(images: dict[str, Path]) -> None:
    better = metric_rows(answered(images, query(1, "a0"), query(2, "a1")))
    worse = metric_rows(answered(images, query(1, "a1"), query(2, "a1")))

    assert difference(better, worse)["R@1"].percent == 50.0
    assert difference(better, better)["R@1"].ci95 == (0.0, 0.0)


def test_the_whole_setting_is_recorded(images: dict[str, Path]) -> None:
    content = json.loads(json.dumps(as_json(answered(images, query(1, "a4")))))

    assert content["encoder"]["spec"] == "scripted"
    assert content["encoder"]["preprocessing"] == "none"
    assert content["judge"] is None
    assert content["protocol"]["name"] == "cirr"
    assert content["protocol"]["reference_removed"] is True
    assert (content["dataset"], content["split"], content["strategy"]) == ("cirr", "val", "intersection")
    assert (content["gallery"], content["queries"], content["limit"]) == ([60], [1], None)
    assert content["answers"] == [{"query": "1", "coarse_rank": 5, "rank": 5, "first": ["a0"]}]


def test_a_split_without_targets_has_answers_but_no_metrics(images: dict[str, Path]) -> None:
    evaluation = answered(images, replace(query(1, "a4"), targets=()))

    assert "metrics" not in as_json(evaluation)
    with pytest.raises(InvalidInputError, match="test server"):
        metric_rows(evaluation)


def test_explanations_are_counted_on_the_slices_that_ask_for_them(images: dict[str, Path]) -> None:
    queries = (
        query(1, "a4", "same-scene", "style:single"),
        replace(query(2, "a4", "same-scene", "style:keep"), reference="j4"),
        query(3, "a4", "style:keep-scene"),
    )
    evaluation = answered(images, *queries)
    described = replace(
        evaluation.datasets[0],
        scenes=dict.fromkeys(NAMES, "beach") | {"j5": "snow"},
        attributes={name: {"category": "mug"} for name in NAMES} | {"j5": {"category": "shirt"}},
    )

    silent = tuple(replace(answer, explanation=Explanation()) for answer in evaluation.answers[0])
    assert as_json(evaluation)["explanations"] == {}
    assert as_json(replace(evaluation, datasets=(described,), answers=(silent,)))["explanations"] == {}
    assert as_json(replace(evaluation, datasets=(described,)))["explanations"] == {
        "scene_dropped": 50.0,
        "category_kept": 50.0,
        "scene_kept": 0.0,
    }
