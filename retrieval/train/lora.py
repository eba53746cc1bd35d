"""A LoRA adapter in the making: on the language model's linear layers only, asked and answered as in serving."""

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from PIL.Image import Image as Picture
from torch import Tensor, nn
from torch.nn import functional

from core.errors import InvalidInputError, ItemError, ModelLoadError
from core.models import Vectors
from core.pictures import decode
from core.reranking import PICTURE_SIDE_PX
from core.settings import Settings
from retrieval.multimodal import MultimodalModel, load_multimodal
from retrieval.prefix import last_states, whole_inputs
from retrieval.prompt import judge_messages, within_ratio
from retrieval.rerank import answer_direction, check_template
from retrieval.specs import parse_judge_spec
from retrieval.train.judgments import Judgment

_PICTURES_KEPT = 128
"""Decoded pictures that wait for the next judgement, which often shows them too."""


@dataclass(frozen=True, slots=True)
class LoraShape:
    """Rank, scale (`alpha` / `rank`) and dropout of the adapter (Hu et al. 2021, arXiv 2106.09685)."""

    rank: int = 16
    alpha: int = 32
    dropout: float = 0.05


class Learner:
    """A frozen base model with an adapter that learns. The adapter starts as one that changes nothing.

    `batch` judgements take a forward pass. Pictures are decoded by `threads`.
    """

    def __init__(self, model: MultimodalModel, shape: LoraShape, *, batch: int, threads: int) -> None:
        check_template(model, "The base model")
        self._direction = answer_direction(model, "the base model")
        self._model = model
        if model.placement.dtype is torch.float16:  # gradients underflow in it
            model.network.float()
        self._halved = model.placement.dtype is torch.bfloat16
        self._adapted = _attach(model.network, shape)
        self._batch = batch
        self._pool = ThreadPoolExecutor(threads)
        self._picture = lru_cache(maxsize=_PICTURES_KEPT)(read_picture)
        self.weights = nn.ParameterList(weight for weight in self._adapted.parameters() if weight.requires_grad)

    @property
    def base_sha256(self) -> str:
        """Digest of the base model's weights alone."""
        return self._model.weights_sha256

    @property
    def compute(self) -> str:
        """Where and in which type it computes."""
        dtype = "bfloat16" if self._halved else "float32"
        return f"{self._model.placement.device.type}, {dtype}"

    def checkpoint_gradients(self) -> None:
        """Compute activations twice instead of keeping them: about a third slower, in a fraction of the memory.

        ModelLoadError when the model cannot.
        """
        try:
            self._model.network.activation_checkpointing_enable()
        except ValueError as error:  # transformers' way to say so
            raise ModelLoadError(f"A {self._model.family} cannot do it: leave --gradient-checkpointing out.") from error

    def learn(self, judgments: Sequence[Judgment]) -> float:
        """Add the gradients of the mean loss, batch by batch; returns the loss.

        Binary cross-entropy of z_yes - z_no: the cross-entropy of the answer among the two tokens. InvalidInputError
        when training has diverged.
        """
        self._model.network.train()
        total = 0.0
        for start in range(0, len(judgments), self._batch):
            part = judgments[start : start + self._batch]
            right = torch.tensor([float(each.right) for each in part], device=self._direction.device)
            margins = self._margins(part)
            loss = functional.binary_cross_entropy_with_logits(margins, right, reduction="sum") / len(judgments)
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        _check_finite(total)
        return total

    def judge(self, judgments: Sequence[Judgment]) -> Vectors:
        """z_yes - z_no of each, float32 [n]. InvalidInputError when training has diverged."""
        self._model.network.eval()
        margins = np.empty(len(judgments), np.float32)
        for start in range(0, len(judgments), self._batch):
            part = judgments[start : start + self._batch]
            with torch.inference_mode():
                margins[start : start + len(part)] = self._margins(part).cpu().numpy()
        _check_finite(float(margins.sum()))
        return margins

    def save(self, folder: Path) -> None:
        """Configuration and weights of the adapter as PEFT stores them."""
        self._adapted.save_pretrained(str(folder), save_embedding_layers=False)

    def _margins(self, judgments: Sequence[Judgment]) -> Tensor:
        model = self._model
        prompts = [model.prompt(judge_messages(model.without_control_tokens(each.text))) for each in judgments]
        paths = list(dict.fromkeys(path for each in judgments for path in (each.reference, each.candidate)))
        pictures = dict(zip(paths, self._pool.map(self._picture, paths), strict=True))
        pairs = [(pictures[each.reference], pictures[each.candidate]) for each in judgments]
        inputs = whole_inputs(model, prompts, pairs)
        with self._autocast():
            states = model.network.base_model(**inputs, use_cache=False).last_hidden_state
        return last_states(states, inputs["attention_mask"]).float() @ self._direction

    def _autocast(self) -> AbstractContextManager[Any]:
        """The adapter's weights are float32 beside a bfloat16 base, so that small steps are not rounded away."""
        return torch.autocast(self._model.placement.device.type, torch.bfloat16, enabled=self._halved)


def build_learner(spec: str, settings: Settings, shape: LoraShape, *, batch: int, seed: int) -> Learner:
    """The base model of a judge's spec with a fresh adapter.

    ModelLoadError as in `build_judge`, and when the spec has an adapter of its own.
    """
    source = parse_judge_spec(spec, models_dir=settings.models_dir)
    if source.lora is not None and spec != "demo":
        raise ModelLoadError(f"{spec} has an adapter already: name its base alone, an adapter starts from nothing.")
    model = load_multimodal(replace(source, lora=None), settings, role="base model")
    torch.manual_seed(seed)
    return Learner(model, shape, batch=batch, threads=settings.ingest_threads)


def read_picture(path: Path) -> Picture:
    """A picture as serving prepares it. InvalidInputError when it cannot be read."""
    try:
        return within_ratio(decode(path.read_bytes(), max_side_px=PICTURE_SIDE_PX))
    except ItemError as error:
        raise InvalidInputError(
            f"{path} cannot be read ({error.detail}): replace it, and run the same command again to go on."
        ) from error


def language_linears(network: Any) -> str:
    """Pattern for the names of the language model's linear layers: not the vision tower's, projector's, or head's.

    Serving engines apply adapters to the language model alone, and heads are often tied to the word table.
    ModelLoadError when the model does not keep its language model apart.
    """
    decoder = network.get_decoder()
    if decoder is network or decoder is network.base_model:
        raise ModelLoadError(
            f"A {network.config.model_type} does not keep its language model apart from its eyes: use another base."
        )
    where = next(name for name, module in network.named_modules() if module is decoder)
    head = network.get_output_embeddings()
    linears = {
        name.rpartition(".")[2]
        for name, module in decoder.named_modules()
        if type(module) is nn.Linear and module is not head
    }
    return rf"{re.escape(where)}\..*\.({'|'.join(sorted(linears))})"


def _check_finite(number: float) -> None:
    if not math.isfinite(number):
        raise InvalidInputError("Training has diverged: start over with a lower learning rate.")


def _attach(network: Any, shape: LoraShape) -> PeftModel:
    config = LoraConfig(
        r=shape.rank,
        lora_alpha=shape.alpha,
        lora_dropout=shape.dropout,
        target_modules=language_linears(network),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(network, config)  # freezes everything else
