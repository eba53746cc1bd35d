from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from open_clip.model import CLIP

from core.errors import ConflictError
from retrieval.datasets.products import Split
from retrieval.train.alignment import AlignmentData, AlignmentRecipe, TextSide, align, contrastive_loss, value_loss
from retrieval.train.batches import VOCABULARY, codes_of
from retrieval.train.checkpoints import Checkpoint
from retrieval.train.encoder_demo import EncoderShape
from retrieval.train.pictures import render, render_masks, training_shots
from retrieval.train.tower import TowerData, TowerRecipe, pooled_features, train_tower

SHAPE = EncoderShape(20, 10, embed_dim=16, vision_width=64, vision_layers=1, text_width=48, text_layers=1)
TOWER = TowerRecipe(rounds=(3, 1), batch=4, warmup=1, checkpoint_every=2)
ALIGNMENT = AlignmentRecipe(steps=4, batch=4, warmup=1, checkpoint_every=2, pictures=12)
SHOTS = training_shots(Split.TRAIN, count=12, seed=1)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def data(tmp_path: Path) -> TowerData:
    pictures = render(SHOTS, size_px=20, cache=tmp_path)
    return TowerData(pictures, codes_of(SHOTS), render_masks(SHOTS, size_px=SHAPE.mask_px, cache=tmp_path))


def _model() -> CLIP:
    torch.manual_seed(0)
    return CLIP(**SHAPE.model_cfg())


def _weights(model: CLIP) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_drawn_pictures_are_read_back_from_the_cache(data: TowerData, tmp_path: Path) -> None:
    files = sorted(tmp_path.iterdir())

    assert (render(SHOTS, size_px=20, cache=tmp_path) == data.pictures).all()
    assert sorted(tmp_path.iterdir()) == files


def test_a_resumed_tower_equals_an_uninterrupted_one(data: TowerData, tmp_path: Path) -> None:
    whole, first, second = _model(), _model(), _model()
    start = _weights(whole)

    train_tower(whole, data, TOWER, tmp_path / "whole.pt")
    _interrupted(lambda: train_tower(first, data, TOWER, tmp_path / "parts.pt"), tmp_path / "parts.pt", steps=2)
    train_tower(second, data, TOWER, tmp_path / "parts.pt")

    assert any(not torch.equal(tensor, start[name]) for name, tensor in _weights(whole).items())
    for name, tensor in whole.visual.state_dict().items():
        assert torch.equal(tensor, second.visual.state_dict()[name]), name


def test_a_resumed_alignment_equals_an_uninterrupted_one(data: TowerData, tmp_path: Path) -> None:
    whole, first, second = _model(), _model(), _model()
    aligned = AlignmentData(SHOTS, pooled_features(whole.visual, data.pictures), data.codes)

    seen, _ = align(whole, aligned, ALIGNMENT, tmp_path / "whole.pt")
    _interrupted(lambda: align(first, aligned, ALIGNMENT, tmp_path / "parts.pt"), tmp_path / "parts.pt", steps=2)
    again, _ = align(second, aligned, ALIGNMENT, tmp_path / "parts.pt")

    assert torch.equal(seen, again)
    assert 0 < int(seen.sum()) < len(seen)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name


def test_texts_without_padding_are_encoded_as_open_clip_does() -> None:
    model = _model()
    tokens = torch.zeros((2, 32), dtype=torch.int64)
    tokens[0, :4] = torch.tensor([49406, 736, 2595, 49407])
    tokens[1, :3] = torch.tensor([49406, 736, 49407])

    with torch.no_grad():
        assert torch.allclose(TextSide(model).encode(tokens), model.encode_text(tokens, normalize=True), atol=1e-6)


def test_the_contrastive_loss_takes_several_right_answers() -> None:
    similarity = torch.tensor([[5.0, 5.0, -5.0], [-5.0, -5.0, 5.0]])
    right = torch.tensor([[True, True, False], [False, False, True]])

    # By text: two equal answers cost log 2, one clear answer nothing; by image: nothing.
    assert contrastive_loss(similarity, right).item() == pytest.approx(0.5 * (np.log(2) + 0.0) / 2, abs=1e-3)
    assert contrastive_loss(similarity, ~right).item() > 5.0


def test_the_value_loss_leaves_out_what_a_product_does_not_have() -> None:
    codes = np.full((1, len(VOCABULARY)), -1, dtype=np.int64)
    codes[0, 0] = 1
    similarity = torch.zeros((sum(map(len, VOCABULARY.values())), 1))

    assert value_loss(similarity, codes).item() == pytest.approx(np.log(len(VOCABULARY["category"])))


def _interrupted(train: object, checkpoint: Path, *, steps: int) -> None:
    """Run a training until its checkpoint of `steps`, as if it had been killed right after."""

    class _Killed(Exception):  # noqa: N818 - it plays a signal
        pass

    save = Checkpoint.save

    def save_and_die(state: Checkpoint, *arguments: Any, step: int, seconds: float) -> None:
        save(state, *arguments, step=step, seconds=seconds)
        if step == steps:
            raise _Killed

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Checkpoint, "save", save_and_die)
        with pytest.raises(_Killed):
            train()  # type: ignore[operator]
    assert checkpoint.exists()


def test_a_checkpoint_of_another_recipe_is_not_gone_on_from(tmp_path: Path) -> None:
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    Checkpoint(tmp_path / "state.pt", TowerRecipe(seed=1)).save(model, optimizer, step=7, seconds=1.5)
    assert Checkpoint(tmp_path / "state.pt", TowerRecipe(seed=1)).load(model, optimizer) == (7, 1.5)
    with pytest.raises(ConflictError, match="another recipe or seed"):
        Checkpoint(tmp_path / "state.pt", TowerRecipe(seed=2)).load(model, optimizer)


def test_each_round_warms_up_and_cools_down() -> None:
    recipe = TowerRecipe(rounds=(10, 20), warmup=2, learning_rate=1.0)
    rates = [recipe.rate(step) for step in range(recipe.steps)]

    assert rates[:3] == rates[10:13] == [0.5, 1.0, 1.0]
    assert rates[9] < 0.5
    assert rates[29] < rates[27] < 1.0
    with pytest.raises(ValueError, match="rounds"):
        recipe.rate(30)


def test_shapes_keep_to_their_sizes() -> None:
    assert replace(SHAPE, patch_px=5).mask_px == 20
