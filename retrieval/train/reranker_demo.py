"""Trains the base of the demo judge: a tiny LLaVA that learns to read pictures, to describe, and to compare.

It never sees a Yes/No judgement of a composed request: that is what the adapter learns, by the same
`setr train reranker` that fine-tunes any other model. models/demo-reranker/README.md has both commands.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from retrieval.datasets.products import Split
from retrieval.devices import halved_where_fast
from retrieval.prompt import PROMPT_VERSION
from retrieval.train.checkpoints import Checkpoint, TrainingProgress, trapezoid
from retrieval.train.encoder_demo import EncoderShape
from retrieval.train.encoder_metrics import concept_directions
from retrieval.train.judge_model import (
    JudgeShape,
    adopt_tower,
    build_judge,
    build_processor,
    build_tokenizer,
    image_tokens,
    patch_features,
    token_ids,
)
from retrieval.train.judge_requests import Candidate, PictureIndex
from retrieval.train.judge_tasks import Example, Task, TaskWriter
from retrieval.train.judge_words import NOT_SAME, SAME, SEE, WANT
from retrieval.train.pictures import Pictures, render, shaken, training_shots
from retrieval.train.tower import normalised

_CHUNK = 256
_SAMPLE = 1000
_CHECKED, _CHECKED_TOGETHER = 1000, 50
_COMPARED = (
    Candidate.TARGET,
    Candidate.ELSEWHERE,
    Candidate.REFERENCE,
    Candidate.ONE_OFF,
    Candidate.ONE_OFF,
    Candidate.TWO_OFF,
    Candidate.TWO_OFF,
    Candidate.OTHER,
)
_WEIGHT_OF_A_DIFFERENCE = 3.0
"""Most attributes of most pairs agree; a difference counts for as much as several agreements."""


@dataclass(frozen=True)
class Phase:
    """One stretch of training over `pictures` pictures; tasks are drawn evenly (name one twice for more of it).

    `tower_rate` is the learning rate of the vision tower relative to the rest; 0 leaves it as it is, and its features
    are then read once, not at every step.
    """

    name: str
    tasks: tuple[Task, ...]
    steps: int
    pictures: int = 24_000
    batch: int = 48
    learning_rate: float = 1e-3
    warmup: int = 40
    checkpoint_every: int = 50
    tower_rate: float = 0.0


_CURRICULUM = (
    Phase("reading", (Task.READ,), steps=1500, batch=128, tower_rate=0.4),
    Phase("details", (Task.READ_SMALL,), steps=1500, pictures=48_000, batch=128, tower_rate=0.4),
    Phase("comparing", (*(Task.COMPOSE,) * 8, Task.DESCRIBE, Task.ASK), steps=3500, pictures=30_000),
)


@dataclass(frozen=True)
class JudgeRecipe:
    """Everything that decides the weights, besides the encoder that lends its eyes."""

    encoder: EncoderShape = field(default_factory=EncoderShape)
    shape: JudgeShape = field(default_factory=JudgeShape)
    dev_pictures: int = 3_000
    phases: tuple[Phase, ...] = _CURRICULUM
    seed: int = 1


class _Training:
    """What a step needs: the network, the pictures and a writer of examples. It computes where the network is."""

    def __init__(self, network: Any, tokenizer: Any, pictures: Pictures, writer: TaskWriter) -> None:
        self.network = network
        self.device = torch.device(network.device)
        self.pictures = pictures
        self.writer = writer
        self.padding = tokenizer.pad_token_id
        self.image = network.config.image_token_index
        self.slots = {token_ids(tokenizer, slot)[0]: slot for slot in (*WANT, *SEE, *SAME)}
        self.agreeing = torch.tensor(token_ids(tokenizer, *SAME), device=self.device)
        self.weights = torch.ones(len(tokenizer), device=self.device)
        self.weights[token_ids(tokenizer, NOT_SAME)] = _WEIGHT_OF_A_DIFFERENCE
        self._features: Tensor | None = None

    def look(self, numbers: NDArray[np.int64], rng: np.random.Generator, *, live: bool) -> Tensor:
        """Patch features of pictures, float32 [n, patches, width]: shifted and mirrored ones where the tower learns."""
        if live:
            self._features = None
            return patch_features(self.network, normalised(shaken(self.pictures[numbers], rng), self.device))
        if self._features is None:
            self._features = read_pictures(self.network, self.pictures)
        mirrored = torch.from_numpy(rng.integers(2, size=len(numbers)))
        return self._features[torch.from_numpy(numbers), mirrored].to(self.device).float()


def train_judge_base(
    recipe: JudgeRecipe, *, encoder: Path, out: Path, work: Path, device: torch.device
) -> dict[str, Any]:
    """Train (or go on from the checkpoints in `work`), write the model folder `out`, return its metrics.

    `encoder` is the folder of the demo encoder. Batches depend on the seed and the step alone.
    """
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    judge = build_judge(tokenizer, recipe.encoder, recipe.shape)
    adopt_tower(judge, encoder)
    judge.to(device)
    directions, seconds = concept_directions(encoder), 0.0
    for number, phase in enumerate(recipe.phases):
        material = _material(recipe, tokenizer, Split.TRAIN, phase.pictures, work=work)
        if number == 0:
            _start_projector(judge, read_pictures(judge, material[0][:_SAMPLE])[:, 0], directions)
        checkpoint = work / f"judge-{phase.name}.pt"
        seconds += _train(_Training(judge, tokenizer, *material), phase, recipe.seed, checkpoint)
    judge.to(torch.bfloat16).save_pretrained(out)
    build_processor(tokenizer, recipe.encoder).save_pretrained(out)
    dev_material = _material(recipe, tokenizer, Split.DEV, recipe.dev_pictures, work=work)
    dev = _Training(judge.float(), tokenizer, *dev_material)
    metrics = {
        "recipe": asdict(recipe),
        "training_seconds": round(seconds),
        "prompt_version": PROMPT_VERSION,
        "right_notes_on_dev": note_accuracy(dev, np.random.default_rng(recipe.seed)),
    }
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


@torch.no_grad()
def note_accuracy(
    training: _Training, rng: np.random.Generator, *, batches: int = 20, batch: int = 50
) -> dict[str, Any]:
    """Share of slots that hold the right note, for random requests and candidates: by group of slots, by slot."""
    hits: dict[str, list[bool]] = {}
    for _ in range(batches):
        examples = [training.writer.example(Task.COMPOSE, rng, _COMPARED) for _ in range(batch)]
        collated = collate(examples, padding=training.padding).to(training.device)
        notes, _ = _logits(training, collated, training.look(collated.pictures, rng, live=False))
        asked = collated.notes >= 0
        right = notes.argmax(dim=1) == collated.notes[asked]
        for token, hit in zip(collated.ids[asked].tolist(), right.tolist(), strict=True):
            hits.setdefault(training.slots[token], []).append(hit)
    return {slot.strip("<>"): round(float(np.mean(found)), 4) for slot, found in hits.items()}


def _material(
    recipe: JudgeRecipe, tokenizer: Any, split: Split, count: int, *, work: Path
) -> tuple[Pictures, TaskWriter]:
    shots = training_shots(split, count=count, seed=recipe.seed)
    pictures = render(shots, size_px=recipe.encoder.image_px, cache=work / "cache")
    return pictures, TaskWriter(tokenizer, PictureIndex(shots), image_tokens=image_tokens(recipe.encoder))


@torch.no_grad()
def read_pictures(judge: Any, pictures: Pictures) -> Tensor:
    """Patch features of all pictures and of their mirror images, bfloat16 [n, 2, patches, width], on the CPU."""
    judge.eval()
    device = torch.device(judge.device)
    found = []
    for start in range(0, len(pictures), _CHUNK):
        chunk = pictures[start : start + _CHUNK]
        views = (chunk, chunk[:, :, ::-1])
        both = [patch_features(judge, normalised(view, device)).bfloat16().cpu() for view in views]
        found.append(torch.stack(both, dim=1))
    return torch.cat(found)


@dataclass(frozen=True)
class Batch:
    """Examples side by side: ids int64 [n, length], padded on the right, and the numbers of their pictures in order.

    `notes` and `words` are int64 [n, length]: the token to be noted at, or predicted after, each place; -1 for none.
    """

    ids: Tensor
    notes: Tensor
    words: Tensor
    pictures: NDArray[np.int64]

    def to(self, device: torch.device) -> "Batch":
        """The same with its tensors on `device`."""
        return Batch(self.ids.to(device), self.notes.to(device), self.words.to(device), self.pictures)


def collate(examples: Sequence[Example], *, padding: int) -> Batch:
    """Examples as one batch."""
    length = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), length), padding)
    notes, words = torch.full_like(ids, -1), torch.full_like(ids, -1)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        words[row, example.answer - 1 : len(example.ids) - 1] = ids[row, example.answer : len(example.ids)]
        for place, held in example.notes.items():
            notes[row, place] = held
    return Batch(ids, notes, words, np.array([number for example in examples for number in example.pictures]))


def _start_projector(judge: Any, features: Tensor, directions: Tensor) -> None:
    """Let the projector begin as a reader of the encoder's own concepts instead of as noise.

    Its first outputs measure standardised patches along `directions` (float32 [concepts, width]), the rest along random
    ones; the tower's raw features differ in scale by orders of magnitude.
    """
    first, second = judge.model.multi_modal_projector.linear_1, judge.model.multi_modal_projector.linear_2
    directions = directions.to(first.weight.device)
    sample = features.float().flatten(0, 1).to(first.weight.device)
    with torch.no_grad():
        nn.init.normal_(first.weight)
        first.weight[: len(directions)] = directions[: first.out_features] * sample.std(dim=0)
        first.weight /= sample.std(dim=0) + 1e-3
        spread = (sample @ first.weight.T).std(dim=0)
        first.weight /= spread[:, None]
        first.bias.copy_(1.0 - first.weight @ sample.mean(dim=0))
        nn.init.normal_(second.weight, std=0.02)
        second.weight += 0.3 * torch.eye(second.out_features, device=second.weight.device)


def _train(training: _Training, phase: Phase, seed: int, checkpoint: Path) -> float:
    torch.manual_seed(seed)  # dropout and whatever is initialised anew
    network = training.network
    network.model.vision_tower.requires_grad_(requires_grad=phase.tower_rate > 0)
    learnt = nn.ModuleDict({"projector": network.model.multi_modal_projector, "words": network.model.language_model})
    learnt["head"] = network.lm_head
    if phase.tower_rate:
        learnt["tower"] = network.model.vision_tower
    optimizer = _optimizer(network, phase)
    state = Checkpoint(checkpoint, (phase, seed))
    step, seconds = state.load(learnt, optimizer)
    network.train()
    with TrainingProgress(phase.name, phase.steps, step) as progress:
        while step < phase.steps:
            started = time.monotonic()
            for group in optimizer.param_groups:
                group["lr"] = trapezoid(step, steps=phase.steps, warmup=phase.warmup) * group["peak"]
            task, loss = _step(training, phase, np.random.default_rng([seed, step]))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], 1.0)
            optimizer.step()
            step, seconds = step + 1, seconds + time.monotonic() - started
            progress.report(step, **{task.value: loss.item()})
            if step % phase.checkpoint_every == 0 or step == phase.steps:
                state.save(learnt, optimizer, step=step, seconds=seconds)
    network.eval()
    return seconds


def _optimizer(network: Any, phase: Phase) -> torch.optim.Optimizer:
    tower = [p for p in network.model.vision_tower.parameters() if p.requires_grad]
    known = {id(p) for p in tower}
    rest = [p for p in network.parameters() if p.requires_grad and id(p) not in known]
    rates = ((rest, phase.learning_rate), (tower, phase.learning_rate * phase.tower_rate))
    groups = [{"params": parameters, "lr": rate, "peak": rate} for parameters, rate in rates if parameters]
    return torch.optim.AdamW(groups, weight_decay=0.01, betas=(0.9, 0.98))


def _step(training: _Training, phase: Phase, rng: np.random.Generator) -> tuple[Task, Tensor]:
    task = phase.tasks[int(rng.integers(len(phase.tasks)))]
    examples = [training.writer.example(task, rng, _COMPARED) for _ in range(phase.batch)]
    batch = collate(examples, padding=training.padding).to(training.device)
    # Short sequences: plain attention is faster here than the backward pass of the flash kernels.
    with sdpa_kernel(SDPBackend.MATH), halved_where_fast(training.device):
        features = training.look(batch.pictures, rng, live=phase.tower_rate > 0)
        notes, words = _logits(training, batch, features)
    losses = [torch.zeros((), device=training.device)]
    if len(notes):
        losses.append(functional.cross_entropy(notes, batch.notes[batch.notes >= 0], training.weights))
    if len(words):
        losses.append(functional.cross_entropy(words, batch.words[batch.words >= 0]))
    return task, torch.stack(losses).sum()


def _logits(training: _Training, batch: Batch, features: Tensor) -> tuple[Tensor, Tensor]:
    """Logits float32 [places, vocabulary] of notes and of words.

    Notes are read before the last layer (deep supervision, arXiv 1409.5185), which leaves that one to combine them; and
    what is wanted and what is seen two layers earlier still than whether they agree, which follows from them (one layer
    is too little for that: it did not learn to compare ten colours).
    """
    network = training.network
    pictures = network.model.multi_modal_projector(features)
    embedded = network.get_input_embeddings()(batch.ids).to(pictures.dtype)
    embedded = embedded.masked_scatter((batch.ids == training.image)[..., None], pictures.flatten(0, 1))
    body = network.model.language_model
    output = body(inputs_embeds=embedded, use_cache=False, output_hidden_states=True)
    asked = batch.notes >= 0
    late = torch.isin(batch.ids[asked], training.agreeing)[:, None]
    inner = body.norm(torch.where(late, output.hidden_states[-2][asked], output.hidden_states[-4][asked]))
    return network.lm_head(inner).float(), network.lm_head(output.last_hidden_state[batch.words >= 0]).float()
