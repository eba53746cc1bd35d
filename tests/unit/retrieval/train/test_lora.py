"""The learner asks as serving does, whatever the family, and learns in the language model only."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.errors import InvalidInputError, ModelLoadError
from core.settings import Settings
from retrieval.rerank import build_judge
from retrieval.train.judgments import Judgment
from retrieval.train.lora import Learner, LoraShape, build_learner, read_picture
from tests.unit.retrieval.tiny import write_demo_reranker
from tests.unit.retrieval.tiny_qwen import write_qwen2_5_vl, write_qwen3_vl

WRITERS: dict[str, Callable[[Path], Path]] = {
    "llava": lambda folder: write_demo_reranker(folder, spread=6.0) / "base",
    "qwen2_5_vl": write_qwen2_5_vl,
    "qwen3_vl": write_qwen3_vl,
}
SIZES = ((64, 64), (130, 64), (5, 700))


@pytest.fixture(scope="module", params=sorted(WRITERS))
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of each family."""
    return WRITERS[request.param](tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number, (width, height) in enumerate(SIZES):
        pixels = rng.integers(0, 255, size=(height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return sorted(folder.iterdir())


def learner(base: Path, *, batch: int = 2, settings: Settings | None = None) -> Learner:
    return build_learner(f"hf:{base}", settings or Settings(), LoraShape(), batch=batch, seed=1)


def questions(pictures: list[Path]) -> list[Judgment]:
    reference, *candidates = pictures
    return [Judgment(reference, "red <|image_pad|> with", each, right=each is candidates[0]) for each in candidates]


def test_a_fresh_adapter_judges_as_the_base_does_in_serving(base: Path, pictures: list[Path]) -> None:
    served = build_judge(Settings(reranker=f"hf:{base}"))
    first, *others = pictures
    images = [read_picture(path) for path in others]
    expected = served.score(read_picture(first), "red <|image_pad|> with", images)

    margins = learner(base).judge(questions(pictures))

    assert torch.sigmoid(torch.from_numpy(margins)).tolist() == pytest.approx(expected, abs=1e-5)


def test_only_the_language_models_linear_layers_learn(base: Path, pictures: list[Path]) -> None:
    taught = learner(base)
    network = taught._model.network
    adapted = {name.rpartition(".lora_")[0] for name, weight in network.named_parameters() if weight.requires_grad}

    taught.learn(questions(pictures))

    assert all(weight.grad is not None for weight in taught.weights)
    assert all(name.startswith("model.language_model.layers.") for name in adapted)
    assert {name.rpartition(".")[2] for name in adapted} == {
        *(f"{part}_proj" for part in ("q", "k", "v", "o", "gate", "up", "down"))
    }
    assert not any(re.search("visual|vision|lm_head|projector", name) for name in adapted)


def test_gradients_are_those_of_the_whole_batch(base: Path, pictures: list[Path]) -> None:
    def gradients(batch: int) -> list[torch.Tensor]:
        taught = learner(base, batch=batch)
        for module in taught._model.network.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        taught.learn(questions(pictures))
        return [weight.grad for weight in taught.weights if weight.grad is not None]

    for one, other in zip(gradients(1), gradients(2), strict=True):
        assert torch.allclose(one, other, atol=1e-4)


def test_checkpointed_gradients_are_the_same(pictures: list[Path], tmp_path: Path) -> None:
    base = write_demo_reranker(tmp_path) / "base"
    losses, gradients = [], []
    for checkpointed in (False, True):
        taught = learner(base)
        if checkpointed:
            taught.checkpoint_gradients()
        torch.manual_seed(7)
        losses.append(taught.learn(questions(pictures)))
        gradients.append([weight.grad for weight in taught.weights])

    assert losses[0] == pytest.approx(losses[1], abs=1e-6)
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


def test_half_precision_learns_in_float32_weights(pictures: list[Path], tmp_path: Path) -> None:
    base = write_demo_reranker(tmp_path) / "base"
    taught = learner(base, settings=Settings(dtype="bfloat16"))

    assert np.isfinite(taught.learn(questions(pictures)))
    assert {weight.dtype for weight in taught.weights} == {torch.float32}
    assert taught.compute == "cpu, bfloat16"
    assert learner(base, settings=Settings(dtype="float16")).compute == "cpu, float32"


def test_a_picture_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"no picture")

    with pytest.raises(InvalidInputError, match=r"x\.jpg cannot be read .*replace it"):
        read_picture(tmp_path / "x.jpg")


def test_an_adapter_starts_from_nothing(tmp_path: Path) -> None:
    folder = write_demo_reranker(tmp_path)

    with pytest.raises(ModelLoadError, match="has an adapter already"):
        build_learner(f"hf:{folder / 'base'}+lora={folder / 'lora'}", Settings(), LoraShape(), batch=1, seed=1)
    assert build_learner("demo", Settings(models_dir=tmp_path), LoraShape(), batch=1, seed=1).base_sha256
