"""What every adapter of `core.ports.VectorIndex` and `VectorBuilder` promises.

An adapter's test module inherits `VectorIndexContract` and gives it two fixtures: `uow_factory`, whose units of work
have the adapter as `vectors` and search exactly below EXACT_BELOW images, and `builder`.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.filters import Filter, evaluate, parse_filter
from core.ids import new_id
from core.models import Attributes, Census, Gallery, Vector, Vectors
from core.ports import UnitOfWorkFactory, VectorBuilder
from tests.integration.storage.builders import add_gallery, add_images, add_tenant, index

DIM = 16
COUNT = 600
EXACT_BELOW = COUNT // 2
HALF_PRECISION = 1e-3
RECALL = 0.95


@dataclass(frozen=True, slots=True)
class Generation:
    """A gallery's generation of unit vectors, and what is in it."""

    id: UUID
    gallery: Gallery
    image_ids: list[UUID]
    attributes: list[Attributes]
    vectors: Vectors

    def nearest(self, probe: Vector, limit: int, where: Filter) -> list[UUID]:
        """By brute force, from the vectors in half precision."""
        scores = self.vectors.astype(np.float16).astype(np.float64) @ probe
        order = np.argsort(-scores, kind="stable")
        return [self.image_ids[n] for n in order if evaluate(where, self.attributes[n])][:limit]


def unit_vectors(count: int, *, seed: int, dim: int = DIM) -> Vectors:
    """Evenly on the sphere."""
    return _unit(np.random.default_rng(seed).standard_normal((count, dim)))


def clustered(count: int, *, seed: int, dim: int = 64, centres: int = 40) -> Vectors:
    """As embeddings are: around centres, with a mean cosine of about 0.75 within a cluster."""
    middles = unit_vectors(centres, seed=0, dim=dim)
    draw = np.random.default_rng(seed)
    return _unit(middles[draw.integers(centres, size=count)] + draw.standard_normal((count, dim)) / np.sqrt(3 * dim))


def _unit(rows: np.ndarray[Any, Any]) -> Vectors:
    unit: Vectors = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def add_generation(
    uow_factory: UnitOfWorkFactory, vectors: Vectors, attributes: Sequence[Attributes], *, name: str = "summer"
) -> Generation:
    """A tenant, a gallery, its images and their vectors."""
    gallery = add_gallery(uow_factory, add_tenant(uow_factory, name), name)
    names = [f"sku-{n:04}" for n in range(len(vectors))]
    ids = add_images(uow_factory, gallery, names, attributes)
    made = Generation(new_id(), gallery, [ids[name] for name in names], list(attributes), vectors)
    with uow_factory() as uow:
        uow.indexes.add(index(gallery, id=made.id))
        uow.vectors.ensure(made.id, vectors.shape[1])
        uow.vectors.upsert(made.id, made.image_ids, vectors)
        uow.commit()
    return made


def never() -> bool:
    """Stopping, of a builder that is left alone."""
    return False


FILTERS: tuple[dict[str, object], ...] = (
    {},
    {"rare": True},
    {"color": "red"},
    {"color": "red", "n": {"lt": 100}},
    {"n": {"gte": 100, "lt": 106}},
    {"n": {"gt": 20}, "color": ["blue"]},
    {"sizes": {"gte": 30, "lte": 10}},
    {"or": [{"n": 7}, {"n": {"gte": 590}}]},
    {"not": {"n": {"gt": 3}}},
    {"color": "green"},
)
_values = st.sampled_from(
    [0, 1, -1, 1.5, 2**53, 2**53 + 1, 1e308, -1.7e308, 1e-310, True, None, "1", [], [1, 5], ["x", 2]]
)
_bounds = st.sampled_from([0, 1, -1, 1.5, 2**53, 2**53 + 1, 1e308, 1.75e308, -1e308, 5e-311])
_condition = st.dictionaries(st.sampled_from(["lt", "lte", "gt", "gte"]), _bounds, min_size=1, max_size=2)
_simple = st.dictionaries(st.sampled_from(["a", "b"]), _condition | st.sampled_from([0, 1, "1"]), max_size=2)
_filters = _simple | st.builds(lambda a, b: {"or": [a, b]}, _simple, _simple) | st.builds(lambda a: {"not": a}, _simple)


