"""Pools of candidates on a gallery in memory, against a look at every image."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Self
from uuid import UUID

import numpy as np
import pytest

from core import pools
from core.models import (
    Blob,
    Candidate,
    Device,
    Explanation,
    Gallery,
    Image,
    ImageState,
    Index,
    IndexState,
    QueryParams,
    RerankOptions,
    ScoredImage,
    Vector,
    Vectors,
)
from core.pools import MAX_POOL, MIN_POOL, Reference, Wanted, candidates
from core.ports import Composition, Traits
from core.settings import Settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
TENANT, GALLERY, INDEX, JOB = (UUID(int=n) for n in range(1, 5))
SHOP = Gallery(GALLERY, TENANT, "shop", "demo", Device.AUTO, {}, INDEX, 1, 1, NOW, NOW)
GENERATION = Index(INDEX, TENANT, GALLERY, "demo", IndexState.ACTIVE)


def image_id(place: int) -> UUID:
    return UUID(int=1000 + place)


def place_of(candidate: Candidate) -> int:
    return candidate.image_id.int - 1000


@dataclass
class World:
    """Images with vectors [n, d], products and looks; every search is noted."""

    held: Vectors
    products: Sequence[Any] = ()
    phashes: Sequence[int] = ()
    copies: int = 0
    """So many of the first images are one file."""
    limits: list[int] = field(default_factory=list)

    @property
    def vectors(self) -> Any:
        return SimpleNamespace(search=self.search, fetch=self.fetch)

    @property
    def images(self) -> Any:
        return SimpleNamespace(traits=self.traits, many=self.many)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        pass

    def search(self, index_id: UUID, probe: Vector, *, limit: int, where: object, exact: bool) -> tuple[Any, ...]:
        del where, exact
        assert index_id == INDEX
        self.limits.append(limit)
        scores = self.held @ probe
        best = np.argsort(-scores, kind="stable")[:limit]
        return tuple(ScoredImage(image_id(int(i)), f"sku-{i}", float(scores[i])) for i in best)

    def fetch(self, index_id: UUID, ids: Sequence[UUID]) -> dict[UUID, Vector]:
        del index_id
        return {each: self.held[each.int - 1000] for each in ids}

    def traits(self, ids: Sequence[UUID], attribute: str | None) -> dict[UUID, Traits]:
        places = [each.int - 1000 for each in ids]
        products = [self.products[place] if attribute else None for place in places]
        looks = [self.phashes[place] if self.phashes else 7919 * place * 2**20 for place in places]
        return {each: Traits(product, phash, 0) for each, product, phash in zip(ids, products, looks, strict=True)}

    def many(self, ids: Sequence[UUID]) -> dict[UUID, Image]:
        return {each: self.image(each) for each in ids}

    def image(self, each: UUID) -> Image:
        number = 0 if each.int - 1000 < self.copies else each.int
        blob = Blob(f"{number:064d}", 1, 1, 1, "image/jpeg")
        return Image(each, TENANT, GALLERY, "sku", blob, {}, ImageState.READY, JOB, 1, NOW, NOW)

    def find(self, composition: Composition, reference: Reference | None = None, **query: Any) -> tuple[Candidate, ...]:
        ctx: Any = SimpleNamespace(uow=lambda: self, settings=Settings())
        return candidates(ctx, SHOP, GENERATION, Wanted(QueryParams(**query), composition, reference or Reference()))


def by(*probes: Sequence[float], score: Any = None) -> Composition:
    matrix = np.array(probes, np.float32)
    return Composition(matrix, score or (lambda vectors: vectors @ matrix[0]), Explanation())


def along(values: Iterable[float]) -> Vectors:
    return np.array([[value, 0.0] for value in values], np.float32)


def both(vectors: Vectors) -> Vector:
    """An AND of the two axes."""
    return np.asarray(vectors.min(axis=1), np.float32)


def test_any_number_of_copies_of_the_reference_are_left_out_and_made_up_for() -> None:
    world = World(along([1.0] * 12 + [0.9, 0.8, 0.7]), copies=12)
    uploaded = Reference(sha256=world.image(image_id(0)).blob.sha256)
    found = world.find(by([1, 0]), uploaded, top_k=3)
    assert [place_of(each) for each in found] == [12, 13, 14]
    assert [each.rank for each in found] == [1, 2, 3]
    kept = world.find(by([1, 0]), uploaded, top_k=3, include_reference=True)
    assert [each.coarse_score for each in kept] == [1.0] * 3


def test_an_and_finds_what_neither_probe_likes_best_and_scores_it_exactly() -> None:
    rng = np.random.default_rng(0)
    text_like = np.stack([rng.uniform(0.6, 1.0, 150), rng.uniform(0, 0.1, 150)], axis=1)
    world = World(np.concatenate([text_like, text_like[:, ::-1], [[0.5, 0.5]]]).astype(np.float32))
    found = world.find(by([1, 0], [0, 1], score=both), top_k=3)
    assert place_of(found[0]) == 300
    assert found[0].score == pytest.approx(0.5)
    exact = both(world.held)
    assert [place_of(each) for each in found] == list(np.argsort(-exact, kind="stable")[:3])
    assert [each.score for each in found] == [float(exact[place_of(each)]) for each in found]


def test_a_pool_is_the_union_of_both_probes() -> None:
    """Beyond a pool's size, what only the second probe knows is still found."""
    axes = [[1.0, 0.01 * (i % 7)] for i in range(MIN_POOL)] + [[0.01 * (i % 7), 1.0] for i in range(MIN_POOL)]
    world = World(np.array([*axes, [0.1, 1.1]], np.float32))
    (found,) = world.find(by([1, 0], [0, 1], score=both), top_k=1)
    assert place_of(found) == 2 * MIN_POOL


