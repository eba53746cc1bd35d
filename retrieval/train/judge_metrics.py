"""Calibration of the demo judge on dev, and what it is worth on test."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from peft import PeftModel
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForImageTextToText, AutoProcessor

from retrieval.datasets.catalog import CatalogItem, ComposedQuery, build_gallery, queries_over
from retrieval.datasets.products import Split
from retrieval.prompt import ANSWERS
from retrieval.train.encoder_metrics import LoadedEncoder, Places, Vectors, coarse_scores, encoder_image_px, places
from retrieval.train.judge_model import patch_features, token_ids
from retrieval.train.judge_tasks import PictureIndex, TaskWriter
from retrieval.train.pictures import Pictures, render
from retrieval.train.tower import normalised

_SHORTLIST = 50
_QUERIES = 60
_TEXT_WEIGHT = 0.5
_GRID = np.round(np.arange(0.0, 1.0001, 0.05), 2)


@dataclass(frozen=True)
class Shortlists:
    """Stage 1 over a split's gallery; `candidates` (their places), `coarse` and `right` are [queries, shortlist]."""

    gallery: Sequence[CatalogItem]
    queries: Sequence[ComposedQuery]
    pictures: Pictures
    candidates: Places
    coarse: Vectors
    right: NDArray[np.bool_]


@dataclass(frozen=True)
class Judged:
    """Shortlists with the judge's margins z_yes - z_no; all [queries, shortlist]."""

    coarse: Vectors
    margins: Vectors
    right: NDArray[np.bool_]


def calibrate(folder: Path, *, encoder: Path, cache: Path) -> dict[str, Any]:
    """Fit temperature, bias and weight on the dev split, write them beside the adapter, return what test shows."""
    reader = LoadedEncoder(encoder)
    dev, test = (shortlists(reader, split, cache=cache) for split in (Split.DEV, Split.TEST))
    alone = judge_shortlists(*load_judge(folder, adapter=False), test)
    judge = load_judge(folder)
    tuned, judged = judge_shortlists(*judge, dev), judge_shortlists(*judge, test)
    temperature, bias = fit_sigmoid(tuned.margins, tuned.right)
    weight = fit_weight(tuned, temperature, bias)
    calibration = {"temperature": temperature, "bias": bias, "weight": weight}
    (folder / "lora" / "calibration.json").write_text(json.dumps(calibration, indent=2) + "\n")
    return {
        "calibration": calibration,
        "test": {
            "auc": _auc(judged),
            "auc_of_the_base_alone": _auc(alone),
            "stage_1": _recalls(judged, temperature, bias, 0.0),
            "stage_2": _recalls(judged, temperature, bias, weight),
            "judge_alone": _recalls(judged, temperature, bias, 1.0),
        },
    }