class VectorIndexContract:
    """The tests; see the module."""

    @pytest.fixture
    def generation(self, uow_factory: UnitOfWorkFactory) -> Generation:
        """600 images with attributes of every selectivity."""
        attributes: list[Attributes] = [
            {"n": n, "rare": n % 50 == 0, "color": ["red", "blue"][n % 2], "sizes": [n % 40, 100 + n]}
            for n in range(COUNT)
        ]
        return add_generation(uow_factory, unit_vectors(COUNT, seed=1), attributes)

    @pytest.fixture
    def built(self, generation: Generation, builder: VectorBuilder) -> Generation:
        """The same, with what makes the search of large generations fast."""
        assert builder.build(generation.id, stopping=never)
        return generation

    @pytest.mark.parametrize("raw", FILTERS, ids=str)
    @pytest.mark.parametrize("exact", [True, False], ids=["exact", "approximate"])
    def test_search_finds_the_nearest(
        self, uow_factory: UnitOfWorkFactory, built: Generation, raw: dict[str, object], *, exact: bool
    ) -> None:
        where = parse_filter(raw)
        probe = unit_vectors(1, seed=2)[0] * 3
        with uow_factory() as uow:
            hits = uow.vectors.search(built.id, probe, limit=20, where=where if raw else None, exact=exact)
        assert [hit.image_id for hit in hits] == built.nearest(probe, 20, where)
        position = {image_id: n for n, image_id in enumerate(built.image_ids)}
        for hit in hits:
            n = position[hit.image_id]
            assert hit.external_id == f"sku-{n:04}"
            assert hit.score == pytest.approx(float(built.vectors[n] @ probe), abs=3 * HALF_PRECISION)

    @settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        held=st.lists(st.dictionaries(st.sampled_from(["a", "b"]), _values), min_size=12, max_size=12),
        filters=st.lists(_filters, min_size=4, max_size=4),
    )
    def test_a_filter_means_what_its_reference_semantics_say(
        self, uow_factory: UnitOfWorkFactory, held: list[Attributes], filters: list[dict[str, object]]
    ) -> None:
        made = add_generation(uow_factory, unit_vectors(len(held), seed=8), held, name=new_id().hex)
        for where in map(parse_filter, filters):
            with uow_factory() as uow:
                hits = uow.vectors.search(made.id, made.vectors[0], limit=20, where=where, exact=True)
            assert [hit.image_id for hit in hits] == made.nearest(made.vectors[0], 20, where), where

    def test_filters_follow_attributes_that_change(self, uow_factory: UnitOfWorkFactory, built: Generation) -> None:
        was, becomes = built.image_ids[100], built.image_ids[500]
        with uow_factory() as uow:
            uow.images.patch_attributes(was, {"n": 5000})
            uow.images.patch_attributes(becomes, {"n": 100})
            uow.images.remove(built.gallery.id, [built.image_ids[101]])
            for bounds, expected in (
                ({"gte": 100, "lte": 102}, {becomes, built.image_ids[102]}),
                ({"gte": 5000}, {was}),
                ({"gte": 500, "lt": 501}, set()),
            ):
                hits = uow.vectors.search(
                    built.id, built.vectors[0], limit=9, where=parse_filter({"n": bounds}), exact=False
                )
                assert {hit.image_id for hit in hits} == expected

    def test_a_search_near_things_that_the_filter_excludes_is_still_complete(
        self, uow_factory: UnitOfWorkFactory, built: Generation
    ) -> None:
        with uow_factory() as uow:
            hits = uow.vectors.search(
                built.id, built.vectors[1], limit=12, where=parse_filter({"rare": True}), exact=False
            )
            everything = uow.vectors.search(built.id, built.vectors[1], limit=10_000, where=None, exact=False)
        assert len(hits) == COUNT / 50
        assert len(everything) == COUNT

    def test_approximate_search_misses_little(self, uow_factory: UnitOfWorkFactory, builder: VectorBuilder) -> None:
        stored = clustered(2000, seed=1)
        made = add_generation(uow_factory, stored, [{"n": n % 5} for n in range(len(stored))])
        assert builder.build(made.id, stopping=never)
        everything, fifth = parse_filter({}), parse_filter({"n": 2})
        found = dict.fromkeys(("everything", "fifth"), 0)
        probes = clustered(20, seed=2)
        with uow_factory() as uow:
            for probe in probes:
                for name, where in (("everything", everything), ("fifth", fifth)):
                    asked = None if where is everything else where
                    hits = uow.vectors.search(made.id, probe, limit=20, where=asked, exact=False)
                    found[name] += len({hit.image_id for hit in hits} & set(made.nearest(probe, 20, where)))
        assert min(found.values()) >= RECALL * 20 * len(probes), found

    def test_equal_scores_are_ordered_by_image(self, uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
        same = np.repeat(generation.vectors[:1], COUNT, axis=0)
        with uow_factory() as uow:
            uow.vectors.upsert(generation.id, generation.image_ids[::-1], same)
            hits = uow.vectors.search(generation.id, same[0], limit=9, where=None, exact=True)
        assert [hit.image_id for hit in hits] == sorted(generation.image_ids)[:9]

    def test_deleted_images_never_return(self, uow_factory: UnitOfWorkFactory, built: Generation) -> None:
        probe, gone = built.vectors[0], built.image_ids[:3]
        with uow_factory() as uow:
            uow.images.remove(built.gallery.id, gone)
            for exact in (True, False):
                hits = uow.vectors.search(built.id, probe, limit=COUNT - 3, where=None, exact=exact)
                assert {hit.image_id for hit in hits} == set(built.image_ids[3:])
            assert uow.vectors.count(built.id) == COUNT
            uow.vectors.remove(built.id, [*gone, new_id()])
            assert uow.vectors.count(built.id) == COUNT - 3

    def test_generations_know_nothing_of_each_other(self, uow_factory: UnitOfWorkFactory, built: Generation) -> None:
        probe, second = built.vectors[0], new_id()
        some = built.image_ids[:5]
        with uow_factory() as uow:
            uow.indexes.add(index(built.gallery, id=second))
            uow.vectors.ensure(second, 4)
            uow.vectors.upsert(second, some, unit_vectors(5, seed=9, dim=4))
            uow.commit()
        with uow_factory() as uow:
            hits = uow.vectors.search(second, np.ones(4, np.float32), limit=20, where=None, exact=False)
            assert {hit.image_id for hit in hits} == set(some)
            uow.vectors.remove(second, some[:1])
            assert (uow.vectors.count(second), uow.vectors.count(built.id)) == (4, COUNT)
            uow.vectors.drop(second)
            assert (uow.vectors.count(second), uow.vectors.count(built.id)) == (0, COUNT)
            assert uow.vectors.search(built.id, probe, limit=1, where=None, exact=False)[0].image_id == some[0]

    def test_vectors_come_back_as_they_were_stored(
        self, uow_factory: UnitOfWorkFactory, generation: Generation
    ) -> None:
        asked = [generation.image_ids[5], new_id(), generation.image_ids[2]]
        with uow_factory() as uow:
            found = uow.vectors.fetch(generation.id, asked)
        assert set(found) == {asked[0], asked[2]}
        for place, image_id in ((5, asked[0]), (2, asked[2])):
            assert found[image_id].dtype == np.float32
            half = generation.vectors[place].astype(np.float16).astype(np.float32)
            np.testing.assert_array_equal(found[image_id], half)

    def test_a_written_vector_replaces_the_former(self, uow_factory: UnitOfWorkFactory, built: Generation) -> None:
        image_id = built.image_ids[0]
        older, newer = unit_vectors(2, seed=3)
        with uow_factory() as uow:
            uow.vectors.upsert(built.id, [image_id, image_id], np.stack([older, newer]))
            np.testing.assert_allclose(uow.vectors.fetch(built.id, [image_id])[image_id], newer, atol=HALF_PRECISION)
            assert uow.vectors.count(built.id) == COUNT
            for exact in (True, False):
                nearest = uow.vectors.search(built.id, newer, limit=COUNT, where=None, exact=exact)
                assert nearest[0].image_id == image_id
                assert len({hit.image_id for hit in nearest}) == COUNT
            with pytest.raises(ValueError, match="zip"):
                uow.vectors.upsert(built.id, [image_id], np.stack([older, newer]))

    def test_the_mean_of_all_and_of_a_sample(self, uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
        with uow_factory() as uow:
            whole = uow.vectors.mean(generation.id, sample=COUNT)
            part = uow.vectors.mean(generation.id, sample=100)
        assert whole is not None
        assert part is not None
        assert (whole[1], part[1]) == (COUNT, 100)
        np.testing.assert_allclose(whole[0], generation.vectors.mean(axis=0), atol=HALF_PRECISION)
        np.testing.assert_allclose(part[0], whole[0], atol=0.15)
        assert whole[0].dtype == part[0].dtype == np.float32

    def test_a_sample_is_drawn_from_everywhere(self, uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
        place = {image_id: n for n, image_id in enumerate(generation.image_ids)}
        drawn: list[int] = []
        with uow_factory() as uow:
            for _ in range(20):
                sample = uow.vectors.sample(generation.id, size=30)
                assert len(set(sample)) == len(sample) <= 30
                drawn += [place[image_id] for image_id in sample]
            assert set(uow.vectors.sample(generation.id, size=10 * COUNT)) == set(generation.image_ids)
            assert uow.vectors.sample(new_id(), size=5) == ()
        late = sum(n >= COUNT // 2 for n in drawn) / len(drawn)
        assert 0.4 < late < 0.6, "the half that was written last is half of a sample, within five deviations"

    def test_what_is_missing_or_of_nobody_is_counted(
        self, uow_factory: UnitOfWorkFactory, generation: Generation
    ) -> None:
        ids, first = sorted(generation.image_ids), UUID(int=0)
        with uow_factory() as uow:
            assert uow.vectors.census(generation.id) == Census(COUNT, 0, 0)
            assert uow.vectors.missing(generation.id, after=first, limit=9) == ()
            uow.vectors.remove(generation.id, ids[3:6])
            uow.images.remove(generation.gallery.id, ids[:2])
            assert uow.vectors.missing(generation.id, after=first, limit=2) == tuple(ids[3:5])
            assert uow.vectors.missing(generation.id, after=ids[4], limit=9) == (ids[5],)
            assert uow.vectors.census(generation.id) == Census(COUNT - 3, 3, 2)
            uow.pending.add(generation.id, ids[3:5])
            assert uow.vectors.census(generation.id) == Census(COUNT - 3, 1, 2), "what is owed is not missing"

    def test_what_is_not_committed_was_never_written(
        self, uow_factory: UnitOfWorkFactory, generation: Generation
    ) -> None:
        new = unit_vectors(1, seed=12)
        with uow_factory() as uow:
            uow.vectors.upsert(generation.id, generation.image_ids[:1], new)
            uow.vectors.remove(generation.id, generation.image_ids[1:3])
        with uow_factory() as uow:
            found = uow.vectors.fetch(generation.id, generation.image_ids[:1])[generation.image_ids[0]]
            np.testing.assert_allclose(found, generation.vectors[0], atol=HALF_PRECISION)
            assert uow.vectors.count(generation.id) == COUNT

    def test_a_generation_without_vectors_reads_as_empty(self, uow_factory: UnitOfWorkFactory) -> None:
        unknown, probe = new_id(), unit_vectors(1, seed=4)[0]
        with uow_factory() as uow:
            for _ in range(2):
                assert uow.vectors.search(unknown, probe, limit=5, where=None, exact=False) == ()
                assert uow.vectors.search(unknown, probe, limit=5, where=parse_filter({"a": 1}), exact=True) == ()
                assert uow.vectors.fetch(unknown, [new_id()]) == {}
                assert uow.vectors.mean(unknown, sample=5) is None
                assert uow.vectors.count(unknown) == 0
                assert uow.vectors.built(unknown) == 1.0
                assert unknown not in uow.vectors.outgrown()
                uow.vectors.remove(unknown, [new_id()])
                uow.vectors.drop(unknown)
                uow.vectors.ensure(unknown, DIM)
            uow.vectors.upsert(unknown, [], np.empty((0, DIM), np.float32))

    def test_two_workers_may_make_the_table_at_once(self, uow_factory: UnitOfWorkFactory) -> None:
        ids = [new_id() for _ in range(5)]

        def ensure(_: int) -> None:
            for index_id in ids:
                with uow_factory() as uow:
                    uow.vectors.ensure(index_id, DIM)
                    uow.commit()

        with ThreadPoolExecutor(2) as threads:
            list(threads.map(ensure, range(2)))
        with uow_factory() as uow:
            uow.vectors.upsert(ids[0], [new_id()], unit_vectors(1, seed=5))
            assert uow.vectors.count(ids[0]) == 1

    @pytest.mark.parametrize("dim", [0, 4001])
    def test_impossible_dimensions_are_refused(self, uow_factory: UnitOfWorkFactory, dim: int) -> None:
        with uow_factory() as uow, pytest.raises(ValueError, match="dimensions"):
            uow.vectors.ensure(new_id(), dim)

    def test_the_widest_vectors_fit(self, uow_factory: UnitOfWorkFactory) -> None:
        index_id, image_id, vector = new_id(), new_id(), unit_vectors(1, seed=6, dim=4000)
        with uow_factory() as uow:
            uow.vectors.ensure(index_id, 4000)
            uow.vectors.upsert(index_id, [image_id], vector)
            found = uow.vectors.fetch(index_id, [image_id])[image_id]
        np.testing.assert_allclose(found, vector[0], atol=HALF_PRECISION)

    def test_large_generations_wait_for_the_builder_and_small_ones_need_none(
        self, uow_factory: UnitOfWorkFactory, builder: VectorBuilder, generation: Generation
    ) -> None:
        small = add_generation(uow_factory, unit_vectors(20, seed=3), [{}] * 20, name="small")
        with uow_factory() as uow:
            grown = uow.vectors.outgrown()
            assert set(grown) == {generation.id}
            assert grown[generation.id] == pytest.approx(COUNT, rel=0.2)
            assert (uow.vectors.built(generation.id), uow.vectors.built(small.id)) == (0.0, 1.0)
        assert builder.build(generation.id, stopping=never)
        assert builder.build(generation.id, stopping=never)  # again: there is nothing left to do
        assert not builder.build(new_id(), stopping=never)
        with uow_factory() as uow:
            assert not uow.vectors.outgrown()
            assert uow.vectors.built(generation.id) == 1.0

    def test_writes_go_on_while_it_is_built(
        self, uow_factory: UnitOfWorkFactory, builder: VectorBuilder, generation: Generation
    ) -> None:
        probe = unit_vectors(1, seed=12)[0]
        written: list[UUID] = []

        def write() -> None:
            for image_id in generation.image_ids[:30]:
                with uow_factory() as uow:
                    uow.vectors.upsert(generation.id, [image_id], probe[None])
                    uow.commit()
                written.append(image_id)

        with ThreadPoolExecutor(2) as threads:
            building = threads.submit(builder.build, generation.id, stopping=never)
            threads.submit(write).result()
            assert building.result()
        with uow_factory() as uow:
            hits = uow.vectors.search(generation.id, probe, limit=30, where=None, exact=False)
        assert {hit.image_id for hit in hits} == set(written)
