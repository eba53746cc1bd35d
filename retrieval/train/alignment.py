"""Second step of the demo encoder: texts learn to point where the frozen vision tower puts the pictures they fit."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from torch import Tensor, nn
from torch.nn import functional

from retrieval.datasets.products import Shot
from retrieval.devices import halved_where_fast
from retrieval.train.batches import VOCABULARY, Codes, picture_texts, value_texts
from retrieval.train.checkpoints import Checkpoint, TrainingProgress, trapezoid

CONTEXT_LENGTH = 32
_MAX_LOGIT_SCALE = float(np.log(50.0))


@dataclass(frozen=True)
class AlignmentRecipe:
    """What decides the weights of the text tower and the projections."""

    steps: int = 900
    batch: int = 96
    pictures: int = 8_000
    learning_rate: float = 1.5e-3
    weight_decay: float = 0.05
    warmup: int = 60
    checkpoint_every: int = 100
    seed: int = 1


@dataclass(frozen=True)
class AlignmentData:
    """Shots, what the vision tower makes of them (float32 [n, width], before the projection) and their codes.

    Features are on the model's device.
    """

    shots: Sequence[Shot]
    features: Tensor
    codes: Codes


class TextSide(nn.Module):
    """The parts of a CLIP that this step trains: everything but the vision tower's body."""

    causal_mask: Tensor
    seen_tokens: Tensor

    def __init__(self, model: CLIP) -> None:
        super().__init__()
        self.transformer = model.transformer
        self.token_embedding = model.token_embedding
        self.ln_final = model.ln_final
        self.positional_embedding = model.positional_embedding
        self.text_projection = model.text_projection
        self.logit_scale = model.logit_scale
        self.image_projection = model.visual.proj
        self.register_buffer("causal_mask", model.attn_mask, persistent=False)
        self.register_buffer("seen_tokens", torch.zeros(model.vocab_size, dtype=torch.bool))

    def encode(self, tokens: Tensor) -> Tensor:
        """`CLIP.encode_text` without the padding: int64 [n, context] -> unit vectors float32 [n, dim]."""
        end = tokens.argmax(dim=-1)  # the end-of-text token has the largest id
        longest = int(end.max()) + 1
        states = self.token_embedding(tokens[:, :longest]) + self.positional_embedding[:longest]
        states = self.ln_final(self.transformer(states, attn_mask=self.causal_mask[:longest, :longest]))
        pooled = states[torch.arange(len(tokens), device=end.device), end] @ self.text_projection
        return functional.normalize(pooled.float(), dim=-1)


def align(model: CLIP, data: AlignmentData, recipe: AlignmentRecipe, checkpoint: Path) -> tuple[Tensor, float]:
    """Train the text side of `model` in place, on its device, going on from `checkpoint` where there is one.

    Returns which tokens training has met (bool [vocabulary], on the CPU) and the seconds it took.
    ConflictError when the checkpoint is of another recipe.
    """
    side = TextSide(model).to(model.text_projection.device)
    optimizer = _optimizer(side, recipe)
    state = Checkpoint(checkpoint, recipe)
    step, seconds = state.load(side, optimizer)
    tokenizer = open_clip.SimpleTokenizer(context_length=CONTEXT_LENGTH)
    with TrainingProgress("text tower", recipe.steps, step) as progress:
        while step < recipe.steps:
            started = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = trapezoid(step, steps=recipe.steps, warmup=recipe.warmup) * recipe.learning_rate
            loss = _loss(side, data, np.random.default_rng([recipe.seed, step]), tokenizer, recipe.batch)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(side.parameters(), 1.0)
            optimizer.step()
            with torch.no_grad():
                side.logit_scale.clamp_(0.0, _MAX_LOGIT_SCALE)
            step, seconds = step + 1, seconds + time.monotonic() - started
            progress.report(step, loss=loss.item())
            if step % recipe.checkpoint_every == 0 or step == recipe.steps:
                state.save(side, optimizer, step=step, seconds=seconds)
    return side.seen_tokens.cpu(), seconds


def contrastive_loss(similarity: Tensor, matches: Tensor) -> Tensor:
    """CLIP's loss with several right answers: float32 [texts, images] logits, bool matches of the same shape.

    Each text spreads its target evenly over the pictures that fit it; each picture has to find its fitting texts
    together (they differ in how much they tell, so none of them has a claim on an even share).
    """
    target = matches.float() / matches.sum(dim=1, keepdim=True)
    by_text = -(target * functional.log_softmax(similarity, dim=1)).sum(dim=1).mean()
    fitting = similarity.masked_fill(~matches, float("-inf"))
    by_image = (torch.logsumexp(similarity, dim=0) - torch.logsumexp(fitting, dim=0)).mean()
    return 0.5 * (by_text + by_image)


def value_loss(similarity: Tensor, codes: NDArray[np.int64]) -> Tensor:
    """Cross-entropy of each picture's value among all values of the attribute: zero-shot reading, trained.

    `similarity` float32 [values of all attributes, images]; `codes` int64 [images, attributes], -1 is left out. The
    mean is over all attributes that the pictures have.
    """
    losses, start = [], 0
    for column, values in enumerate(VOCABULARY.values()):
        scores = similarity[start : start + len(values)].T
        target = torch.from_numpy(codes[:, column]).to(similarity.device)
        losses.append(functional.cross_entropy(scores, target, ignore_index=-1, reduction="sum"))
        start += len(values)
    return torch.stack(losses).sum() / int((codes >= 0).sum())


def _optimizer(side: TextSide, recipe: AlignmentRecipe) -> torch.optim.AdamW:
    matrices = [p for name, p in side.named_parameters() if p.ndim > 1 and "embedding" not in name]
    others = [p for name, p in side.named_parameters() if p.ndim <= 1 or "embedding" in name]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.98), fused=True)


def _loss(
    side: TextSide, data: AlignmentData, rng: np.random.Generator, tokenizer: open_clip.SimpleTokenizer, size: int
) -> Tensor:
    chosen = rng.integers(len(data.shots), size=size)
    batch = picture_texts([data.shots[index] for index in chosen], rng)
    values = value_texts(rng)
    device = data.features.device
    tokens = tokenizer(batch.texts + values.texts).to(device)
    side.seen_tokens[tokens.unique()] = True
    told = len(batch.texts)
    with halved_where_fast(device):
        # Apart, because the values' texts are a third as long.
        texts = torch.cat([side.encode(tokens[:told]), side.encode(tokens[told:])])
    images = functional.normalize(data.features[torch.from_numpy(chosen).to(device)] @ side.image_projection, dim=-1)
    similarity = side.logit_scale.exp() * texts @ images.T
    codes = data.codes[chosen]
    loss = contrastive_loss(similarity[:told], torch.from_numpy(batch.matches(codes)).to(device))
    return loss + 3.0 * value_loss(similarity[told:], codes)