def fit_sigmoid(margins: Vectors, right: NDArray[np.bool_]) -> tuple[float, float]:
    """Temperature and bias for which sigma(margin / temperature + bias) is likeliest to be right (Platt scaling)."""
    x = torch.from_numpy(margins.ravel().astype(np.float64))
    y = torch.from_numpy(right.ravel().astype(np.float64))
    logs = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS([logs], max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = functional.binary_cross_entropy_with_logits(x * logs[0].exp() + logs[1], y)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimizer.step(closure)  # type: ignore[no-untyped-call]
    scale, bias = logs.detach().tolist()
    return round(float(np.exp(-scale)), 4), round(bias, 4)


def shortlists(reader: LoadedEncoder, split: Split, *, cache: Path) -> Shortlists:
    """The best `_SHORTLIST` of stage 1 for queries over a gallery of the split, the reference left out."""
    gallery = build_gallery(count=600 if split is Split.TEST else 400, seed=7, split=split)
    queries = queries_over(gallery, count=_QUERIES, seed=23, split=split)
    pictures = render([item.shot for item in gallery], size_px=encoder_image_px(reader), cache=cache)
    vectors = reader.images(pictures)
    references, targets = places(gallery, queries)
    texts = reader.texts([query.text for query in queries])
    scores = coarse_scores(reader, vectors, vectors[references], texts, weight=_TEXT_WEIGHT)
    scores[np.arange(len(queries)), references] = -np.inf
    best = np.argsort(-scores, axis=1, kind="stable")[:, :_SHORTLIST]
    coarse = np.take_along_axis(scores, best, axis=1)
    return Shortlists(gallery, queries, pictures, best, coarse, best == targets[:, None])


def judge_shortlists(judge: Any, tokenizer: Any, lists: Shortlists) -> Judged:
    """The judge's margin for every shortlisted candidate."""
    index = PictureIndex([item.shot for item in lists.gallery])
    references, _ = places(lists.gallery, lists.queries)
    pairs = [
        (query.text, int(reference), int(candidate))
        for query, reference, candidates in zip(lists.queries, references, lists.candidates, strict=True)
        for candidate in candidates
    ]
    found = margins(judge, tokenizer, index, lists.pictures, pairs)
    return Judged(lists.coarse, found.reshape(lists.candidates.shape), lists.right)


def load_judge(folder: Path, *, adapter: bool = True) -> tuple[Any, Any]:
    """Judge (float32, the adapter merged in, or the base alone) and tokenizer of a `demo-reranker` folder."""
    base: Any = AutoModelForImageTextToText.from_pretrained(folder / "base", dtype=torch.float32)
    tokenizer = AutoProcessor.from_pretrained(folder / "base").tokenizer  # type: ignore[no-untyped-call]
    if adapter:
        base = PeftModel.from_pretrained(base, str(folder / "lora")).merge_and_unload()
    return base.eval(), tokenizer


@torch.no_grad()
def margins(
    judge: Any, tokenizer: Any, index: PictureIndex, pictures: Pictures, pairs: Sequence[tuple[str, int, int]]
) -> Vectors:
    """z_yes - z_no for (text, reference, candidate) triples of pictures of the index: float32 [triples]."""
    features = patch_features(judge, normalised(pictures))
    writer = TaskWriter(tokenizer, index, image_tokens=features.shape[1])
    yes, no = token_ids(tokenizer, *ANSWERS)
    found = []
    # Neighbours share their text, hence their length: no padding as long as a batch is one query's.
    for start in range(0, len(pairs), _SHORTLIST):
        examples = [writer.judgement(*pair) for pair in pairs[start : start + _SHORTLIST]]
        ids = torch.tensor([example.ids[: example.answer] for example in examples])
        numbers = torch.tensor([number for example in examples for number in example.pictures])
        shown = judge.model.multi_modal_projector(features[numbers]).flatten(0, 1)
        embedded = judge.get_input_embeddings()(ids)
        embedded = embedded.masked_scatter((ids == judge.config.image_token_id)[..., None], shown)
        last = judge.model.language_model(inputs_embeds=embedded, use_cache=False).last_hidden_state[:, -1]
        logits = judge.lm_head(last)
        found.append((logits[:, yes] - logits[:, no]).numpy())
    return np.concatenate(found).astype(np.float32)


def fit_weight(judged: Judged, temperature: float, bias: float) -> float:
    """The judge's share of the final order: the smallest whose gain is real.

    The mean reciprocal rank may be at most one standard error below that of the best share (the one-standard-error
    rule), so a judge that helps by chance alone gets no say.
    """
    gains = [1.0 / (1.0 + _ranks(judged, temperature, bias, float(share))) for share in _GRID]
    best = max(gains, key=lambda gain: float(gain.mean()))
    for share, gain in zip(_GRID, gains, strict=True):
        lost = best - gain
        if float(lost.mean()) <= float(lost.std()) / len(lost) ** 0.5:
            return float(share)
    return float(_GRID[-1])


def _fused(judged: Judged, temperature: float, bias: float, weight: float) -> Vectors:
    low, high = judged.coarse.min(axis=1, keepdims=True), judged.coarse.max(axis=1, keepdims=True)
    coarse = (judged.coarse - low) / np.maximum(high - low, 1e-9)
    p_yes = 1.0 / (1.0 + np.exp(-(judged.margins / temperature + bias)))
    return np.asarray(weight * p_yes + (1 - weight) * coarse, dtype=np.float32)


def _ranks(judged: Judged, temperature: float, bias: float, weight: float) -> Vectors:
    """Rank of the target in the fused shortlist from 0; infinite where stage 1 did not find it."""
    scores = _fused(judged, temperature, bias, weight)
    order = np.argsort(-scores, axis=1, kind="stable")
    sorted_right = np.take_along_axis(judged.right, order, axis=1)
    return np.where(sorted_right.any(axis=1), sorted_right.argmax(axis=1), np.inf).astype(np.float32)


def _recalls(judged: Judged, temperature: float, bias: float, weight: float) -> dict[str, float]:
    ranks = _ranks(judged, temperature, bias, weight)
    return {f"r@{k}": round(float((ranks < k).mean()), 4) for k in (1, 5, 10)}


def _auc(judged: Judged) -> float:
    """Probability that a query's target has a larger margin than another candidate of its shortlist."""
    wins = []
    for margins, right in zip(judged.margins, judged.right, strict=True):
        if right.any():
            others = margins[~right]
            wins.append(float((margins[right] > others).mean() + 0.5 * (margins[right] == others).mean()))
    return round(float(np.mean(wins)), 4)
