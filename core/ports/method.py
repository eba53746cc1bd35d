"""The method's models: encoder, composer and judge."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from PIL.Image import Image as Picture

from core.models import Concepts, EncoderIdentity, Explanation, Vector, Vectors


class Encoder(Protocol):
    """A two-tower image-text encoder. Thread-safe for encoding."""

    @property
    def identity(self) -> EncoderIdentity:
        """What makes its vectors comparable."""
        ...

    @property
    def max_text_tokens(self) -> int:
        """Tokens of a text that are read."""
        ...

    @property
    def image_size_px(self) -> int:
        """Side of the square that the model sees; pictures much larger than this gain nothing."""
        ...

    def fit(self, picture: Picture) -> Picture:
        """The picture at the size that the model sees. It is encoded to the very same vector, and takes less memory."""
        ...

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        """Unit vectors float32 [n, d] of RGB pictures of any size."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors float32 [n, d]; texts longer than `max_text_tokens` are cut."""
        ...

    def is_cut(self, text: str) -> bool:
        """Whether the text exceeds `max_text_tokens`."""
        ...


class EncoderRegistry(Protocol):
    """Loaded encoders, by the name that the operator listed in settings."""

    def get(self, name: str) -> Encoder:
        """Load once, then shared. ModelLoadError when unlisted or not loadable completely."""
        ...


@dataclass(frozen=True, slots=True)
class Composition:
    """A composed query: ANN `probes` [p, d] whose top-N form the pool, and the exact `score` of pooled vectors."""

    probes: Vectors
    score: Callable[[Vectors], Vector]
    explanation: Explanation


@dataclass(frozen=True, slots=True)
class RelativeText:
    """A relative text in phrases: what it wants, what it wants to avoid, and what of the reference is to stay."""

    wanted: tuple[str, ...] = ()
    avoided: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Phrases:
    """A `RelativeText` for arrays: unit vectors [k, d] of what is `wanted` and `avoided`, and the words of `kept`."""

    wanted: Vectors
    avoided: Vectors
    kept: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CompositionInput:
    """What a strategy composes. All vectors are unit vectors of one encoder; absent modalities are None.

    `attributes` maps a concept's term to the attribute that it is a value of, where the catalog says so: values of one
    attribute exclude each other, so that a text which names one replaces another. `caption` is the text vector of a
    description of the target, where a captioner has written one. `phrases` are those of the text; without them it
    counts as one phrase that is wanted.
    """

    reference: Vector | None
    text: Vector | None
    negative_text: Vector | None
    mean: Vector | None
    concepts: Concepts | None
    attributes: Mapping[str, str] = field(default_factory=dict)
    caption: Vector | None = None
    phrases: Phrases | None = None


class Composer(Protocol):
    """The strategies of stage 1, by name."""

    def names(self) -> tuple[str, ...]:
        """Known strategies."""
        ...

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        """InvalidInputError when the strategy is unknown or lacks a modality it needs."""
        ...

    def read(self, text: str) -> RelativeText:
        """What a relative text says, phrase by phrase."""
        ...

    def general_vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Terms that need no catalog: keys `product` and `scene` (ConceptKind values)."""
        ...


class Captioner(Protocol):
    """A multimodal model that describes what a composed query is after."""

    def caption(self, reference: Picture, text: str) -> str:
        """The target in one sentence: what reference and text share, and what the text changes; may be empty."""
        ...


@dataclass(frozen=True, slots=True)
class JudgeIdentity:
    """What judged: the spec, sha256 over its weights, and the prompt's version."""

    spec: str
    weights_sha256: str
    prompt_version: int


class Judge(Protocol):
    """Stage 2: a multimodal model that answers Yes or No per candidate."""

    @property
    def identity(self) -> JudgeIdentity:
        """What judges."""
        ...

    @property
    def weight(self) -> float:
        """Share w of the judge in the final order: w * P(Yes) + (1 - w) * normalised coarse score."""
        ...

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> Sequence[float]:
        """P(Yes) per candidate, in order, calibrated."""
        ...
