"""Stage 1 for any number of queries at once: read, encode, compose, search. Single queries and batches come here.

Texts and pictures of all queries are encoded together, and searches overlap. What is wrong with one query is that
query's outcome; only a dependency that is away ends the call.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

import numpy as np
from PIL.Image import Image as Picture

from core.context import Context
from core.embedder import decode_side_px
from core.errors import ModelLoadError, NotFoundError, ServiceError, UnavailableError
from core.generations import check_identity
from core.keys import blob_key
from core.limits import picture_limits
from core.models import Candidate, Gallery, Image, Index, QueryParams, Vector, Vectors
from core.pictures import crop, decode
from core.pools import Reference, Wanted, candidates
from core.ports import (
    Captioner,
    Composer,
    Composition,
    CompositionInput,
    Encoder,
    EncoderRegistry,
    Phrases,
    RelativeText,
)
from core.space import Space, Spaces

REFERENCE_SIDE_PX = 768
"""Longer side of a reference picture as multimodal models see it."""
SEARCHES = 4
"""Of one call at a time: Postgres searches for one query while another is scored here."""


def reference_picture(ctx: Context, params: QueryParams, image: Image | None) -> Picture:
    """The reference, cut to its region: the uploaded file, or else `image`, which is its image of the gallery.

    NotFoundError when that is gone; ItemError when the file is no readable picture.
    """
    if params.reference_object_key is not None:
        key = params.reference_object_key
    elif image is not None:
        key = blob_key(image.tenant_id, image.blob.sha256)
    else:
        raise _gone()
    picture = decode(ctx.objects.get(key), max_side_px=REFERENCE_SIDE_PX, limits=picture_limits(ctx.settings))
    return crop(picture, params.reference_region) if params.reference_region else picture


@dataclass(frozen=True, slots=True)
class Answer:
    """Coarse candidates, best first, and what a result says besides its rows. `timings_ms` are the whole call's."""

    candidates: tuple[Candidate, ...]
    strategy: str
    index_id: UUID
    explanation: dict[str, object] | None
    timings_ms: dict[str, int]
    warnings: tuple[str, ...]


Answered: TypeAlias = Answer | ServiceError


@dataclass(frozen=True, slots=True)
class Method:
    """What a worker answers queries with. Without a captioner, those of the strategy `caption` fail."""

    ctx: Context
    encoders: EncoderRegistry
    composer: Composer
    spaces: Spaces
    captioner: Captioner | None = None

    def on(self, gallery: Gallery, index: Index) -> "Answering":
        """Ready for queries on a generation. EncoderMismatchError when vectors of two models would meet."""
        encoder = self.encoders.get(index.encoder)
        check_identity(index, encoder)
        return Answering(self, gallery, index, encoder)


@dataclass
class _Draft:
    """A query on its way to an answer."""

    query: QueryParams
    error: ServiceError | None = None
    image: Image | None = None
    description: str | None = None
    reference: Reference = field(default_factory=Reference)
    picture: Picture | None = None
    said: RelativeText | None = None
    composition: Composition | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def has_reference(self) -> bool:
        """Whether the query names a picture: an image of the gallery, or a stored object."""
        return self.query.reference_image_id is not None or self.query.reference_object_key is not None

    @property
    def wanted_text(self) -> str | None:
        """What `caption` searches for: the description, or the text where there were no words for one."""
        return None if self.description is None else self.description or self.query.text

    def texts(self) -> Iterable[str]:
        """Everything of the query that is to be encoded as text."""
        own = (self.query.text, self.query.negative_text, self.wanted_text)
        yield from (text for text in own if text)
        if self.said is not None:
            yield from (*self.said.wanted, *self.said.avoided)


