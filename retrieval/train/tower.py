"""First step of the demo encoder: its vision tower learns to read products, before any text."""

import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from open_clip.transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from retrieval.devices import halved_where_fast
from retrieval.train.batches import VOCABULARY, Codes
from retrieval.train.checkpoints import Checkpoint, TrainingProgress, trapezoid
from retrieval.train.pictures import Pictures

MASK_CELLS = 5
"""The mask head tells, for each patch, which of 5 x 5 cells the product covers."""

_MASK_DEPTH = 3
_CHUNK = 256


@dataclass(frozen=True)
class TowerRecipe:
    """What decides the tower's weights, besides its shape and the pictures; each round warms up and cools down."""

    rounds: tuple[int, ...] = (2_300, 700)
    batch: int = 64
    learning_rate: float = 8e-4
    weight_decay: float = 0.05
    warmup: int = 150
    checkpoint_every: int = 100
    seed: int = 1

    @property
    def steps(self) -> int:
        """Steps of all rounds."""
        return sum(self.rounds)

    def rate(self, step: int) -> float:
        """Learning rate of a step, counted over all rounds."""
        for steps in self.rounds:
            if step < steps:
                return trapezoid(step, steps=steps, warmup=self.warmup) * self.learning_rate
            step -= steps
        raise ValueError(f"the rounds {self.rounds} end before that step")


@dataclass(frozen=True)
class TowerData:
    """Pictures uint8 [n, h, w, 3], their codes int64 [n, attributes], masks uint8 [n, cells, cells]."""

    pictures: Pictures
    codes: Codes
    masks: Pictures


class TowerHeads(nn.Module):
    """Training-only heads: every attribute's value from the pooled patches, the product's outline from each patch."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values = nn.ModuleList(nn.Linear(width, len(values)) for values in VOCABULARY.values())
        self.mask = nn.Linear(width, MASK_CELLS * MASK_CELLS)

    def loss(self, pooled: Tensor, patches: Tensor, data: TowerData, chosen: NDArray[np.int64]) -> Tensor:
        """Mean cross-entropy over the attributes that pictures have, plus the outline's; a scalar."""
        codes = torch.from_numpy(data.codes[chosen]).to(pooled.device)
        losses = [
            functional.cross_entropy(head(pooled).float(), codes[:, column], ignore_index=-1, reduction="sum")
            for column, head in enumerate(self.values)
        ]
        covered = _cells(data.masks[chosen], patches.shape[1]).to(patches.device)
        outline = functional.binary_cross_entropy_with_logits(self.mask(patches).float(), covered)
        return torch.stack(losses).sum() / (codes >= 0).sum() + 2.0 * outline


class _Trained(nn.Module):
    """The tower and its training-only heads, as one module for optimizer and checkpoint."""

    def __init__(self, visual: VisionTransformer, heads: TowerHeads) -> None:
        super().__init__()
        self.visual = visual
        self.heads = heads


def train_tower(model: CLIP, data: TowerData, recipe: TowerRecipe, checkpoint: Path) -> float:
    """Train `model.visual` in place, on its device, from `checkpoint` where there is one; returns the seconds it took.

    ConflictError when the checkpoint is of another recipe.
    """
    torch.manual_seed(recipe.seed)
    heads = TowerHeads(model.visual.conv1.out_channels).to(model.visual.conv1.weight.device)
    trained = _Trained(model.visual, heads)
    optimizer = torch.optim.AdamW(
        [p for p in trained.parameters() if p.requires_grad], weight_decay=recipe.weight_decay, betas=(0.9, 0.98)
    )
    state = Checkpoint(checkpoint, recipe)
    step, seconds = state.load(trained, optimizer)
    with TrainingProgress("vision tower", recipe.steps, step) as progress:
        while step < recipe.steps:
            started = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = recipe.rate(step)
            rng = np.random.default_rng([recipe.seed, step])
            loss = _step(trained, optimizer, data, rng.integers(len(data.pictures), size=recipe.batch))
            step, seconds = step + 1, seconds + time.monotonic() - started
            progress.report(step, loss=loss)
            if step % recipe.checkpoint_every == 0 or step == recipe.steps:
                state.save(trained, optimizer, step=step, seconds=seconds)
    return seconds


def tower_features(visual: VisionTransformer, pictures: Tensor) -> tuple[Tensor, Tensor]:
    """Pooled vector [n, width] before the projection, and patch tokens [n, patches, width] of the middle layer."""
    tokens = visual._embeds(pictures)  # noqa: SLF001 - the public forward pass offers no middle layer cheaply
    middle = tokens
    for depth, block in enumerate(visual.transformer.resblocks, start=1):
        tokens = block(tokens)
        if depth == min(_MASK_DEPTH, len(visual.transformer.resblocks)):
            middle = tokens
    pooled, _ = visual._pool(tokens)  # noqa: SLF001 - as above
    return pooled, middle[:, 1:]


@torch.no_grad()
def pooled_features(visual: VisionTransformer, pictures: Pictures) -> Tensor:
    """The frozen tower's pooled vectors before the projection, float32 [n, width], on its device."""
    visual.eval()
    chunks = [pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK)]
    device = visual.conv1.weight.device
    return torch.cat([tower_features(visual, normalised(chunk, device))[0] for chunk in chunks])


def normalised(pictures: Pictures, device: torch.device) -> Tensor:
    """uint8 [n, h, w, 3] -> float32 [n, 3, h, w] in -1..1 on `device`, as the model's `preprocess_cfg` prescribes."""
    pixels = torch.from_numpy(np.ascontiguousarray(pictures)).to(device).permute(0, 3, 1, 2).float()
    return (pixels / 255.0 - 0.5) / 0.5


def _step(trained: _Trained, optimizer: torch.optim.Optimizer, data: TowerData, chosen: NDArray[np.int64]) -> float:
    device = trained.visual.conv1.weight.device
    # Short sequences: plain attention is faster here than the backward pass of the flash kernels.
    with sdpa_kernel(SDPBackend.MATH), halved_where_fast(device):
        pooled, patches = tower_features(trained.visual, normalised(data.pictures[chosen], device))
        loss = trained.heads.loss(pooled, patches, data, chosen)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(trained.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def _cells(masks: Pictures, patches: int) -> Tensor:
    """Masks uint8 [n, side, side] -> shares float32 [n, patches, cells of a patch]."""
    grid = round(patches**0.5)
    cells = masks.reshape(len(masks), grid, MASK_CELLS, grid, MASK_CELLS).transpose(0, 1, 3, 2, 4)
    return torch.from_numpy(np.ascontiguousarray(cells)).reshape(len(masks), patches, -1).float() / 255.0
