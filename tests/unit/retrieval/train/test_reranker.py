import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file

from core.errors import ConflictError, InvalidInputError
from core.settings import Settings
from retrieval.calibration import DEFAULT_WEIGHT
from retrieval.datasets.triplets import TripletSet, hold_out, read_triplets
from retrieval.evaluate.embeddings import VectorCache
from retrieval.prompt import PROMPT_VERSION
from retrieval.rerank import build_judge
from retrieval.train import checkpoints, reranker
from retrieval.train.adapter_files import About, calibrate, metrics_of, write_adapter
from retrieval.train.lora import Learner, LoraShape, build_learner
from retrieval.train.mining import MiningRule, Stage1, build_miner
from retrieval.train.reranker import Check, Material, RerankerRecipe, Trained, train_adapter
from tests.unit.retrieval.evaluate.scripted import ScriptedComposer, ScriptedEncoder
from tests.unit.retrieval.tiny import write_demo_reranker
from tests.unit.retrieval.train.lessons import COUNT, write_lessons

RECIPE = RerankerRecipe(
    steps=16,
    queries=4,
    negatives=2,
    learning_rate=1e-2,
    validate_every=4,
    validation_queries=12,
    patience=9,
)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_reranker(tmp_path_factory.mktemp("models")) / "base"


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    source = f"feedback:{write_lessons(tmp_path_factory.mktemp('lessons'))}"
    return Material(*hold_out(read_triplets([source]), share=0.3, seed=1))


def learner(base: Path, seed: int = 1) -> Learner:
    return build_learner(f"hf:{base}", Settings(), LoraShape(), batch=16, seed=seed)


def weights(learner: Learner, folder: Path) -> dict[str, list[float]]:
    learner.save(folder)
    return {name: tensor.flatten().tolist() for name, tensor in load_file(folder / "adapter_model.safetensors").items()}


def test_a_judge_learns_what_its_base_cannot_and_serves(base: Path, material: Material, tmp_path: Path) -> None:
    taught = learner(base)

    trained = train_adapter(taught, material, RECIPE, work=tmp_path / "work")
    fitted = calibrate(taught, material, RECIPE)
    about = About(f"hf:{base}", ("feedback:x",))
    metrics = metrics_of(about, taught, material, RECIPE, (trained, fitted))
    write_adapter(tmp_path / "out", taught, fitted.calibration, metrics)

    assert metrics["validation"]["base_alone"]["auc"] < 0.6
    assert metrics["validation"]["adapted"]["auc"] > 0.9
    judge = build_judge(Settings(reranker=f"hf:{base}+lora={tmp_path / 'out'}"))
    right, wrong = (Image.new("RGB", (16, 16), colour) for colour in ((0, 9, 150), (150, 9, 0)))
    p_right, p_wrong = judge.score(Image.new("RGB", (16, 16), (120, 120, 120)), "blue", [right, wrong])
    assert p_right > 0.5 > p_wrong
    assert judge.weight == DEFAULT_WEIGHT
    written = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert written["prompt_version"] == PROMPT_VERSION
    assert written["base_sha256"] == build_judge(Settings(reranker=f"hf:{base}")).identity.weights_sha256
    assert [check["step"] for check in written["validation"]["checks"]] == [0, 4, 8, 12, 16]
    assert "not fitted" in written["calibration"]["fitted_on"]
    assert "feedback:x" in (tmp_path / "out" / "README.md").read_text()


