"""Trains the demo judge: a tiny LLaVA that learns to describe and compare, then a LoRA adapter that says Yes or No.

The base model never sees a Yes/No judgement of a composed request. It is frozen for the second step, in which the
adapter (language-model linears only, r = 16, alpha = 32) learns exactly that.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn
from torch.nn import functional

from retrieval.datasets.products import Split
from retrieval.prompt import ANSWERS, PROMPT_VERSION
from retrieval.train.checkpoints import TrainingProgress, load_checkpoint, save_checkpoint, trapezoid
from retrieval.train.encoder_demo import EncoderShape
from retrieval.train.encoder_metrics import concept_directions
from retrieval.train.judge_metrics import calibrate
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
from retrieval.train.judge_tasks import Candidate, Example, PictureIndex, Task, TaskWriter
from retrieval.train.pictures import Pictures, render, training_shots
from retrieval.train.tower import normalised

_CHUNK = 256
_EASY = (Candidate.TARGET, Candidate.TARGET, Candidate.OTHER, Candidate.TWO_OFF, Candidate.REFERENCE)
_HARD = (
    Candidate.TARGET,
    Candidate.TARGET,
    Candidate.TARGET,
    Candidate.REFERENCE,
    Candidate.ONE_OFF,
    Candidate.ONE_OFF,
)


@dataclass(frozen=True)
class Phase:
    """One stretch of training; the tasks are drawn evenly (name one twice for more of it)."""

    name: str
    tasks: tuple[Task, ...]
    steps: int
    batch: int = 48
    learning_rate: float = 1e-3
    warmup: int = 40
    checkpoint_every: int = 50


_CURRICULUM = (
    Phase("reading", (Task.DESCRIBE, Task.DESCRIBE, Task.DESCRIBE, Task.ASK), steps=200, batch=64),
    Phase("comparing", (Task.DESCRIBE, Task.COMPARE, Task.COMPARE, Task.IMAGINE, Task.CHECK, Task.CHECK), steps=1500),
)


@dataclass(frozen=True)
class JudgeRecipe:
    """Everything that decides the weights of base and adapter, besides the encoder that lends its eyes."""

    encoder: EncoderShape = field(default_factory=EncoderShape)
    shape: JudgeShape = field(default_factory=JudgeShape)
    pictures: int = 8_000
    base: tuple[Phase, ...] = _CURRICULUM
    adapter: Phase = field(default_factory=lambda: Phase("judging", (Task.JUDGE,), steps=400, learning_rate=2e-3))
    seed: int = 1


@dataclass(frozen=True)
class _Training:
    """What a step needs: the network (with or without adapter), picture features and a writer of examples."""

    network: Any
    features: Tensor
    writer: TaskWriter
    padding: int
    image: int
    answers: tuple[int, int]


def train_reranker(recipe: JudgeRecipe, *, encoder: Path, out: Path, work: Path) -> dict[str, Any]:
    """Train (or go on from the checkpoints in `work`), calibrate, write `out/base` and `out/lora`; returns metrics."""
    seconds = train_base_and_adapter(recipe, encoder=encoder, out=out, work=work)
    metrics = {"recipe": asdict(recipe), "training_seconds": round(seconds), "prompt_version": PROMPT_VERSION}
    metrics |= calibrate(out, encoder=encoder, cache=work / "cache")
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    return metrics


def train_base_and_adapter(recipe: JudgeRecipe, *, encoder: Path, out: Path, work: Path) -> float:
    """Both steps of the training, up to the weights on disk; returns the seconds they took."""
    torch.manual_seed(recipe.seed)
    tokenizer = build_tokenizer()
    processor = build_processor(tokenizer, recipe.encoder)
    judge = build_judge(tokenizer, recipe.encoder, recipe.shape)
    adopt_tower(judge, encoder)
    shots = training_shots(Split.TRAIN, count=recipe.pictures, seed=recipe.seed)
    features = read_pictures(judge, render(shots, size_px=recipe.encoder.image_px, cache=work / "cache"))
    _start_projector(judge, features, concept_directions(encoder))
    writer = TaskWriter(tokenizer, PictureIndex(shots), image_tokens=image_tokens(recipe.encoder))
    yes, no = token_ids(tokenizer, *ANSWERS)
    training = _Training(judge, features, writer, tokenizer.pad_token_id, judge.config.image_token_id, (yes, no))
    seconds = sum(_train(training, phase, recipe.seed, work / f"judge-{phase.name}.pt") for phase in recipe.base)
    judge.to(torch.bfloat16).save_pretrained(out / "base")
    processor.save_pretrained(out / "base")
    judge.float()
    adapted = get_peft_model(judge, _lora())
    seconds += _train(training, recipe.adapter, recipe.seed + 1, work / f"judge-{recipe.adapter.name}.pt")
    adapted.save_pretrained(str(out / "lora"))
    (out / "lora" / "README.md").unlink(missing_ok=True)  # PEFT's empty template; the folder above has the card
    return seconds


def read_pictures(judge: Any, pictures: Pictures) -> Tensor:
    """Patch features of all pictures, bfloat16 [n, patches, width]: the frozen tower runs once, not at every step."""
    judge.eval()
    chunks = [pictures[start : start + _CHUNK] for start in range(0, len(pictures), _CHUNK)]
    return torch.cat([patch_features(judge, normalised(chunk)).bfloat16() for chunk in chunks])


def collate(examples: Sequence[Example], *, padding: int) -> tuple[Tensor, Tensor, Tensor]:
    """Examples as one batch: (ids, predicts, picture numbers).

    ids int64 [n, length], padded on the right; predicts bool of the same shape, true where the *next* token is to be
    predicted; the numbers of all pictures in the order of their placeholders.
    """
    length = max(len(example.ids) for example in examples)
    ids = torch.full((len(examples), length), padding)
    predicts = torch.zeros((len(examples), length), dtype=torch.bool)
    for row, example in enumerate(examples):
        ids[row, : len(example.ids)] = torch.tensor(example.ids)
        predicts[row, example.answer - 1 : len(example.ids) - 1] = True
    return ids, predicts, torch.tensor([number for example in examples for number in example.pictures])


def _lora() -> LoraConfig:
    linears = r".*language_model\.layers\.\d+\..*(q_proj|k_proj|v_proj|o_proj|gate_proj|up_proj|down_proj)"
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.05, target_modules=linears, task_type="CAUSAL_LM")


def _start_projector(judge: Any, features: Tensor, directions: Tensor) -> None:
    """Let the projector begin as a reader of the encoder's own concepts instead of as noise.

    Its first outputs measure standardised patches along `directions` (float32 [concepts, width]), the rest along random
    ones; the tower's raw features differ in scale by orders of magnitude.
    """
    first, second = judge.model.multi_modal_projector.linear_1, judge.model.multi_modal_projector.linear_2
    sample = features[:1000].float().flatten(0, 1)
    with torch.no_grad():
        nn.init.normal_(first.weight)
        first.weight[: len(directions)] = directions[: first.out_features] * sample.std(dim=0)
        first.weight /= sample.std(dim=0) + 1e-3
        spread = (sample @ first.weight.T).std(dim=0)
        first.weight /= spread[:, None]
        first.bias.copy_(1.0 - first.weight @ sample.mean(dim=0))
        nn.init.normal_(second.weight, std=0.02)
        second.weight += 0.3 * torch.eye(second.out_features)


def _train(training: _Training, phase: Phase, seed: int, checkpoint: Path) -> float:
    torch.manual_seed(seed)  # dropout and whatever is initialised anew
    network = training.network
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, weight_decay=0.01, betas=(0.9, 0.98))
    learnt = nn.ModuleDict({"projector": network.model.multi_modal_projector, "words": network.model.language_model})
    learnt["head"] = network.lm_head
    step, seconds = load_checkpoint(checkpoint, learnt, optimizer)
    network.train()
    with TrainingProgress(phase.name, phase.steps, step) as progress:
        while step < phase.steps:
            started = time.monotonic()
            rng = np.random.default_rng([seed, step])
            for group in optimizer.param_groups:
                group["lr"] = trapezoid(step, steps=phase.steps, warmup=phase.warmup) * phase.learning_rate
            task = phase.tasks[int(rng.integers(len(phase.tasks)))]
            kinds = _EASY if step < phase.steps // 2 else _HARD
            examples = [training.writer.example(task, rng, kinds) for _ in range(phase.batch)]
            loss = _loss(training, examples, yes_or_no=task is Task.JUDGE)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            step, seconds = step + 1, seconds + time.monotonic() - started
            progress.report(step, **{task.value: loss.item()})
            if step % phase.checkpoint_every == 0 or step == phase.steps:
                save_checkpoint(checkpoint, learnt, optimizer, step=step, seconds=seconds)
    network.eval()
    return seconds


def _loss(training: _Training, examples: Sequence[Example], *, yes_or_no: bool) -> Tensor:
    """Cross-entropy of the answers; for judgements of the two answers alone, at the first token."""
    ids, predicts, numbers = collate(examples, padding=training.padding)
    network = training.network
    with torch.autocast("cpu", torch.bfloat16):
        pictures = network.model.multi_modal_projector(training.features[numbers])
        embedded = network.get_input_embeddings()(ids).to(pictures.dtype)
        places = (ids == training.image)[..., None]
        embedded = embedded.masked_scatter(places, pictures.flatten(0, 1))
        states = network.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state
        logits = network.lm_head(states[predicts]).float()
    targets = ids[:, 1:][predicts[:, :-1]]
    if not yes_or_no:
        return functional.cross_entropy(logits, targets)
    judged = torch.isin(targets, torch.tensor(training.answers))
    margin = logits[judged, training.answers[0]] - logits[judged, training.answers[1]]
    return functional.binary_cross_entropy_with_logits(margin, (targets[judged] == training.answers[0]).float())


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--encoder", type=Path, required=True, help="folder of the demo encoder")
    parser.add_argument("--out", type=Path, required=True, help="folder that gets base/ and lora/")
    parser.add_argument("--work", type=Path, required=True, help="folder of checkpoints and drawn pictures")
    parser.add_argument("--threads", type=int, default=None, help="torch threads")
    options = parser.parse_args(arguments)
    if options.threads is not None:
        torch.set_num_threads(options.threads)
    train_reranker(JudgeRecipe(), encoder=options.encoder, out=options.out, work=options.work)


if __name__ == "__main__":
    main()
