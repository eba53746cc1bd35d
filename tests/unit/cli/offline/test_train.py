"""`setr train` from the files to the adapter's folder, by tiny random models."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result

from cli.main import main
from core.settings import Settings
from retrieval.rerank import build_judge
from retrieval.train.encoder_demo import EncoderRecipe
from tests.unit.retrieval.conftest import THIRD_PARTY_WARNINGS
from tests.unit.retrieval.tiny import clip_weights, write_demo_encoder, write_demo_reranker
from tests.unit.retrieval.train.lessons import write_lessons

Train = Callable[..., Result]

pytestmark = [pytest.mark.filterwarnings(warning) for warning in THIRD_PARTY_WARNINGS]
SHORT = ("--steps", "2", "--queries", "2", "--negatives", "1", "--validation-queries", "2", "--validate-every", "1")


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("models")
    write_demo_encoder(folder, clip_weights())
    write_demo_reranker(folder)
    return folder


@pytest.fixture
def train(models_dir: Path, tmp_path: Path) -> Train:
    def run(*arguments: str) -> Result:
        env = {"SETR_MODELS_DIR": str(models_dir), "SETR_DATA_DIR": str(tmp_path / "data"), "SETR_TORCH_THREADS": "1"}
        return CliRunner().invoke(main, ["train", *arguments], env=env)

    return run


@pytest.fixture
def reranker(train: Train, tmp_path: Path) -> Train:
    def run(*arguments: str, base: str = "demo") -> Result:
        source = f"feedback:{write_lessons(tmp_path / 'lessons')}"
        out = str(tmp_path / "out")
        return train("reranker", "--triplets", source, "--base", base, "--out", out, *SHORT, *arguments)

    return run


def test_an_adapter_is_trained_and_named(reranker: Train, models_dir: Path, tmp_path: Path) -> None:
    base = models_dir / "demo-reranker" / "base"
    result = reranker("--encoder", "demo", "--strategy", "sum", base=str(base))

    assert result.exit_code == 0, result.output
    spec = f"hf:{base}+lora={tmp_path / 'out'}"
    assert f"SETR_RERANKER='{spec}'" in result.stdout
    assert "AUC on validation" in result.stdout
    assert "8 to check on" in result.stderr
    metrics: dict[str, Any] = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["steps"] == 2
    assert metrics["stage1"].endswith("strategy sum")
    assert build_judge(Settings(reranker=spec)).identity.spec == spec
    assert (tmp_path / "out.work" / "reranker.pt").is_file()


def test_a_folder_that_exists_is_left_alone(reranker: Train, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    result = reranker()

    assert result.exit_code == 1
    assert "out exists already" in result.output
    assert not (tmp_path / "out.work").exists()


def test_other_options_do_not_go_on_from_a_checkpoint(reranker: Train, models_dir: Path, tmp_path: Path) -> None:
    first = reranker()
    assert first.exit_code == 0, first.output
    base = models_dir / "demo-reranker" / "base"
    assert f"SETR_RERANKER='hf:{base}+lora={tmp_path / 'out'}'" in first.stdout
    (tmp_path / "out").rename(tmp_path / "first")

    other = reranker("--seed", "5")
    same = reranker()

    assert other.exit_code == 1
    assert "a training with other options" in other.output
    assert same.exit_code == 0, same.output
    names = sorted(path.name for path in (tmp_path / "first").iterdir())
    assert names == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "calibration.json",
        "metrics.json",
    ]
    for name in ("adapter_model.safetensors", "calibration.json", "metrics.json"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "first" / name).read_bytes()


def test_validation_may_come_from_elsewhere(reranker: Train, tmp_path: Path) -> None:
    result = reranker("--validation", f"feedback:{write_lessons(tmp_path / 'elsewhere')}")

    assert result.exit_code == 0, result.output
    assert "64 triplets to learn from, 64 to check on" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--triplets", "csv:x"), "is no source of triplets"),
        (("--triplets", "lasco:nowhere.json"), "There is no file"),
        (("--encoder", "nothing"), "nothing"),
        (("--strategy", "caption"), "--strategy"),
        (("--base", "hf:/nowhere/at/all"), "base model /nowhere/at/all cannot be loaded"),
    ],
)
def test_what_cannot_work_is_one_clean_line(reranker: Train, arguments: tuple[str, ...], said: str) -> None:
    result = reranker(*arguments)

    assert result.exit_code in {1, 2}
    assert said in result.output
    assert "Traceback" not in result.output


def test_the_demo_encoder_is_trained_by_its_own_script(
    train: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[EncoderRecipe, Path, Path]] = []

    def stub(recipe: EncoderRecipe, *, out: Path, work: Path, device: torch.device) -> dict[str, int]:
        assert device.type == "cpu"
        asked.append((recipe, out, work))
        return {"training_seconds": 7}

    monkeypatch.setattr("retrieval.train.encoder_demo.train_encoder", stub)
    result = train("encoder-demo", "--out", str(tmp_path / "e"), "--work", str(tmp_path / "w"), "--seed", "3")

    assert result.exit_code == 0, result.output
    recipe, *folders = asked[0]
    assert (recipe.seed, recipe.tower.seed, recipe.alignment.seed) == (3, 3, 3)
    assert folders == [tmp_path / "e", tmp_path / "w"]
    assert EncoderRecipe.seeded(1) == EncoderRecipe()


def test_the_demo_judge_is_trained_by_its_own_script(
    train: Train, tmp_path: Path, models_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[dict[str, Path]] = []

    def stub(recipe: object, *, device: torch.device, **folders: Path) -> dict[str, int]:
        del recipe
        assert device.type == "cpu"
        asked.append(folders)
        return {"training_seconds": 7}

    monkeypatch.setattr("retrieval.train.reranker_demo.train_judge_base", stub)
    encoder = models_dir / "demo-encoder"
    result = train("reranker-demo", "--encoder", str(encoder), "--out", str(tmp_path / "j"), "--work", str(tmp_path))

    assert result.exit_code == 0, result.output
    assert asked == [{"encoder": encoder, "out": tmp_path / "j", "work": tmp_path}]
