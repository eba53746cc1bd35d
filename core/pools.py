"""The candidates of a composed query: the nearest images of each probe, scored exactly over their union, best first."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import numpy as np

from core.context import Context
from core.filters import Filter, parse_filter
from core.grouping import Grouping, group
from core.models import Candidate, Gallery, Index, QueryParams, Vector
from core.ports import Composition, Traits, UnitOfWork

MIN_POOL = 200
MAX_POOL = 12_800
"""Images of a probe that are looked at, at most, while groups are wanted."""
GROWTH = 4


@dataclass(frozen=True, slots=True)
class Reference:
    """A query's reference: its vector, and what it is left out of the results by."""

    vector: Vector | None = None
    image_id: UUID | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is looked for: a query, composed."""

    query: QueryParams
    composition: Composition
    reference: Reference


def candidates(ctx: Context, gallery: Gallery, index: Index, wanted: Wanted) -> tuple[Candidate, ...]:
    """As many as results and judge need, best first. Where the query groups, each stands for its group.

    A strategy that is an AND has several probes, and its best images need not be the best of any: so each probe brings
    several times what is wanted, and the union is scored exactly from the stored vectors. For groups the pools grow
    until there are enough, every image was seen, or MAX_POOL is reached.
    """
    query = wanted.query
    count = max(query.top_k, query.rerank.depth if query.rerank else 0)
    how = _grouping(ctx, query)
    limit = max(MIN_POOL, 4 * (count + 1))
    with ctx.uow() as uow:
        pool = _Pool(uow, index, wanted, exact=gallery.image_count <= ctx.settings.exact_search_below)
        exhausted = pool.fill(limit)
        if how is None:
            return pool.best(count)
        found = pool.groups(how, count)
        while len(found) < count and not exhausted and limit < MAX_POOL:
            limit = min(MAX_POOL, GROWTH * limit)
            exhausted = pool.fill(limit)
            found = pool.groups(how, count)
        return found


def _grouping(ctx: Context, query: QueryParams) -> Grouping | None:
    if query.group_by is None and not query.collapse_duplicates:
        return None
    distance = ctx.settings.duplicate_distance if query.collapse_duplicates else None
    return Grouping(by_value=query.group_by is not None, distance=distance)


@dataclass
class _Pool:
    """Images that a probe found, with names, scores and, where they are grouped, traits."""

    uow: UnitOfWork
    index: Index
    wanted: Wanted
    exact: bool
    names: dict[UUID, str] = field(default_factory=dict)
    scores: dict[UUID, float] = field(default_factory=dict)
    traits: dict[UUID, Traits] = field(default_factory=dict)

    def fill(self, limit: int) -> bool:
        """Take in the nearest `limit` of each probe. Returns whether these are all that there are."""
        where = self._where()
        exhausted = True
        new: list[UUID] = []
        for probe in self.wanted.composition.probes:
            hits = self.uow.vectors.search(self.index.id, probe, limit=limit, where=where, exact=self.exact)
            exhausted = exhausted and len(hits) < limit
            new += [hit.image_id for hit in hits if hit.image_id not in self.names]
            self.names.update((hit.image_id, hit.external_id) for hit in hits)
        self._score(list(dict.fromkeys(new)))
        return exhausted

    def _where(self) -> Filter | None:
        return parse_filter(self.wanted.query.filter) if self.wanted.query.filter else None

    def _score(self, ids: Sequence[UUID]) -> None:
        stored = self.uow.vectors.fetch(self.index.id, ids)
        there = [image_id for image_id in ids if image_id in stored]  # one may have been deleted meanwhile
        if there:
            scores = self.wanted.composition.score(np.stack([stored[image_id] for image_id in there]))
            self.scores.update(zip(there, map(float, scores), strict=True))

    def _ranked(self) -> list[UUID]:
        return sorted(self.scores, key=lambda image_id: (-self.scores[image_id], image_id))

    def best(self, count: int) -> tuple[Candidate, ...]:
        """The `count` best images."""
        ranked, shown, looked_at = self._ranked(), list[UUID](), 0
        while len(shown) < count and looked_at < len(ranked):  # any number of images may be the reference's file
            ids = ranked[looked_at : looked_at + count + 1]
            hidden = self._hidden(ids)
            shown += [image_id for image_id in ids if image_id not in hidden]
            looked_at += len(ids)
        return tuple(self._candidate(image_id, rank) for rank, image_id in enumerate(shown[:count], start=1))

    def groups(self, how: Grouping, count: int) -> tuple[Candidate, ...]:
        """The best image of each of the `count` best groups."""
        unknown = [image_id for image_id in self.scores if image_id not in self.traits]
        self.traits |= self.uow.images.traits(unknown, self.wanted.query.group_by)
        ids = [image_id for image_id in self._ranked() if image_id in self.traits]
        hidden = self._hidden(ids)
        ids = [image_id for image_id in ids if image_id not in hidden]
        found = group([self.traits[image_id] for image_id in ids], how, limit=count)
        return tuple(
            replace(
                self._candidate(ids[each.place], rank),
                group=each.value,
                group_images=each.images or None,
                duplicates=None if how.distance is None else each.duplicates,
            )
            for rank, each in enumerate(found, start=1)
        )

    def _hidden(self, ids: Sequence[UUID]) -> frozenset[UUID]:
        """The reference itself, also when it was uploaded and the gallery holds the same file."""
        reference = self.wanted.reference
        if self.wanted.query.include_reference:
            return frozenset()
        if reference.image_id is not None:
            return frozenset({reference.image_id})
        if reference.sha256 is None:
            return frozenset()
        images = self.uow.images.many(ids)
        return frozenset(i for i, image in images.items() if image.blob.sha256 == reference.sha256)

    def _candidate(self, image_id: UUID, rank: int) -> Candidate:
        score = self.scores[image_id]
        return Candidate(image_id, self.names[image_id], rank, score, rank, score)
