"""How well a demo encoder reads pictures, measured on what training never saw."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
from numpy.typing import NDArray
from open_clip.model import CLIP
from PIL import Image
from torch import Tensor

from retrieval.datasets.catalog import CatalogItem, ComposedQuery, build_gallery, demo_queries
from retrieval.datasets.products import Split
from retrieval.datasets.wording import NOUNS, SCENE_WORDS, WORDINGS
from retrieval.train.batches import VOCABULARY, codes_of
from retrieval.train.pictures import Pictures, render, training_shots

Vectors = NDArray[np.float32]
Places = NDArray[np.int64]

_BATCH = 250
_GALLERY = 600


class LoadedEncoder:
    """A model folder opened as the service opens it, for measuring."""

    def __init__(self, folder: Path) -> None:
        spec = f"local-dir:{folder.resolve()}"
        model, preprocess = open_clip.create_model_from_pretrained(spec)
        self._model: CLIP = model.eval()
        self._preprocess = preprocess
        self._tokenizer = open_clip.get_tokenizer(spec)

    @torch.inference_mode()
    def images(self, pictures: Pictures) -> Vectors:
        """uint8 [n, h, w, 3] -> unit vectors float32 [n, dim]."""
        tensors = [self._preprocess(Image.fromarray(picture)) for picture in pictures]
        chunks = [self._model.encode_image(torch.stack(chunk), normalize=True) for chunk in _chunks(tensors)]
        return np.asarray(torch.cat(chunks).float())

    @torch.inference_mode()
    def texts(self, texts: list[str]) -> Vectors:
        """Texts -> unit vectors float32 [n, dim]."""
        return np.asarray(self._model.encode_text(self._tokenizer(texts), normalize=True).float())


def evaluate(folder: Path, *, pictures: int, seed: int, cache: Path) -> dict[str, Any]:
    """Zero-shot accuracy by attribute on dev pictures, and composed retrieval on the demo gallery's own queries."""
    encoder = LoadedEncoder(folder)
    shots = training_shots(Split.DEV, count=pictures, seed=seed)
    size = encoder_image_px(encoder)
    vectors = encoder.images(render(shots, size_px=size, cache=cache))
    gallery = build_gallery(count=_GALLERY, seed=7)
    gallery_vectors = encoder.images(render([item.shot for item in gallery], size_px=size, cache=cache))
    return {
        "zero_shot_accuracy": zero_shot(encoder, vectors, codes_of(shots)),
        "composed": composed(encoder, gallery, gallery_vectors),
    }


def concept_directions(folder: Path) -> Tensor:
    """For each value of each attribute, the direction in the tower's patch space that its words point to.

    float32 [values, width]: the words' mean text vector, taken back through the projection and the last norm's gain.
    """
    encoder = LoadedEncoder(folder)
    prompts = [
        encoder.texts(_words(name, value)).mean(axis=0) for name, values in VOCABULARY.items() for value in values
    ]
    texts = torch.from_numpy(np.stack(prompts))
    visual = encoder._model.visual  # noqa: SLF001 - as below
    with torch.no_grad():
        directions: Tensor = (texts - texts.mean(dim=0)) @ visual.proj.float().T * visual.ln_post.weight.float()
    return directions


def encoder_image_px(encoder: LoadedEncoder) -> int:
    """Side of the encoder's input in pixels."""
    size: int | tuple[int, int] = encoder._model.visual.image_size  # noqa: SLF001 - open_clip's own attribute
    return size if isinstance(size, int) else size[0]


def zero_shot(encoder: LoadedEncoder, vectors: Vectors, codes: NDArray[np.int64]) -> dict[str, float]:
    """Share of pictures whose nearest value is the right one, by attribute; a value is the mean of its words."""
    accuracy = {}
    for column, (name, values) in enumerate(VOCABULARY.items()):
        has = codes[:, column] >= 0
        prompts = np.stack([encoder.texts(_words(name, value)).mean(axis=0) for value in values])
        guesses = (vectors[has] @ prompts.T).argmax(axis=1)
        accuracy[name] = round(float((guesses == codes[has, column]).mean()), 4)
    return accuracy


def composed(encoder: LoadedEncoder, gallery: list[CatalogItem], vectors: Vectors) -> dict[str, dict[str, float]]:
    """R@1, R@5 and R@10 of simple compositions on 250 queries over the gallery, each at its best text weight.

    The reference is left out of the ranking. `concepts` is `coarse_scores`.
    """
    queries = demo_queries(count=250, seed=11)
    references, targets = places(gallery, queries)
    texts = encoder.texts([query.text for query in queries])
    table = {}
    for name in ("sum", "concepts"):
        best = np.full(len(queries), len(gallery), np.float32)
        for weight in np.arange(0.1, 0.9, 0.05):
            if name == "sum":
                scores = _unit(vectors[references] * (1 - weight) + texts * weight) @ vectors.T
            else:
                scores = coarse_scores(encoder, vectors, vectors[references], texts, weight=float(weight))
            ranks = ranks_of(scores, references, targets)
            best = min(best, ranks, key=lambda found: -float((found < 1).mean()))
        table[name] = {f"r@{k}": round(float((best < k).mean()), 4) for k in (1, 5, 10)}
    return table


def coarse_scores(
    encoder: LoadedEncoder, pool: Vectors, references: Vectors, texts: Vectors, *, weight: float
) -> Vectors:
    """Cosine of a pool with composed queries, float32 [queries, pool].

    A query is the centred reference, projected on the span of the catalog's attribute values, plus the text.
    """
    terms = encoder.texts([value for name, values in VOCABULARY.items() if name != "scene" for value in values])
    basis = np.linalg.svd(terms - terms.mean(axis=0), full_matrices=False)[2]
    mean = pool.mean(axis=0)
    kept = ((references - mean) @ basis.T) @ basis
    query = _unit(kept) * (1 - weight) + _unit(texts - terms.mean(axis=0)) * weight
    return np.asarray(_unit(query) @ _unit(pool - mean).T, dtype=np.float32)


def places(gallery: Sequence[CatalogItem], queries: Sequence[ComposedQuery]) -> tuple[Places, Places]:
    """Positions in the gallery of the queries' references and targets, int64 [queries] each."""
    place = {item.external_id: index for index, item in enumerate(gallery)}
    pairs = np.array([(place[query.reference], place[query.target]) for query in queries])
    return pairs[:, 0], pairs[:, 1]


def ranks_of(scores: Vectors, references: Places, targets: Places) -> Vectors:
    """Rank of each target from 0, the reference left out: float32 [queries]."""
    rows = np.arange(len(scores))
    free = scores.copy()
    free[rows, references] = -np.inf
    return np.asarray((free > free[rows, targets][:, None]).sum(axis=1), dtype=np.float32)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)


def _words(name: str, value: str) -> list[str]:
    if name == "scene":
        return list(SCENE_WORDS[value])
    if name == "category":
        return list(NOUNS[value])
    return [value, *WORDINGS[value].before, *WORDINGS[value].after]


def _chunks(tensors: list[Tensor]) -> list[list[Tensor]]:
    return [tensors[start : start + _BATCH] for start in range(0, len(tensors), _BATCH)]