@dataclass(frozen=True, slots=True)
class Answering:
    """A generation of a gallery, and what its queries are answered with."""

    method: Method
    gallery: Gallery
    index: Index
    encoder: Encoder

    def answer(self, queries: Sequence[QueryParams]) -> list[Answered]:
        """An answer for each query, or why there is none. UnavailableError when a dependency is away."""
        drafts = [_Draft(query) for query in queries]
        clock = _Clock()
        self._read_images(drafts)
        _each(drafts, self._describe)
        clock.lap("caption")
        space = self.method.spaces.get(self.gallery, self.index, self.encoder)
        self._encode_references(drafts)
        vectors = self._encode_texts(drafts)
        _each(drafts, lambda draft: self._compose(draft, space, vectors))
        clock.lap("encode")
        self._search(drafts)
        clock.lap("search")
        return [draft.error or self._answer(draft, clock.timings_ms) for draft in drafts]

    def _read_images(self, drafts: Sequence[_Draft]) -> None:
        """References that are images of the gallery, with their vectors, which then cost no encoding."""
        ids = [UUID(draft.query.reference_image_id) for draft in drafts if draft.query.reference_image_id]
        if not ids:
            return
        with self.method.ctx.uow() as uow:
            images = uow.images.many(ids)
            stored = uow.vectors.fetch(self.index.id, ids)
        for draft in drafts:
            if draft.query.reference_image_id is None:
                continue
            image_id = UUID(draft.query.reference_image_id)
            draft.image = images.get(image_id)
            draft.reference = Reference(stored.get(image_id), image_id)
            if draft.image is None or draft.image.gallery_id != self.gallery.id:
                draft.error = _gone()

    def _describe(self, draft: _Draft) -> None:
        """The captioner's words for the target; empty when it had none. None where nobody asks for a description."""
        query = draft.query
        if query.strategy != "caption" or query.text is None or not draft.has_reference:
            return
        captioner = self.method.captioner
        if captioner is None:
            raise ModelLoadError("This worker has no captioner: start it with the SETR_CAPTIONER that the API has.")
        draft.description = captioner.caption(
            reference_picture(self.method.ctx, query, draft.image), query.text
        ).strip()

    def _encode_references(self, drafts: Sequence[_Draft]) -> None:
        """A picture of the gallery has its vector already, unless only a region of it counts."""
        _each(drafts, self._read_picture)
        waiting = [draft for draft in drafts if draft.picture is not None and draft.error is None]
        pictures = [draft.picture for draft in waiting if draft.picture is not None]
        if not pictures:
            return
        for draft, vector in zip(waiting, self.encoder.encode_images(pictures), strict=True):
            draft.reference = Reference(vector, draft.reference.image_id, draft.reference.sha256)
            draft.picture = None

    def _read_picture(self, draft: _Draft) -> None:
        query, objects = draft.query, self.method.ctx.objects
        if query.reference_object_key is not None:
            data = objects.get(query.reference_object_key)
            draft.reference = Reference(sha256=hashlib.sha256(data).hexdigest())
        elif draft.image is not None and (query.reference_region is not None or draft.reference.vector is None):
            data = objects.get(blob_key(draft.image.tenant_id, draft.image.blob.sha256))
        else:
            return
        draft.picture = self._decoded(data, query.reference_region)

    def _decoded(self, data: bytes, region: tuple[float, float, float, float] | None) -> Picture:
        side_px = decode_side_px(self.encoder)
        # A region is cut from a larger decode, so that what is left has the detail that the encoder sees.
        whole_px = side_px if region is None else math.ceil(side_px / max(region[2], region[3]))
        picture = decode(data, max_side_px=whole_px, limits=picture_limits(self.method.ctx.settings))
        return self.encoder.fit(picture if region is None else crop(picture, region))

    def _encode_texts(self, drafts: Sequence[_Draft]) -> dict[str, Vector]:
        for draft in drafts:
            # Of a text that says what to do with a reference.
            if draft.error is None and draft.reference.vector is not None and draft.query.text:
                draft.said = self.method.composer.read(draft.query.text)
        texts = list(dict.fromkeys(text for draft in drafts if draft.error is None for text in draft.texts()))
        return dict(zip(texts, self.encoder.encode_texts(texts), strict=True)) if texts else {}

    def _compose(self, draft: _Draft, space: Space, vectors: dict[str, Vector]) -> None:
        query = draft.query
        given = CompositionInput(
            reference=draft.reference.vector,
            text=vectors.get(query.text or ""),
            negative_text=vectors.get(query.negative_text or ""),
            mean=space.mean,
            concepts=space.concepts,
            attributes=space.attributes,
            caption=vectors.get(draft.wanted_text or ""),
            phrases=self._phrases(draft.said, vectors),
        )
        draft.composition = self.method.composer.compose(query.strategy, given)

    def _phrases(self, said: RelativeText | None, vectors: dict[str, Vector]) -> Phrases | None:
        if said is None:
            return None

        def rows(phrases: Sequence[str]) -> Vectors:
            none = np.zeros((0, self.encoder.identity.dim), np.float32)
            return np.stack([vectors[phrase] for phrase in phrases]) if phrases else none

        return Phrases(wanted=rows(said.wanted), avoided=rows(said.avoided), kept=said.kept)

    def _search(self, drafts: Sequence[_Draft]) -> None:
        def search(draft: _Draft) -> None:
            if draft.composition is not None:
                wanted = Wanted(draft.query, draft.composition, draft.reference)
                draft.candidates = candidates(self.method.ctx, self.gallery, self.index, wanted)

        if len(drafts) == 1:
            _each(drafts, search)
            return
        with ThreadPoolExecutor(SEARCHES) as pool:
            for _ in pool.map(lambda draft: _each([draft], search), drafts):
                pass

    def _answer(self, draft: _Draft, timings_ms: dict[str, int]) -> Answer:
        # Only a query that was described has waited for the captioner.
        spent = {step: ms for step, ms in timings_ms.items() if step != "caption" or draft.description is not None}
        return Answer(
            candidates=draft.candidates,
            strategy=draft.query.strategy,
            index_id=self.index.id,
            explanation=_explanation(draft),
            timings_ms=spent,
            warnings=self._warnings(draft),
        )

    def _warnings(self, draft: _Draft) -> tuple[str, ...]:
        query, limit = draft.query, self.encoder.max_text_tokens
        texts = (
            ("`text`", query.text),
            ("`negative_text`", query.negative_text),
            ("The description", draft.description),
        )
        warnings = [
            f"{name} was cut at {limit} tokens, the most that the encoder reads."
            for name, text in texts
            if text and self.encoder.is_cut(text)
        ]
        if draft.description == "":
            warnings.append("The captioner had no description; the search went by `text` alone.")
        return tuple(warnings)


def _explanation(draft: _Draft) -> dict[str, object] | None:
    if not draft.query.explain or draft.composition is None:
        return None
    found: dict[str, object] = {
        "kept": [list(pair) for pair in draft.composition.explanation.kept],
        "dropped": [list(pair) for pair in draft.composition.explanation.dropped],
    }
    return found if draft.description is None else {**found, "description": draft.description}


def _each(drafts: Iterable[_Draft], step: Callable[[_Draft], None]) -> None:
    """Take each query a step further; what a client may be told of ends that query alone."""
    for draft in drafts:
        if draft.error is not None:
            continue
        try:
            step(draft)
        except UnavailableError:
            raise
        except ServiceError as error:
            draft.error = error


def _gone() -> NotFoundError:
    return NotFoundError("The reference image was deleted meanwhile.")


class _Clock:
    """Milliseconds of each step."""

    def __init__(self) -> None:
        self.timings_ms: dict[str, int] = {}
        self._last_s = time.perf_counter()

    def lap(self, step: str) -> None:
        """End a step."""
        now_s = time.perf_counter()
        self.timings_ms[step] = round(1000 * (now_s - self._last_s))
        self._last_s = now_s
