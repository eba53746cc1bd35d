from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Engine, text

from cli.local.services import RunningServices
from core.filters import Filter, evaluate, parse_filter
from core.ids import new_id
from core.models import Attributes, Gallery, Vector, Vectors
from core.ports import UnitOfWorkFactory
from storage.transaction import Transaction
from storage.uow import uow_factory as make_uow_factory
from storage.vectors import SqlVectors
from tests.integration.storage.builders import add_gallery, add_images, add_tenant, index

pytestmark = pytest.mark.integration

DIM = 16
COUNT = 600
HALF_PRECISION = 1e-3


@dataclass(frozen=True, slots=True)
class Generation:
    """A gallery's generation of random unit vectors, and what is in it."""

    id: UUID
    gallery: Gallery
    image_ids: list[UUID]
    attributes: list[Attributes]
    vectors: Vectors

    def nearest(self, probe: Vector, limit: int, where: Filter) -> list[UUID]:
        """By brute force, from the vectors as they are stored."""
        scores = self.vectors.astype(np.float16).astype(np.float64) @ probe
        order = np.argsort(-scores, kind="stable")
        return [self.image_ids[n] for n in order if evaluate(where, self.attributes[n])][:limit]


def unit_vectors(count: int, *, seed: int, dim: int = DIM) -> Vectors:
    vectors = np.random.default_rng(seed).standard_normal((count, dim)).astype(np.float32)
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


