"""The committed weights: complete, small, loadable without a network, and as good as their cards say."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from core.settings import Settings
from retrieval.caption import build_captioner
from retrieval.datasets.products import COLORS, Product, Shot
from retrieval.rerank import build_judge
from retrieval.train.encoder_metrics import LoadedEncoder
from retrieval.train.pictures import small_photo

MODELS = Path(__file__).parents[4] / "models"
SIDE = 60


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


def test_all_demo_weights_together_are_small() -> None:
    assert sum(file.stat().st_size for file in MODELS.rglob("*.safetensors")) <= 30_000_000


def test_the_encoder_tells_colours_by_their_names() -> None:
    encoder = LoadedEncoder(MODELS / "demo-encoder")
    shots = [Shot(Product("dress", color, "plain", "long sleeves", "large", "matte"), "city", 9) for color in COLORS]
    pictures = encoder.images(np.stack([small_photo(shot, SIDE) for shot in shots]))

    guesses = (pictures @ encoder.texts(list(COLORS)).T).argmax(axis=1)

    assert (guesses == np.arange(len(COLORS))).mean() >= 0.9


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")  # PEFT reads transformers' old name
def test_the_adapter_tells_what_was_asked_for_and_the_base_does_not() -> None:
    reference, target = Product("dress", "blue", "plain", "long sleeves", "large", "matte"), {"color": "red"}
    wrong = [{}, {"color": "green"}, {"color": "red", "pattern": "dotted"}, {"color": "red", "sleeve": "sleeveless"}]
    shown = [_photo(reference, changes, seed) for seed, changes in enumerate([target, *wrong])]
    adapted = Settings(models_dir=MODELS, reranker="demo")
    alone = adapted.model_copy(update={"reranker": f"hf:{MODELS / 'demo-reranker' / 'base'}"})

    scores = build_judge(adapted).score(_photo(reference, {}, 99), "make it red", shown)
    without = build_judge(alone).score(_photo(reference, {}, 99), "make it red", shown)

    assert scores[0] > max(scores[1:])
    assert scores[0] - max(scores[1:]) > without[0] - max(without[1:])


def test_the_captioner_describes_what_is_wanted() -> None:
    captioner = build_captioner(Settings(models_dir=MODELS, captioner="demo"))
    reference = _photo(Product("dress", "blue", "plain", "long sleeves", "large", "matte"), {}, 99)

    said = captioner.caption(reference, "make it red")

    assert {"red", "dress"} <= set(said.split())
    assert "blue" not in said


def _photo(product: Product, changes: dict[str, str], seed: int) -> Image.Image:
    for name, value in changes.items():
        product = product.with_attribute(name, value)
    return Image.fromarray(small_photo(Shot(product, "city", seed), SIDE))
