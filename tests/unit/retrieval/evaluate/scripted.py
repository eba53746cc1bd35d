"""An encoder, a composer and a judge that do as they are told, so that rankings can be computed by hand."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL.Image import Image as Picture

from core.errors import InvalidInputError
from core.models import EncoderIdentity, Explanation, Vector, Vectors
from core.ports import Composition, CompositionInput, JudgeIdentity, RelativeText
from retrieval.datasets.composed import CirDataset, CirQuery
from tests.unit.retrieval.evaluate.layouts import picture

DIM = 64


class ScriptedEncoder:
    """Each text is a direction of its own; pictures are what their middle looks like."""

    identity = EncoderIdentity("scripted", "none", "0" * 64, DIM, "none")
    max_text_tokens = 77
    image_size_px = 32

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.pictures = 0

    def fit(self, picture: Picture) -> Picture:
        return picture

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        self.pictures += len(pictures)
        rows = [np.asarray(each.resize((8, 8)).convert("L"), np.float32).ravel() for each in pictures]
        vectors: Vectors = np.stack(rows) / np.linalg.norm(rows, axis=1, keepdims=True)
        return vectors.astype(np.float32)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        self.texts += [text for text in texts if text not in self.texts]
        return np.eye(DIM, dtype=np.float32)[[self.texts.index(text) % DIM for text in texts]]

    def is_cut(self, text: str) -> bool:
        return text not in self.texts


@dataclass
class ScriptedComposer:
    """Scores a gallery, in order of ids, as written down for the query's text; keeps what it was given."""

    encoder: ScriptedEncoder
    scores: Mapping[str, Sequence[float]]
    explanation: Explanation = field(default_factory=Explanation)
    asked: list[tuple[str, CompositionInput]] = field(default_factory=list)

    def names(self) -> tuple[str, ...]:
        return ("image", "intersection", "caption")

    def read(self, text: str) -> RelativeText:
        del text
        return RelativeText()

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        if strategy not in self.names():
            raise InvalidInputError("no such strategy")
        self.asked.append((strategy, query))
        said = "" if query.text is None else self.encoder.texts[int(query.text.argmax())]

        def score(vectors: Vectors) -> Vector:
            assert len(vectors) == len(self.scores[said])
            return np.array(self.scores[said], np.float32)

        return Composition(probes=np.zeros((1, DIM), np.float32), score=score, explanation=self.explanation)

    def general_vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {"product": ("shirt", "mug"), "scene": ("snow", "beach")}


@dataclass
class ScriptedJudge:
    """P(Yes) by the bytes of the candidate's picture, 0 for all others; keeps the texts and numbers of its calls."""

    yes: Mapping[bytes, float]
    weight: float = 1.0
    asked: list[tuple[str, int]] = field(default_factory=list)
    identity = JudgeIdentity("scripted", "0" * 64, 1)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        assert reference.mode == "RGB"
        self.asked.append((text, len(candidates)))
        return [self.yes.get(candidate.tobytes(), 0.0) for candidate in candidates]


def gallery(folder: Path, names: Sequence[str]) -> dict[str, Path]:
    """Pictures of these names, all different."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / f"{name}.jpg").write_bytes(picture(number))
    return {name: folder / f"{name}.jpg" for name in names}


def dataset(name: str, images: Mapping[str, Path], *queries: CirQuery, part: str = "") -> CirDataset:
    return CirDataset(name=name, split="val", images=images, queries=queries, part=part)