def test_an_interrupted_training_ends_like_an_uninterrupted_one(
    base: Path, material: Material, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(RECIPE, steps=7, checkpoint_every=3, validate_every=5)
    whole = learner(base)
    expected = train_adapter(whole, material, recipe, work=tmp_path / "whole")
    saved: list[int] = []

    def write(path: Path, state: dict[str, object]) -> None:
        if len(saved) == 2:
            raise KeyboardInterrupt
        saved.append(int(str(state["step"])))
        original(path, state)

    original = checkpoints.write_state
    monkeypatch.setattr(reranker, "write_state", write)
    with pytest.raises(KeyboardInterrupt):
        train_adapter(learner(base), material, recipe, work=tmp_path / "halves")
    monkeypatch.undo()
    again = learner(base, seed=99)  # whatever it starts with, the checkpoint replaces
    resumed = train_adapter(again, material, recipe, work=tmp_path / "halves")

    assert saved == [0, 3]
    assert resumed.checks == expected.checks
    assert weights(again, tmp_path / "a") == weights(whole, tmp_path / "b")


def test_a_finished_training_is_not_repeated(base: Path, material: Material, tmp_path: Path) -> None:
    recipe = replace(RECIPE, steps=2)
    first = train_adapter(learner(base), material, recipe, work=tmp_path)

    again = train_adapter(learner(base), material, recipe, work=tmp_path)

    assert (again.step, again.checks, again.seconds) == (2, first.checks, first.seconds)


def test_another_training_does_not_go_on_from_a_checkpoint(base: Path, material: Material, tmp_path: Path) -> None:
    train_adapter(learner(base), material, replace(RECIPE, steps=1), work=tmp_path)
    fewer = replace(material, train=TripletSet(material.train.triplets[1:], material.train.galleries))

    with pytest.raises(ConflictError, match=r"with other options: .* remove the file to start over"):
        train_adapter(learner(base), material, replace(RECIPE, steps=2), work=tmp_path)
    with pytest.raises(ConflictError, match="with other triplets:"):
        train_adapter(learner(base), fewer, replace(RECIPE, steps=1), work=tmp_path)


def test_it_stops_when_nothing_gets_better(base: Path, material: Material, tmp_path: Path) -> None:
    useless = replace(RECIPE, steps=50, learning_rate=0.0, validate_every=1, patience=2)
    taught = learner(base)
    before = weights(taught, tmp_path / "before")

    trained = train_adapter(taught, material, useless, work=tmp_path / "work")

    assert (trained.step, trained.best_check.step) == (2, 0)
    assert weights(taught, tmp_path / "after") == before


def test_a_training_that_diverges_says_so(base: Path, material: Material, tmp_path: Path) -> None:
    wild = replace(RECIPE, steps=50, learning_rate=1e30, warmup_share=0.0)

    with pytest.raises(InvalidInputError, match="lower learning rate"):
        train_adapter(learner(base), material, wild, work=tmp_path)


def test_the_earliest_of_equal_checks_is_the_best() -> None:
    trained = Trained(checks=[Check(0, 0.7, 0.5), Check(5, 0.6, 0.6), Check(10, 0.6, 0.9), Check(15, 0.65, 0.9)])

    assert trained.best_check.step == 5
    assert trained.is_stuck(2)
    assert not trained.is_stuck(3)


@pytest.mark.parametrize(("triplets", "steps"), [(1, 1), (16, 2), (17, 3)])
def test_epochs_decide_the_steps_unless_steps_are_given(triplets: int, steps: int) -> None:
    assert RerankerRecipe(queries=8).steps_over(triplets) == steps
    assert RerankerRecipe(queries=8, steps=77).steps_over(triplets) == 77


def test_with_stage_1_the_weight_is_fitted_on_its_shortlists(base: Path, material: Material, tmp_path: Path) -> None:
    names = [path.stem for path in material.train.galleries[0].images.values()]
    encoder = ScriptedEncoder()
    shown_first = {"r": 0.9, "b": 0.5, "g": 0.1}  # a stage 1 that prefers red
    composer = ScriptedComposer(encoder, {"blue": [shown_first[name[0]] for name in names]})
    stage1 = Stage1(encoder, composer, VectorCache())
    miner = build_miner(material.train.galleries, stage1, MiningRule())
    recipe = replace(RECIPE, validation_queries=4)
    taught = learner(base)
    train_adapter(taught, material, RECIPE, work=tmp_path)

    fitted = calibrate(taught, replace(material, miner=miner), recipe)

    assert fitted.fitted_on == f"the {3 * COUNT - 1} best of stage 1 for 4 queries"
    assert fitted.recalls is not None
    assert fitted.recalls["stage_1"]["r@1"] == 0.0
    assert fitted.recalls["stage_2"]["r@1"] == 1.0
    assert 0 < fitted.calibration.weight <= 1