@pytest.fixture
def uow_factory(engine: Engine, services: RunningServices) -> UnitOfWorkFactory:
    """With so low a bound that every generation here has an HNSW index."""
    return make_uow_factory(engine, services.settings.model_copy(update={"exact_search_below": COUNT // 2}))


@pytest.fixture
def generation(uow_factory: UnitOfWorkFactory) -> Generation:
    gallery = add_gallery(uow_factory, add_tenant(uow_factory))
    names = [f"sku-{n:04}" for n in range(COUNT)]
    attributes: list[Attributes] = [
        {"n": n, "rare": n % 50 == 0, "color": ["red", "blue"][n % 2]} for n in range(COUNT)
    ]
    ids = add_images(uow_factory, gallery, names, attributes)
    made = Generation(new_id(), gallery, [ids[name] for name in names], attributes, unit_vectors(COUNT, seed=1))
    with uow_factory() as uow:
        uow.indexes.add(index(gallery, id=made.id))
        uow.vectors.ensure(made.id, DIM)
        uow.vectors.upsert(made.id, made.image_ids, made.vectors)
        uow.commit()
    return made


FILTERS: tuple[dict[str, object], ...] = (
    {},
    {"rare": True},
    {"color": "red", "n": {"lt": 100}},
    {"or": [{"n": 7}, {"n": {"gte": 590}}]},
    {"color": "green"},
)


@pytest.mark.parametrize("raw", FILTERS, ids=str)
@pytest.mark.parametrize("exact", [True, False], ids=["exact", "hnsw"])
def test_search_finds_the_nearest(
    uow_factory: UnitOfWorkFactory,
    generation: Generation,
    raw: dict[str, object],
    exact: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    where = parse_filter(raw)
    probe = unit_vectors(1, seed=2)[0] * 3
    with uow_factory() as uow:
        hits = uow.vectors.search(generation.id, probe, limit=20, where=where if raw else None, exact=exact)
    assert [hit.image_id for hit in hits] == generation.nearest(probe, 20, where)
    position = {image_id: n for n, image_id in enumerate(generation.image_ids)}
    for hit in hits:
        n = position[hit.image_id]
        assert hit.external_id == f"sku-{n:04}"
        assert hit.score == pytest.approx(float(generation.vectors[n] @ probe), abs=3 * HALF_PRECISION)


def test_a_search_near_things_that_the_filter_excludes_is_still_complete(
    uow_factory: UnitOfWorkFactory, generation: Generation
) -> None:
    """The HNSW scan gives up after a while; what it did not reach is scanned."""
    with uow_factory() as uow:
        hits = uow.vectors.search(
            generation.id, generation.vectors[1], limit=12, where=parse_filter({"rare": True}), exact=False
        )
        everything = uow.vectors.search(generation.id, generation.vectors[1], limit=10_000, where=None, exact=False)
    assert len(hits) == COUNT / 50
    assert len(everything) == COUNT


def test_only_the_approximate_search_uses_hnsw(generation: Generation, engine: Engine) -> None:
    used = text("SELECT pg_stat_get_xact_numscans(CAST(:name AS regclass))").bindparams(
        name=f"vectors.g_{generation.id.hex}_hnsw"
    )
    with engine.connect() as connection:
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        vectors = SqlVectors(Transaction(connection), ef_search=40, exact_below=COUNT)
        vectors.search(generation.id, generation.vectors[0], limit=5, where=None, exact=True)
        assert connection.execute(used).scalar_one() == 0
        vectors.search(generation.id, generation.vectors[0], limit=5, where=None, exact=False)
        assert connection.execute(used).scalar_one() == 1


def test_the_index_comes_with_size(engine: Engine) -> None:
    index_id, vectors = new_id(), unit_vectors(COUNT, seed=7)
    hnsw = text("SELECT to_regclass(:name) IS NOT NULL").bindparams(name=f"vectors.g_{index_id.hex}_hnsw")
    with engine.begin() as connection:
        stored = SqlVectors(Transaction(connection), ef_search=40, exact_below=COUNT // 2)
        stored.ensure(index_id, DIM)
        stored.upsert(index_id, [new_id() for _ in range(100)], vectors[:100])
        assert not connection.execute(hnsw).scalar_one()
        stored.upsert(index_id, [new_id() for _ in range(COUNT)], vectors)
        assert connection.execute(hnsw).scalar_one()
        stored.upsert(index_id, [new_id() for _ in range(COUNT)], vectors)


def test_two_workers_may_outgrow_exact_search_at_once(uow_factory: UnitOfWorkFactory) -> None:
    index_id = new_id()
    with uow_factory() as uow:
        uow.vectors.ensure(index_id, DIM)
        uow.commit()

    def write(seed: int) -> None:
        for vectors in np.split(unit_vectors(COUNT, seed=seed), 20):
            with uow_factory() as uow:
                uow.vectors.upsert(index_id, [new_id() for _ in vectors], vectors)
                uow.commit()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, range(2)))
    with uow_factory() as uow:
        assert uow.vectors.count(index_id) == 2 * COUNT


def test_equal_scores_are_ordered_by_image(uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
    same = np.repeat(generation.vectors[:1], COUNT, axis=0)
    with uow_factory() as uow:
        uow.vectors.upsert(generation.id, generation.image_ids[::-1], same)
        hits = uow.vectors.search(generation.id, same[0], limit=9, where=None, exact=True)
    assert [hit.image_id for hit in hits] == sorted(generation.image_ids)[:9]


def test_deleted_images_never_return(uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
    probe = generation.vectors[0]
    gone = generation.image_ids[:3]
    with uow_factory() as uow:
        uow.images.remove(generation.gallery.id, gone)
        for exact in (True, False):
            hits = uow.vectors.search(generation.id, probe, limit=COUNT - 3, where=None, exact=exact)
            assert {hit.image_id for hit in hits} == set(generation.image_ids[3:])
        assert uow.vectors.count(generation.id) == COUNT
        uow.vectors.remove(generation.id, [*gone, new_id()])
        assert uow.vectors.count(generation.id) == COUNT - 3


def test_vectors_come_back_as_they_were_stored(uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
    asked = [generation.image_ids[5], new_id(), generation.image_ids[2]]
    with uow_factory() as uow:
        found = uow.vectors.fetch(generation.id, asked)
    assert set(found) == {asked[0], asked[2]}
    for place, image_id in ((5, asked[0]), (2, asked[2])):
        assert found[image_id].dtype == np.float32
        np.testing.assert_array_equal(found[image_id], generation.vectors[place].astype(np.float16).astype(np.float32))


def test_a_written_vector_replaces_the_former(uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
    image_id = generation.image_ids[0]
    older, newer = unit_vectors(2, seed=3)
    with uow_factory() as uow:
        uow.vectors.upsert(generation.id, [image_id, image_id], np.stack([older, newer]))
        np.testing.assert_allclose(uow.vectors.fetch(generation.id, [image_id])[image_id], newer, atol=HALF_PRECISION)
        assert uow.vectors.count(generation.id) == COUNT
        with pytest.raises(ValueError, match="zip"):
            uow.vectors.upsert(generation.id, [image_id], np.stack([older, newer]))


def test_the_mean_of_all_and_of_a_sample(uow_factory: UnitOfWorkFactory, generation: Generation) -> None:
    with uow_factory() as uow:
        whole = uow.vectors.mean(generation.id, sample=COUNT)
        part = uow.vectors.mean(generation.id, sample=100)
    assert whole is not None
    assert part is not None
    assert (whole[1], part[1]) == (COUNT, 100)
    np.testing.assert_allclose(whole[0], generation.vectors.mean(axis=0), atol=HALF_PRECISION)
    np.testing.assert_allclose(part[0], whole[0], atol=0.15)
    assert whole[0].dtype == part[0].dtype == np.float32


def test_a_generation_without_a_table_reads_as_empty(uow_factory: UnitOfWorkFactory) -> None:
    unknown, probe = new_id(), unit_vectors(1, seed=4)[0]
    with uow_factory() as uow:
        assert uow.vectors.search(unknown, probe, limit=5, where=None, exact=False) == ()
        assert uow.vectors.fetch(unknown, [new_id()]) == {}
        assert uow.vectors.mean(unknown, sample=5) is None
        assert uow.vectors.count(unknown) == 0
        uow.vectors.remove(unknown, [new_id()])
        uow.vectors.drop(unknown)
        uow.vectors.ensure(unknown, DIM)
        assert uow.vectors.mean(unknown, sample=5) is None
        assert uow.vectors.fetch(unknown, [new_id()]) == {}
        uow.vectors.upsert(unknown, [], np.empty((0, DIM), np.float32))


def test_two_workers_may_make_the_table_at_once(uow_factory: UnitOfWorkFactory) -> None:
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
        uow.vectors.drop(ids[0])
        assert uow.vectors.count(ids[0]) == 0


@pytest.mark.parametrize("dim", [0, 4001])
def test_impossible_dimensions_are_refused(uow_factory: UnitOfWorkFactory, dim: int) -> None:
    with uow_factory() as uow, pytest.raises(ValueError, match="dimensions"):
        uow.vectors.ensure(new_id(), dim)


def test_the_widest_vectors_fit(uow_factory: UnitOfWorkFactory) -> None:
    index_id, image_id, vector = new_id(), new_id(), unit_vectors(1, seed=6, dim=4000)
    with uow_factory() as uow:
        uow.vectors.ensure(index_id, 4000)
        uow.vectors.upsert(index_id, [image_id], vector)
        np.testing.assert_allclose(uow.vectors.fetch(index_id, [image_id])[image_id], vector[0], atol=HALF_PRECISION)
