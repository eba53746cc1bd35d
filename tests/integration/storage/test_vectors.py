"""pgvector keeps the contract of `VectorIndex`; and what only pgvector has: its plans, and builds that are ended."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from uuid import UUID

import numpy as np
import pytest
from sqlalchemy import Connection, Engine, text

from cli.local.services import RunningServices
from core.filters import parse_filter
from core.ids import new_id
from core.models import Attributes
from core.ports import UnitOfWorkFactory, VectorBuilder
from core.settings import Settings
from storage.transaction import Transaction
from storage.uow import uow_factory as make_uow_factory
from storage.vector_builds import SqlVectorBuilder
from storage.vector_tables import hnsw_name, table_name
from storage.vectors import SqlVectors
from tests.integration.contract.vector_index import (
    COUNT,
    DIM,
    EXACT_BELOW,
    Generation,
    VectorIndexContract,
    add_generation,
    never,
    unit_vectors,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(services: RunningServices) -> Settings:
    changes = {"exact_search_below": EXACT_BELOW, "hnsw_build_workers": 0, "hnsw_build_memory_mib": 32}
    return services.settings.model_copy(update=changes)


@pytest.fixture
def uow_factory(engine: Engine, settings: Settings) -> UnitOfWorkFactory:
    return make_uow_factory(engine, settings)


@pytest.fixture
def builder(engine: Engine, settings: Settings) -> VectorBuilder:
    return SqlVectorBuilder(engine, settings)


class TestPgvector(VectorIndexContract):
    """All of the contract."""


@pytest.fixture
def generation(uow_factory: UnitOfWorkFactory) -> Generation:
    attributes: list[Attributes] = [{"n": n} for n in range(COUNT)]
    return add_generation(uow_factory, unit_vectors(COUNT, seed=1), attributes)


def scans(connection: Connection, index_id: UUID) -> int:
    """How often this transaction has searched the generation's HNSW index."""
    used = text("SELECT pg_stat_get_xact_numscans(CAST(:name AS regclass))")
    return int(connection.execute(used, {"name": hnsw_name(index_id)}).scalar_one())


def test_hnsw_serves_what_comparing_would_take_longer_for(
    engine: Engine, builder: VectorBuilder, generation: Generation
) -> None:
    assert builder.build(generation.id, stopping=never)
    expected = (
        (None, True, 0),
        (None, False, 1),
        (parse_filter({"n": {"lt": 6}}), False, 0),
        (parse_filter({"n": {"gte": 5}}), True, 0),
        (parse_filter({"n": {"gte": 5}}), False, 1),
    )
    with engine.connect() as connection:
        connection.execute(
            text("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        )  # so small a table it would sort
        vectors = SqlVectors(Transaction(connection), ef_search=10, exact_below=EXACT_BELOW)
        for where, exact, searched in expected:
            before = scans(connection, generation.id)
            vectors.search(generation.id, generation.vectors[0], limit=2, where=where, exact=exact)
            assert scans(connection, generation.id) - before == searched, (where, exact)


def test_writing_never_builds(uow_factory: UnitOfWorkFactory, engine: Engine, generation: Generation) -> None:
    with uow_factory() as uow:
        uow.vectors.upsert(generation.id, generation.image_ids, generation.vectors)
        uow.commit()
    with engine.connect() as connection:
        assert not has_hnsw(connection, generation.id)


def has_hnsw(connection: Connection, index_id: UUID) -> bool:
    """Also an unfinished one."""
    found = connection.execute(text("SELECT to_regclass(:name) IS NOT NULL"), {"name": hnsw_name(index_id)})
    return bool(found.scalar_one())


@contextmanager
def held_up(engine: Engine, generation: Generation) -> Iterator[None]:
    """As long as somebody's transaction has written to the table, no build of its index can end."""
    with engine.connect() as connection:
        connection.execute(text(f"LOCK TABLE {table_name(generation.id)} IN ROW EXCLUSIVE MODE"))
        yield


def test_a_build_that_is_stopped_ends_at_once_and_the_next_one_clears_up(
    uow_factory: UnitOfWorkFactory, engine: Engine, builder: VectorBuilder, generation: Generation
) -> None:
    with held_up(engine, generation), ThreadPoolExecutor(1) as threads:
        assert not threads.submit(builder.build, generation.id, stopping=lambda: True).result()
    with uow_factory() as uow:
        assert set(uow.vectors.outgrown()) == {generation.id}
    assert builder.build(generation.id, stopping=never)
    with uow_factory() as uow:
        assert uow.vectors.built(generation.id) == 1.0


@contextmanager
def building(engine: Engine, builder: VectorBuilder, generation: Generation) -> Iterator[Future[bool]]:
    """A build that runs in a thread, and cannot end before the block does."""
    asked = threading.Event()

    def stopping() -> bool:
        asked.set()
        return False

    with ThreadPoolExecutor(1) as threads, held_up(engine, generation):
        build = threads.submit(builder.build, generation.id, stopping=stopping)
        assert asked.wait(30)
        yield build


def test_one_builds_at_a_time(
    uow_factory: UnitOfWorkFactory, engine: Engine, builder: VectorBuilder, generation: Generation
) -> None:
    with building(engine, builder, generation) as first:
        assert not builder.build(generation.id, stopping=never)
        with uow_factory() as uow:
            assert 0 <= uow.vectors.built(generation.id) < 1
    assert first.result()


def test_dropping_ends_a_build(
    uow_factory: UnitOfWorkFactory, engine: Engine, builder: VectorBuilder, generation: Generation
) -> None:
    with building(engine, builder, generation) as build:
        with engine.connect() as canceller:  # what `drop` begins with; the lock that holds it up is ours
            SqlVectors(Transaction(canceller), ef_search=10, exact_below=1).end_build(generation.id)
        assert not build.result()
    with uow_factory() as uow:
        uow.vectors.drop(generation.id)
        uow.commit()
    assert not builder.build(generation.id, stopping=never)


def test_what_a_dead_build_left_is_built_anew(
    engine: Engine, builder: VectorBuilder, uow_factory: UnitOfWorkFactory, generation: Generation
) -> None:
    assert builder.build(generation.id, stopping=never)
    with engine.begin() as connection:
        connection.execute(
            text("UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST(:name AS regclass)"),
            {"name": hnsw_name(generation.id)},
        )
    with uow_factory() as uow:
        assert set(uow.vectors.outgrown()) == {generation.id}
    assert builder.build(generation.id, stopping=never)
    with uow_factory() as uow:
        assert not uow.vectors.outgrown()


def test_two_workers_may_write_the_same_images_at_once(uow_factory: UnitOfWorkFactory) -> None:
    index_id, ids = new_id(), [new_id() for _ in range(COUNT)]
    with uow_factory() as uow:
        uow.vectors.ensure(index_id, DIM)
        uow.commit()

    def write(seed: int) -> None:
        order = np.random.default_rng(seed).permutation(COUNT)
        for some in np.split(order, 20):
            with uow_factory() as uow:
                uow.vectors.upsert(index_id, [ids[n] for n in some], unit_vectors(len(some), seed=seed))
                uow.commit()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(write, range(2)))
    with uow_factory() as uow:
        assert uow.vectors.count(index_id) == COUNT
