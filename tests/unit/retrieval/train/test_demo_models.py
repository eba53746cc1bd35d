"""The committed weights: complete, small, loadable without a network, and as good as their cards say."""

from pathlib import Path

import numpy as np
import pytest
import torch

from retrieval.datasets.products import COLORS, Product, Shot, Split
from retrieval.train.encoder_metrics import LoadedEncoder
from retrieval.train.judge_metrics import load_judge, margins
from retrieval.train.judge_tasks import PictureIndex
from retrieval.train.pictures import small_photo, training_shots

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
def test_it_is_the_adapter_that_judges() -> None:
    shots = training_shots(Split.TEST, count=4, seed=1)
    pictures = np.stack([small_photo(shot, SIDE) for shot in shots])
    pairs = [("make it red", 0, place) for place in range(1, 4)]

    with_adapter, base_alone = (
        margins(*load_judge(MODELS / "demo-reranker", adapter=adapter), PictureIndex(shots), pictures, pairs)
        for adapter in (True, False)
    )

    assert np.isfinite(with_adapter).all()
    assert np.abs(with_adapter - base_alone).min() > 0.01
