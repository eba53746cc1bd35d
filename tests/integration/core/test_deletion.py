"""Deleting a gallery while others still write to it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest
from PIL.Image import Image as Picture
from sqlalchemy import Engine
from structlog.testing import capture_logs

from cli.local.services import RunningServices
from core import galleries, jobs, upkeep
from core.context import Context
from core.deletion import DeleteGalleryHandler
from core.durable import UnitRun
from core.embedder import Embedder
from core.embedding import EmbedHandler
from core.errors import ConflictError, NotFoundError
from core.models import ClaimedUnit, Job, JobKind, JobState, Queue, UnitKind, Vectors
from core.ports import JobQuery, UnitOfWorkFactory
from storage.objects import S3ObjectStore
from tests.integration.core.importing import MeanColour, Shop, open_shop, picture
from tests.integration.core.test_durable import Bell
from tests.integration.core.test_upkeep import MovedClock
from tests.integration.storage import builders
from tests.unit.api.fakes import FakeClock

pytestmark = pytest.mark.integration


@pytest.fixture
def shop(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Shop:
    ctx = Context(uow_factory, object_store, Bell(), FakeClock(), services.settings)
    shop = open_shop(ctx, engine, builders.add_tenant(uow_factory))
    shop.handlers[UnitKind.DELETE_GALLERY] = DeleteGalleryHandler(ctx)
    shop.queues = (*shop.queues, Queue.MAINTENANCE)
    return shop


def delete(shop: Shop) -> UUID:
    return galleries.delete(shop.ctx, shop.principal, shop.gallery.name).id


def left(shop: Shop) -> int:
    with shop.ctx.uow() as uow:
        return uow.images.count(shop.gallery.id)


class Interrupted(MeanColour):
    """An encoder while which a client deletes the gallery, once."""

    def __init__(self, interrupt: Callable[[], object]) -> None:
        self._interrupts = [interrupt]

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        if self._interrupts:
            self._interrupts.pop()()
        return super().encode_images(pictures)


def test_images_that_an_import_adds_meanwhile_go_too_and_are_counted(shop: Shop) -> None:
    shop.imported({"red.png": picture("red"), "blue.png": picture("blue")})
    deletions: list[UUID] = []
    encoder = Interrupted(lambda: deletions.append(delete(shop)))
    shop.handlers[UnitKind.EMBED] = EmbedHandler(shop.ctx, encoder, Embedder(shop.ctx))
    shop.submit({"green.png": picture("green")})
    while not deletions:
        assert shop.run_one()
    assert left(shop) == 3
    shop.run()
    ended = shop.job(deletions[0])
    assert (ended.state, ended.counters.total, ended.counters.deleted) == (JobState.SUCCEEDED, 3, 3)
    assert left(shop) == 0


def test_images_that_went_before_their_turn_count_as_deleted(shop: Shop) -> None:
    shop.imported({"red.png": picture("red"), "blue.png": picture("blue")})
    deletion = delete(shop)
    with shop.ctx.uow() as uow:
        found = uow.images.find(shop.gallery.id, "red.png")
        assert found is not None
        uow.images.remove(shop.gallery.id, [found.id])
        uow.commit()
    shop.run()
    ended = shop.job(deletion)
    assert (ended.state, ended.counters.total, ended.counters.deleted) == (JobState.SUCCEEDED, 2, 2)


class Broken:
    """What deletes galleries, on a bad day."""

    def open(self, unit: ClaimedUnit, job: Job) -> UnitRun:  # noqa: ARG002 - the port's signature
        raise NotFoundError("Something is missing.")


def deletions(shop: Shop) -> list[Job]:
    """Newest first."""
    query = JobQuery(kind=JobKind.DELETE)
    return list(jobs.list_jobs(shop.ctx, shop.principal, query, size=9, after=None).items)


def test_a_deletion_that_failed_is_begun_again_by_upkeep_after_a_pause_and_once(shop: Shop) -> None:
    clock = MovedClock()
    ctx = replace(shop.ctx, clock=clock)
    shop.imported({"red.png": picture("red")})
    shop.handlers[UnitKind.DELETE_GALLERY] = Broken()
    first = shop.ended(delete(shop))
    assert first.state is JobState.FAILED
    upkeep.run(ctx)
    assert [job.id for job in deletions(shop)] == [first.id], "not at once, or it would go on for ever"
    clock.ahead = galleries.DELETION_PAUSE + timedelta(minutes=1)
    with capture_logs() as logs:
        upkeep.run(ctx)
        upkeep.run(ctx)
    again, _ = deletions(shop)
    assert [entry["job_id"] for entry in logs if entry["event"] == "gallery.deletion_resumed"] == [str(again.id)]
    shop.handlers[UnitKind.DELETE_GALLERY] = DeleteGalleryHandler(ctx)
    ended = shop.ended(again.id)
    assert (ended.state, ended.counters.total, ended.counters.deleted) == (JobState.SUCCEEDED, 1, 1)
    assert left(shop) == 0
    clock.ahead *= 3
    upkeep.run(ctx)
    assert len(deletions(shop)) == 2


def test_a_deletion_cannot_be_cancelled_halfway(shop: Shop) -> None:
    deletion = delete(shop)
    with pytest.raises(ConflictError, match="hidden already"):
        jobs.cancel(shop.ctx, shop.principal, deletion)
    shop.run()
    assert jobs.cancel(shop.ctx, shop.principal, deletion).state is JobState.SUCCEEDED
