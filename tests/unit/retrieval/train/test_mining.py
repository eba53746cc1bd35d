from collections.abc import Callable
from pathlib import Path

import pytest

from retrieval.datasets.composed import CirDataset
from retrieval.datasets.triplets import Triplet
from retrieval.evaluate.embeddings import VectorCache
from retrieval.train.mining import Miner, MiningRule, Stage1, build_miner
from tests.unit.retrieval.evaluate.scripted import ScriptedComposer, ScriptedEncoder, gallery

NAMES = ("a", "b", "c", "d", "e", "f")
SCORES = (0.9, 0.8, 0.5, 0.51, 0.3, 0.1)
"""Of a, b, … for "in red"; their standard deviation is 0.27."""


@pytest.fixture
def build(tmp_path: Path) -> Callable[[MiningRule], Miner]:
    def build(rule: MiningRule) -> Miner:
        encoder = ScriptedEncoder()
        stage1 = Stage1(encoder, ScriptedComposer(encoder, {"in red": SCORES}), VectorCache())
        data = CirDataset(name="feedback", split="x", images=gallery(tmp_path, NAMES), queries=())
        return build_miner([data], stage1, rule)

    return build


@pytest.fixture
def triplet(tmp_path: Path) -> Triplet:
    """Reference a, target c; f is right as well."""
    a, c, f = (tmp_path / f"{name}.jpg" for name in "acf")
    return Triplet(a, "in red", c, wrong=(), right=(c, f), group="a", gallery=0)


def found(paths: tuple[Path, ...]) -> str:
    return "".join(path.stem for path in paths)


def test_negatives_are_near_but_not_suspected_to_be_right(
    build: Callable[[MiningRule], Miner], triplet: Triplet
) -> None:
    assert found(build(MiningRule(margin=0.1)).near(triplet)) == "de"  # b is far above the target, d hardly
    assert found(build(MiningRule(margin=0.0)).near(triplet)) == "e"
    assert found(build(MiningRule(margin=2.0)).near(triplet)) == "bde"


def test_only_the_first_of_stage_1_are_near(build: Callable[[MiningRule], Miner], triplet: Triplet) -> None:
    assert found(build(MiningRule(depth=2)).near(triplet)) == "d"


def test_a_shortlist_is_what_the_judge_would_get(build: Callable[[MiningRule], Miner], triplet: Triplet) -> None:
    shortlist = build(MiningRule()).shortlist(triplet, 3)

    assert found(shortlist.pictures) == "bdc"
    assert shortlist.scores.tolist() == pytest.approx([0.8, 0.51, 0.5])
    assert found(build(MiningRule()).shortlist(triplet, 50).pictures) == "bdcef"
