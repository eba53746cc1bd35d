"""Trains a LoRA adapter that makes a judge of any Hugging Face image-text-to-text model, on triplets of any source."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from core.errors import ConflictError
from core.models import Vectors
from retrieval.datasets.triplets import Triplet, TripletSet
from retrieval.prompt import PROMPT_VERSION
from retrieval.train.calibration import auc
from retrieval.train.checkpoints import TrainingProgress, read_state, trapezoid, write_state
from retrieval.train.judgments import Judgment, JudgmentSource, epochs
from retrieval.train.lora import Learner, LoraShape
from retrieval.train.mining import Miner, MiningRule


@dataclass(frozen=True, slots=True)
class RerankerRecipe:
    """What decides the adapter, besides base model and triplets.

    A step learns from `queries` triplets with one right and `negatives` wrong answers each. Without `steps`, training
    passes `epochs` times over the triplets. Every `validate_every` steps it is checked on up to `validation_queries`
    held-out triplets; after `patience` checks in a row without a lower loss it ends, and the best weights count.
    """

    epochs: float = 1.0
    steps: int | None = None
    queries: int = 8
    negatives: int = 4
    learning_rate: float = 1e-4
    warmup_share: float = 0.03
    lora: LoraShape = field(default_factory=LoraShape)
    mining: MiningRule = field(default_factory=MiningRule)
    validate_every: int = 50
    validation_queries: int = 100
    patience: int = 5
    checkpoint_every: int = 25
    seed: int = 1

    def steps_over(self, triplets: int) -> int:
        """Steps of the whole training."""
        return self.steps or max(1, math.ceil(self.epochs * triplets / self.queries))


@dataclass(frozen=True, slots=True)
class Material:
    """Triplets to learn from and to check on, and stage 1 as the source of hard negatives, where there is one."""

    train: TripletSet
    validation: TripletSet
    miner: Miner | None = None
    stage1: str = ""
    """What the miner is, for the record: encoder and weights."""


@dataclass(frozen=True, slots=True)
class Check:
    """How the adapter did on validation after so many steps: mean loss, and AUC within each query."""

    step: int
    loss: float
    auc: float


@dataclass(slots=True)
class Trained:
    """Where training has got to; `best` are the weights of the check with the lowest loss."""

    step: int = 0
    seconds: float = 0.0
    checks: list[Check] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def best_check(self) -> Check:
        """The check with the lowest loss, the earliest of equals."""
        return min(self.checks, key=lambda check: check.loss)

    def is_stuck(self, patience: int) -> bool:
        """Whether so many checks since the best one were no better."""
        return len(self.checks) - 1 - self.checks.index(self.best_check) >= patience


class Validation:
    """The held-out triplets with fixed wrong answers."""

    def __init__(self, material: Material, recipe: RerankerRecipe) -> None:
        source = JudgmentSource(material.validation, material.miner)
        rng = np.random.default_rng([recipe.seed, 2])
        self.triplets = spread(material.validation.triplets, recipe.validation_queries)
        drawn = [source.draw(triplet, recipe.negatives, rng) for triplet in self.triplets]
        self._judgments = [judgment for each in drawn for judgment in each]
        self.right: NDArray[np.bool_] = np.array([[judgment.right for judgment in each] for each in drawn])
        """bool [queries, 1 + negatives]."""

    def margins(self, learner: Learner) -> Vectors:
        """z_yes - z_no, float32 [queries, 1 + negatives]."""
        return learner.judge(self._judgments).reshape(self.right.shape)

    def check(self, learner: Learner, step: int) -> Check:
        """Loss and AUC of the adapter as it is."""
        margins = self.margins(learner)
        wrong_way = np.where(self.right, -margins, margins).astype(np.float64)
        loss = float(np.logaddexp(0.0, wrong_way).mean())  # binary cross-entropy, without its overflow
        return Check(step, round(loss, 6), auc(margins, self.right))


def train_adapter(learner: Learner, material: Material, recipe: RerankerRecipe, *, work: Path) -> Trained:
    """Train, or go on from the checkpoint in `work`; the learner ends with the best weights.

    Batches and dropout depend on seed and step alone, so that on a CPU an interrupted training ends with the same
    weights as an uninterrupted one. ConflictError when the checkpoint is of another training.
    """
    checkpoint = work / "reranker.pt"
    identity = _identity(learner, material, recipe)
    optimizer = torch.optim.AdamW(learner.weights, lr=recipe.learning_rate, weight_decay=0.0, betas=(0.9, 0.98))
    trained = _resume(checkpoint, learner, optimizer, identity)
    _run(_Run(learner, optimizer, Validation(material, recipe), recipe, checkpoint, identity), material, trained)
    learner.weights.load_state_dict(trained.best)
    return trained


def spread(triplets: Sequence[Triplet], limit: int) -> tuple[Triplet, ...]:
    """At most `limit`, evenly over all of them."""
    if limit >= len(triplets):
        return tuple(triplets)
    return tuple(triplets[place] for place in np.linspace(0, len(triplets) - 1, limit).round().astype(int))


@dataclass(frozen=True, slots=True)
class _Run:
    learner: Learner
    optimizer: torch.optim.Optimizer
    validation: Validation
    recipe: RerankerRecipe
    checkpoint: Path
    identity: Mapping[str, str]


def _run(run: _Run, material: Material, trained: Trained) -> None:
    recipe = run.recipe
    steps = recipe.steps_over(len(material.train.triplets))
    source = JudgmentSource(material.train, material.miner)
    batches = epochs(material.train.triplets, size=recipe.queries, seed=recipe.seed, start=trained.step)
    with TrainingProgress("adapter", steps, trained.step) as progress:
        if not trained.checks:
            _check(run, trained)  # the adapter is still one that changes nothing: this is the base alone
            _save(run, trained)
        while trained.step < steps and not trained.is_stuck(recipe.patience):
            started = time.monotonic()
            for group in run.optimizer.param_groups:
                warmup = round(recipe.warmup_share * steps)
                group["lr"] = trapezoid(trained.step, steps=steps, warmup=warmup) * recipe.learning_rate
            loss = _learn(run, source, next(batches), trained.step)
            trained.step += 1
            checked = trained.step % recipe.validate_every == 0 or trained.step == steps
            if checked:
                _check(run, trained)
            trained.seconds += time.monotonic() - started
            best = trained.best_check
            progress.report(trained.step, loss=loss, validation=trained.checks[-1].loss, auc=best.auc)
            if checked or trained.step % recipe.checkpoint_every == 0:
                _save(run, trained)


def _learn(run: _Run, source: JudgmentSource, triplets: Sequence[Triplet], step: int) -> float:
    rng = np.random.default_rng([run.recipe.seed, 1, step])
    judgments: list[Judgment] = []
    for triplet in triplets:
        judgments += source.draw(triplet, run.recipe.negatives, rng)
    torch.manual_seed(int(rng.integers(2**31)))  # dropout
    run.optimizer.zero_grad(set_to_none=True)
    loss = run.learner.learn(judgments)
    nn.utils.clip_grad_norm_(run.learner.weights, 1.0)
    run.optimizer.step()
    return loss


def _check(run: _Run, trained: Trained) -> None:
    check = run.validation.check(run.learner, trained.step)
    trained.checks.append(check)
    if trained.best_check is check:
        weights = run.learner.weights.state_dict()
        trained.best = {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}


def _identity(learner: Learner, material: Material, recipe: RerankerRecipe) -> dict[str, str]:
    """What has to be the same for a checkpoint to be gone on from; its keys are for people."""
    return {
        "base model": learner.base_sha256,
        "prompt": str(PROMPT_VERSION),
        "options": repr(recipe),
        "triplets": material.train.digest(),
        "validation triplets": material.validation.digest(),
        "encoder": material.stage1,
    }


def _resume(
    checkpoint: Path, learner: Learner, optimizer: torch.optim.Optimizer, identity: Mapping[str, str]
) -> Trained:
    saved = read_state(checkpoint)
    if saved is None:
        return Trained()
    other = [name for name, value in identity.items() if saved["identity"].get(name) != value]
    if other:
        raise ConflictError(
            f"{checkpoint} is of a training with other {', '.join(other)}: give the same ones to go on with it, "
            "or remove the file to start over."
        )
    learner.weights.load_state_dict(saved["weights"])
    optimizer.load_state_dict(saved["optimizer"])
    checks = [Check(**check) for check in saved["checks"]]
    return Trained(saved["step"], saved["seconds"], checks, saved["best"])


def _save(run: _Run, trained: Trained) -> None:
    state = {
        "identity": dict(run.identity),
        "weights": run.learner.weights.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": trained.step,
        "seconds": trained.seconds,
        "checks": [asdict(check) for check in trained.checks],
        "best": trained.best,
    }
    write_state(run.checkpoint, state)
