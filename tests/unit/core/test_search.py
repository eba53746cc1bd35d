"""Stage 1 on scripted models and a gallery in memory: what the strategy `caption` adds."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID

import numpy as np
import pytest
from PIL import Image as Pillow
from PIL.Image import Image as Picture

from core.answering import Method
from core.errors import ModelLoadError
from core.models import (
    Blob,
    Counters,
    Device,
    EncoderIdentity,
    Gallery,
    Image,
    ImageState,
    Index,
    IndexState,
    Job,
    JobKind,
    JobStage,
    JobState,
    Vectors,
)
from core.ports import Composition, CompositionInput, RelativeText
from core.search import SearchHandler
from core.settings import Settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TENANT, GALLERY, INDEX, IMAGE, JOB = (UUID(int=n) for n in range(1, 6))
IDENTITY = EncoderIdentity("demo", "tiny", "0" * 64, 2, "none")
VOCABULARY = {"in blue": [1, 0], "a blue dress": [0, 1]}


def jpeg(width: int, height: int) -> bytes:
    out = BytesIO()
    Pillow.new("RGB", (width, height), "red").save(out, "JPEG")
    return out.getvalue()


class Encoder:
    identity = IDENTITY
    max_text_tokens = 8
    image_size_px = 16

    def encode_texts(self, texts: list[str]) -> Vectors:
        return np.array([VOCABULARY[text] for text in texts], np.float32).reshape(-1, 2)

    def fit(self, picture: Picture) -> Picture:
        return picture

    def encode_images(self, pictures: list[Picture]) -> Vectors:
        return np.array([[0.6, 0.8]] * len(pictures), np.float32)

    def is_cut(self, text: str) -> bool:
        return len(text) > 100


@dataclass
class Captioner:
    answer: str
    asked: list[tuple[tuple[int, int], str]] = field(default_factory=list)

    def caption(self, reference: Picture, text: str) -> str:
        self.asked.append((reference.size, text))
        return self.answer


@dataclass
class Composer:
    """Keeps what it is given."""

    given: list[CompositionInput] = field(default_factory=list)

    def read(self, text: str) -> RelativeText:
        del text
        return RelativeText()

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        assert strategy in {"caption", "sum"}
        self.given.append(query)
        nothing = SimpleNamespace(kept=(), dropped=())
        return Composition(np.zeros((0, 2), np.float32), lambda vectors: vectors[:, 0], nothing)  # type: ignore[arg-type]


class World:
    """The ports that a search reads; no picture is found, for what is asked matters here."""

    def __init__(self) -> None:
        blob = Blob("f" * 64, 1, 40, 80, "image/jpeg")
        self.image = Image(IMAGE, TENANT, GALLERY, "sku", blob, {}, ImageState.READY, JOB, 1, NOW, NOW)
        self.images = SimpleNamespace(many=lambda *_: {IMAGE: self.image})
        gallery = Gallery(GALLERY, TENANT, "shop", "demo", Device.AUTO, {}, INDEX, 1, 1, NOW, NOW)
        self.galleries = SimpleNamespace(by_id=lambda *_: gallery)
        index = Index(INDEX, TENANT, GALLERY, "demo", IndexState.ACTIVE, IDENTITY)
        self.indexes = SimpleNamespace(get=lambda *_: index)
        self.vectors = SimpleNamespace(fetch=lambda *_: {IMAGE: np.array([0.6, 0.8], np.float32)})
        self.composer = Composer()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def compute(self, captioner: Captioner | None, **params: Any) -> Any:
        objects = SimpleNamespace(get=lambda key: jpeg(20, 30) if key == "upload" else jpeg(40, 80))
        ctx: Any = SimpleNamespace(uow=lambda: self, settings=Settings(), objects=objects)
        encoders: Any = SimpleNamespace(get=lambda _: Encoder())
        spaces: Any = SimpleNamespace(get=lambda *_: SimpleNamespace(mean=None, concepts=None, attributes={}))
        composer: Any = self.composer
        handler = SearchHandler(Method(ctx, encoders, composer, spaces, captioner))
        unit: Any = None
        return handler.open(unit, job(**params)).compute(0, 1)


def job(**params: Any) -> Job:
    query = {"strategy": "caption", "rerank": None, "reference_region": None, "explain": True, **params}
    states = (JobKind.QUERY, JobState.RUNNING, JobStage.SEARCHING)
    counters = Counters(total=1)
    return Job(
        JOB, TENANT, *states, GALLERY, "shop", query, counters, None, None, (), 1, NOW, NOW, None, NOW + timedelta(1)
    )


@pytest.mark.parametrize(
    ("reference", "size"),
    [
        ({"reference_image_id": str(IMAGE)}, (40, 80)),
        ({"reference_object_key": "upload"}, (20, 30)),
        ({"reference_image_id": str(IMAGE), "reference_region": [0, 0, 0.5, 0.5]}, (20, 40)),
    ],
)
def test_the_captioner_sees_the_reference_and_its_words_are_searched_for(
    reference: dict[str, Any], size: tuple[int, int]
) -> None:
    world, captioner = World(), Captioner(" a blue dress ")
    found = world.compute(captioner, text="in blue", **reference)
    assert captioner.asked == [(size, "in blue")]
    (given,) = world.composer.given
    assert given.caption is not None
    assert given.caption.tolist() == [0, 1]
    assert given.text is not None
    assert given.text.tolist() == [1, 0]
    assert found.answer.explanation["description"] == "a blue dress"
    assert found.answer.timings_ms.keys() == {"encode", "search", "caption"}
    assert found.answer.warnings == ()


def test_a_captioner_without_words_leaves_the_text_and_says_so() -> None:
    world = World()
    found = world.compute(Captioner("  "), text="in blue", reference_image_id=str(IMAGE))
    assert world.composer.given[0].caption is not None
    assert world.composer.given[0].caption.tolist() == [1, 0]
    assert found.answer.warnings == ("The captioner had no description; the search went by `text` alone.",)


def test_a_description_that_is_cut_is_told() -> None:
    long = "a blue dress" * 10
    VOCABULARY[long] = [0, 1]
    found = World().compute(Captioner(long), text="in blue", reference_image_id=str(IMAGE))
    assert found.answer.warnings == ("The description was cut at 8 tokens, the most that the encoder reads.",)


@pytest.mark.parametrize(
    "params", [{"strategy": "sum", "text": "in blue", "reference_image_id": str(IMAGE)}, {"text": "in blue"}]
)
def test_nobody_else_asks_the_captioner(params: dict[str, Any]) -> None:
    world, captioner = World(), Captioner("a blue dress")
    found = world.compute(captioner, **params)
    assert captioner.asked == []
    assert world.composer.given[0].caption is None
    assert "description" not in found.answer.explanation


def test_a_worker_without_a_captioner_says_what_it_lacks() -> None:
    with pytest.raises(ModelLoadError, match="SETR_CAPTIONER"):
        World().compute(None, text="in blue", reference_image_id=str(IMAGE))
