"""Trains the demo encoder: a tiny CLIP of open_clip's own classes that knows the synthetic catalog and nothing else.

Two steps: the vision tower learns to read pictures (`tower.py`), then the text tower and the projections are
aligned with the frozen vision tower contrastively, as in LiT (Zhai et al. 2022, arXiv 2111.07991).
"""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from open_clip.model import CLIP
from safetensors.torch import save_file
from torch import Tensor

from retrieval.datasets.products import Split
from retrieval.train.alignment import CONTEXT_LENGTH, AlignmentData, AlignmentRecipe, align
from retrieval.train.batches import codes_of
from retrieval.train.encoder_metrics import evaluate
from retrieval.train.pictures import render, render_masks, training_shots
from retrieval.train.tower import MASK_CELLS, TowerData, TowerRecipe, pooled_features, train_tower

PREPROCESSING: dict[str, Any] = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


@dataclass(frozen=True)
class EncoderShape:
    """Sizes of the two towers; `image_px` must be a multiple of `patch_px`."""

    image_px: int = 60
    patch_px: int = 10
    embed_dim: int = 128
    vision_width: int = 192
    vision_layers: int = 5
    text_width: int = 96
    text_layers: int = 2

    def model_cfg(self) -> dict[str, Any]:
        """The architecture as open_clip's model configuration."""
        return {
            "embed_dim": self.embed_dim,
            "vision_cfg": {
                "image_size": self.image_px,
                "patch_size": self.patch_px,
                "width": self.vision_width,
                "layers": self.vision_layers,
                "head_width": 64,
                "mlp_ratio": 3.0,
                "pos_embed_type": "sin_cos_2d",
                "pool_type": "avg",
            },
            "text_cfg": {
                "context_length": CONTEXT_LENGTH,
                "vocab_size": 49408,
                "width": self.text_width,
                "heads": self.text_width // 48,
                "layers": self.text_layers,
            },
        }

    @property
    def mask_px(self) -> int:
        """Side of the outline that the tower learns to draw."""
        return self.image_px // self.patch_px * MASK_CELLS


@dataclass(frozen=True)
class EncoderRecipe:
    """Everything that decides the weights; the same recipe trains the same model."""

    shape: EncoderShape = field(default_factory=EncoderShape)
    pictures: int = 24_000
    dev_pictures: int = 2_000
    tower: TowerRecipe = field(default_factory=TowerRecipe)
    alignment: AlignmentRecipe = field(default_factory=AlignmentRecipe)
    seed: int = 1

    @classmethod
    def seeded(cls, seed: int) -> "EncoderRecipe":
        """The recipe of the published model, with one seed for everything that is drawn."""
        return cls(tower=TowerRecipe(seed=seed), alignment=AlignmentRecipe(seed=seed), seed=seed)


def train_encoder(recipe: EncoderRecipe, *, out: Path, work: Path, device: torch.device) -> dict[str, Any]:
    """Train (or go on from the checkpoints in `work`), write the model folder `out`, return its metrics.

    The folder has open_clip's `local-dir:` layout. Batches depend on the seed and the step alone, so an interrupted
    run ends with the same weights as an uninterrupted one; on CUDA to within its rounding.
    """
    torch.manual_seed(recipe.seed)
    model = CLIP(**recipe.shape.model_cfg()).to(device)
    shots = training_shots(Split.TRAIN, count=recipe.pictures, seed=recipe.seed)
    pictures = render(shots, size_px=recipe.shape.image_px, cache=work / "cache")
    masks = render_masks(shots, size_px=recipe.shape.mask_px, cache=work / "cache")
    codes = codes_of(shots)
    seconds = train_tower(model, TowerData(pictures, codes, masks), recipe.tower, work / "tower.pt")
    part = slice(recipe.alignment.pictures)
    read = AlignmentData(shots[part], pooled_features(model.visual, pictures[part]), codes[part])
    seen, more = align(model, read, recipe.alignment, work / "alignment.pt")
    write_model(model, seen, recipe.shape, out)
    metrics = {
        "recipe": asdict(recipe),
        "training_seconds": round(seconds + more),
        **evaluate(out, pictures=recipe.dev_pictures, seed=recipe.seed, cache=work / "cache"),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def write_model(model: CLIP, seen_tokens: Tensor, shape: EncoderShape, out: Path) -> None:
    """Configuration and fp16 weights in open_clip's `local-dir:` layout."""
    out.mkdir(parents=True, exist_ok=True)
    weights = {name: tensor.detach().cpu().half().contiguous() for name, tensor in model.state_dict().items()}
    # A word that training never met says nothing: its row is zero rather than the noise it was initialised with.
    weights["token_embedding.weight"][~seen_tokens] = 0.0
    save_file(weights, out / "open_clip_model.safetensors", metadata={"format": "pt"})
    config = {"model_cfg": shape.model_cfg(), "preprocess_cfg": PREPROCESSING}
    (out / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")