def test_one_result_for_each_product() -> None:
    world = World(along([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), products=["a", "a", None, "b", None, "a"])
    found = world.find(by([1, 0]), group_by="product", top_k=10)
    assert [(place_of(each), each.group, each.group_images) for each in found] == [
        (0, "a", 3),
        (2, None, None),
        (3, "b", 1),
        (4, None, None),
    ]
    assert [each.rank for each in found] == [1, 2, 3, 4]
    assert {each.duplicates for each in found} == {None}


def test_the_pool_grows_until_there_are_enough_products() -> None:
    """A product whose hundreds of pictures fill the first pool does not crowd out the others."""
    world = World(along(np.linspace(1, 0.1, 1000)), products=["crowd"] * 700 + [f"p{i}" for i in range(300)])
    found = world.find(by([1, 0]), group_by="product", top_k=5)
    assert [each.group for each in found] == ["crowd", "p0", "p1", "p2", "p3"]
    assert found[0].group_images == 700
    assert world.limits == [MIN_POOL, 4 * MIN_POOL]


def test_the_pool_stops_growing_when_every_image_was_seen() -> None:
    world = World(along(np.linspace(1, 0.1, 500)), products=["one"] * 500)
    assert [each.group_images for each in world.find(by([1, 0]), group_by="product")] == [500]
    assert world.limits == [MIN_POOL, 4 * MIN_POOL]


def test_the_pool_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "MAX_POOL", 600)
    world = World(along(np.linspace(1, 0.1, 2000)), products=["one"] * 2000)
    assert [each.group_images for each in world.find(by([1, 0]), group_by="product")] == [600]
    assert world.limits == [MIN_POOL, 600]
    assert MAX_POOL > MIN_POOL


def test_the_judge_sees_as_many_products_as_it_asks_for() -> None:
    world = World(along(np.linspace(1, 0.1, 400)), products=[f"p{i // 4}" for i in range(400)])
    found = world.find(by([1, 0]), group_by="product", top_k=5, rerank=RerankOptions(depth=60, budget_s=1))
    assert [each.group for each in found] == [f"p{i}" for i in range(60)]


def test_pictures_that_look_the_same_are_one_result() -> None:
    world = World(along([0.9, 0.8, 0.7]), phashes=[0, 0b11, -1])
    found = world.find(by([1, 0]), collapse_duplicates=True)
    assert [(place_of(each), each.duplicates) for each in found] == [(0, 1), (2, 0)]
    assert {(each.group, each.group_images) for each in found} == {(None, None)}


def test_the_reference_is_left_out_but_not_its_product() -> None:
    world = World(along([0.9, 0.8, 0.7]), products=["a", "a", "b"])
    reference = Reference(image_id=image_id(0))
    found = world.find(by([1, 0]), reference, group_by="product")
    assert [(place_of(each), each.group_images) for each in found] == [(1, 1), (2, 1)]
    kept = world.find(by([1, 0]), reference, group_by="product", include_reference=True)
    assert [(place_of(each), each.group_images) for each in kept] == [(0, 2), (2, 1)]


def test_an_uploaded_reference_that_the_gallery_holds_is_left_out() -> None:
    world = World(along([0.9, 0.8, 0.7]))
    reference = Reference(sha256=f"{image_id(1).int:064d}")
    assert [place_of(each) for each in world.find(by([1, 0]), reference, top_k=2)] == [0, 2]
