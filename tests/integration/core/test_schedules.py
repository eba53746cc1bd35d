"""Schedules on real Postgres and S3, a real web server, and a clock under control."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, BinaryIO
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from sqlalchemy import Engine

from cli.local.services import RunningServices
from core import galleries, generations, jobs, schedules
from core.context import Context
from core.errors import NotFoundError, UnavailableError
from core.generations import NewIndex
from core.ids import new_id
from core.ingest import FetchHandler
from core.models import Counters, IndexState, Job, JobKind, JobState, Queue, Schedule, UnitKind
from core.planning import PlanHandler
from core.ports import JobQuery, UnitOfWorkFactory
from core.reading import Remotes
from core.schedules import NewSchedule
from storage.buckets import S3SourceBuckets
from storage.objects import S3ObjectStore
from storage.web.fetcher import HttpFetcher
from tests.integration.core.importing import Shop, jsonl, open_shop, picture
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders
from tests.web import WebServer, web_server

pytestmark = pytest.mark.integration

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
BERLIN = ZoneInfo("Europe/Berlin")
EVENING = datetime(2026, 11, 23, 20, 0, tzinfo=BERLIN)
NIGHT = datetime(2026, 11, 24, 3, 0, tzinfo=BERLIN)


@dataclass
class SetClock:
    moment: datetime = EVENING

    def now(self) -> datetime:
        return self.moment


@dataclass
class Nightly:
    """A shop whose catalog lies on a web server as `catalog.jsonl`."""

    shop: Shop
    site: WebServer
    clock: SetClock
    bell: Bell

    @property
    def ctx(self) -> Context:
        return self.shop.ctx

    def plan(self, **changes: Any) -> Schedule:
        source = {"manifest": self.site.url("/catalog.jsonl")}
        new = NewSchedule("summer", "0 3 * * *", "Europe/Berlin", source=source)
        return schedules.put(self.ctx, self.shop.principal, replace(new, **changes))[0]

    @property
    def schedule(self) -> Schedule:
        return schedules.get(self.ctx, self.shop.principal, "summer")

    def publish(self, *colours: str) -> None:
        self.site.pages |= {f"/{colour}.png": picture(colour) for colour in colours}
        rows = [{"external_id": colour, "image": self.site.url(f"/{colour}.png")} for colour in colours]
        self.site.pages["/catalog.jsonl"] = jsonl(*rows)

    def run_at(self, moment: datetime) -> int:
        self.clock.moment = moment
        return schedules.run_due(self.ctx)

    def jobs(self) -> tuple[Job, ...]:
        return jobs.list_jobs(self.ctx, self.shop.principal, JobQuery(), size=100, after=None).items

    def generations(self) -> list[IndexState]:
        with self.ctx.uow() as uow:
            return [index.state for index in uow.indexes.live(self.shop.gallery.id)]

    def finish(self) -> Job:
        """Run the job of the last tick to its end."""
        assert self.schedule.last_job_id is not None
        return self.shop.ended(self.schedule.last_job_id)


@pytest.fixture
def nightly(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Iterator[Nightly]:
    with web_server() as site:
        changes = {"fetch_networks": "127.0.0.1", "fetch_ports": str(site.port), "max_delete_share": 0.5}
        settings = services.settings.model_copy(update=changes)
        clock, bell = SetClock(), Bell()
        ctx = Context(uow_factory, object_store, bell, clock, settings)
        shop = open_shop(ctx, engine, builders.add_tenant(uow_factory))
        web = HttpFetcher(settings)
        remotes = Remotes(web, S3SourceBuckets(settings))
        shop.handlers[UnitKind.PLAN] = PlanHandler(ctx, remotes)
        shop.handlers[UnitKind.FETCH] = FetchHandler(ctx, remotes)
        yield Nightly(shop, site, clock, bell)
        web.close()


def test_a_night_is_one_import_and_the_next_night_fetches_only_what_changed(nightly: Nightly) -> None:
    nightly.publish("red", "green", "blue")
    planned = nightly.plan(mode="mirror")
    assert (planned.next_tick, planned.last_tick) == (NIGHT, None)

    assert nightly.run_at(NIGHT - SECOND) == 0
    assert nightly.run_at(NIGHT) == 1
    assert nightly.bell.rung == [Queue.INGEST]
    first = nightly.finish()
    assert (first.kind, first.state, first.counters.created) == (JobKind.IMPORT, JobState.SUCCEEDED, 3)
    told = nightly.schedule
    assert (told.last_tick, told.last_job_id, told.next_tick) == (NIGHT, first.id, NIGHT + DAY)

    nightly.publish("red", "green", "white")
    nightly.site.forget()
    assert nightly.run_at(NIGHT + DAY) == 1
    second = nightly.finish()
    counted = second.counters
    assert (counted.created, counted.unchanged, counted.deleted) == (1, 2, 1)
    assert set(nightly.site.bodies) == {"/catalog.jsonl", "/white.png"}
    assert set(nightly.shop.contents()) == {"red", "green", "white"}


def test_a_tick_that_is_due_is_not_lost_when_the_same_schedule_is_set_again(nightly: Nightly) -> None:
    nightly.publish("red")
    nightly.plan(mode="mirror")
    nightly.clock.moment = NIGHT + HOUR
    again = nightly.plan(mode="upsert")
    assert (again.next_tick, again.params["mode"]) == (NIGHT, "upsert")
    assert nightly.run_at(NIGHT + HOUR) == 1
    assert nightly.schedule.last_tick == NIGHT
    nightly.clock.moment = NIGHT + DAY + HOUR
    assert nightly.plan(cron="0 5 * * *").next_tick == NIGHT + DAY + 2 * HOUR


def test_one_gallery_that_fails_keeps_no_other_from_its_tick(nightly: Nightly, monkeypatch: pytest.MonkeyPatch) -> None:
    nightly.publish("red")
    galleries.create(nightly.ctx, nightly.shop.principal, galleries.NewGallery("autumn"))
    nightly.plan(cron="0 2 * * *", gallery="autumn")
    nightly.plan()
    prepare = schedules._prepare

    def fail_in_autumn(*arguments: Any) -> Any:
        if arguments[2].gallery_name == "autumn":
            raise ZeroDivisionError
        return prepare(*arguments)

    monkeypatch.setattr(schedules, "_prepare", fail_in_autumn)
    assert nightly.run_at(NIGHT) == 1
    assert nightly.schedule.last_tick == NIGHT


def test_many_reconcilers_at_once_make_one_job(nightly: Nightly) -> None:
    nightly.plan()
    nightly.clock.moment = NIGHT
    together = threading.Barrier(4)

    def look() -> int:
        together.wait()
        return schedules.run_due(nightly.ctx)

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(lambda _: look(), range(4))) == 1
    assert len(nightly.jobs()) == 1
    assert schedules.run_due(nightly.ctx) == 0


def test_the_key_of_a_tick_holds_between_two_open_transactions(nightly: Nightly) -> None:
    gallery = nightly.shop.gallery
    first, second = (
        builders.job(gallery.tenant_id, gallery_id=gallery.id, gallery_name=gallery.name) for _ in range(2)
    )

    def late() -> bool:
        with nightly.ctx.uow() as uow:
            added = uow.jobs.add_scheduled(second, NIGHT)
            uow.commit()
        return added

    with ThreadPoolExecutor(1) as pool, nightly.ctx.uow() as uow:
        assert uow.jobs.add_scheduled(first, NIGHT)
        waiting = pool.submit(late)  # waits for our transaction, or begins after it
        uow.commit()
        assert not waiting.result()
    assert [job.id for job in nightly.jobs()] == [first.id]
    with nightly.ctx.uow() as uow:
        assert uow.jobs.add_scheduled(second, NIGHT + DAY)
        assert uow.jobs.open_scheduled(gallery.id) == first.id


def test_a_schedule_that_is_set_again_does_not_repeat_its_tick(nightly: Nightly) -> None:
    """By an API server whose clock is behind that of the reconciler."""
    nightly.publish("red")
    nightly.plan()
    assert nightly.run_at(NIGHT) == 1
    job = nightly.finish()
    nightly.clock.moment = NIGHT - HOUR
    assert nightly.plan().next_tick == NIGHT + DAY
    tuesdays = "0 3 * * TUE"
    assert nightly.plan(cron=tuesdays).next_tick == NIGHT
    assert nightly.run_at(NIGHT) == 0
    skipped = nightly.schedule.last_skipped
    assert skipped is not None
    assert (skipped.tick, "already" in skipped.reason) == (NIGHT, True)
    assert (nightly.schedule.last_job_id, nightly.schedule.next_tick) == (job.id, NIGHT + 7 * DAY)


def test_missed_ticks_run_once(nightly: Nightly) -> None:
    nightly.plan()
    assert nightly.run_at(NIGHT + 5 * DAY + HOUR) == 1
    assert len(nightly.jobs()) == 1
    assert (nightly.schedule.last_tick, nightly.schedule.next_tick) == (NIGHT + 5 * DAY, NIGHT + 6 * DAY)


def test_a_run_that_is_still_going_is_not_overtaken(nightly: Nightly) -> None:
    nightly.publish("red")
    nightly.plan(cron="*/15 * * * *")
    assert nightly.run_at(NIGHT) == 1
    running = nightly.schedule.last_job_id
    assert nightly.run_at(NIGHT + HOUR) == 0
    skipped = nightly.schedule.last_skipped
    assert skipped is not None
    assert (skipped.tick, str(running) in skipped.reason) == (NIGHT + HOUR, True)
    assert (nightly.schedule.last_tick, nightly.schedule.last_job_id) == (NIGHT + HOUR, running)
    nightly.finish()
    assert nightly.run_at(NIGHT + 2 * HOUR) == 1
    assert len(nightly.jobs()) == 2


def test_what_is_not_open_any_more_is_skipped_with_the_reason(nightly: Nightly) -> None:
    opened = nightly.ctx.settings.model_copy(update={"import_prefixes": {"shop": ["s3://catalog/"]}})
    nightly.shop.ctx = replace(nightly.ctx, settings=opened)
    nightly.plan(source={"s3_prefix": "s3://catalog/summer/"})
    closed = opened.model_copy(update={"import_prefixes": {}})
    nightly.shop.ctx = replace(nightly.ctx, settings=closed)
    assert nightly.run_at(NIGHT) == 0
    skipped = nightly.schedule.last_skipped
    assert skipped is not None
    assert "SETR_IMPORT_PREFIXES" in skipped.reason
    assert nightly.jobs() == ()


def test_without_a_source_a_tick_is_a_re_index(nightly: Nightly) -> None:
    nightly.plan(source=None)
    assert nightly.run_at(NIGHT) == 1
    (job,) = nightly.jobs()
    assert (job.kind, job.id) == (JobKind.REINDEX, nightly.schedule.last_job_id)
    assert nightly.generations() == [IndexState.ACTIVE, IndexState.BUILDING]


def test_a_re_index_that_somebody_else_began_is_not_begun_again(nightly: Nightly) -> None:
    nightly.plan(source=None)
    other = generations.submit(nightly.ctx, nightly.shop.principal, NewIndex("summer"))
    assert nightly.run_at(NIGHT) == 0
    skipped = nightly.schedule.last_skipped
    assert skipped is not None
    assert str(other.id) in skipped.reason
    assert nightly.generations() == [IndexState.ACTIVE, IndexState.BUILDING]


def test_a_tick_that_has_its_job_leaves_no_half_made_generation(nightly: Nightly) -> None:
    gallery = nightly.shop.gallery
    nightly.plan(source=None)
    done = builders.add_job(nightly.ctx.uow, gallery.tenant_id, counters=Counters(total=0))
    with nightly.ctx.uow() as uow:
        of_the_tick = replace(done, id=new_id(), gallery_id=gallery.id)
        assert uow.jobs.add_scheduled(of_the_tick, NIGHT)
        uow.jobs.set_state(of_the_tick.id, JobState.CANCELED)
        uow.commit()
    assert nightly.run_at(NIGHT) == 0
    assert nightly.generations() == [IndexState.ACTIVE]


def test_a_manifest_that_cannot_be_had_removes_nothing(nightly: Nightly) -> None:
    nightly.publish("red", "green")
    nightly.plan(mode="mirror", max_delete_share=1.0)
    nightly.run_at(NIGHT)
    nightly.finish()
    del nightly.site.pages["/catalog.jsonl"]
    nightly.run_at(NIGHT + DAY)
    failed = nightly.finish()
    assert failed.state is JobState.FAILED
    assert failed.error is not None
    assert failed.error["code"] == "url_not_found"
    assert "manifest" in failed.error["detail"]
    assert set(nightly.shop.contents()) == {"red", "green"}


class AwayStore(S3ObjectStore):
    """A bucket that does not answer."""

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        raise UnavailableError(f"{key}, {stream}, {media_type}: no answer")


def test_what_a_dependency_keeps_from_starting_stays_due(nightly: Nightly) -> None:
    nightly.publish("red")
    nightly.plan(source={"urls": [nightly.site.url("/red.png")]})
    there, away = nightly.ctx, replace(nightly.ctx, objects=AwayStore(nightly.ctx.settings))
    nightly.shop.ctx = away
    assert nightly.run_at(NIGHT) == 0
    assert (nightly.schedule.next_tick, nightly.schedule.last_skipped) == (NIGHT, None)
    nightly.shop.ctx = there
    assert nightly.run_at(NIGHT + HOUR) == 1
    assert nightly.finish().counters.created == 1


def test_a_schedule_ends_with_its_gallery(nightly: Nightly) -> None:
    nightly.plan()
    galleries.delete(nightly.ctx, nightly.shop.principal, "summer")
    assert nightly.run_at(NIGHT) == 0
    with nightly.ctx.uow() as uow:
        uow.galleries.remove(nightly.shop.gallery.id)
        assert uow.schedules.get(nightly.shop.gallery.id) is None


def test_a_schedule_can_be_replaced_and_removed(nightly: Nightly) -> None:
    nightly.plan()
    nightly.run_at(NIGHT)
    job_id: UUID | None = nightly.schedule.last_job_id
    changed = nightly.plan(cron="30 4 * * MON", mode="mirror")
    assert (changed.cron, changed.params["mode"], changed.last_job_id) == ("30 4 * * MON", "mirror", job_id)
    assert changed.next_tick == datetime(2026, 11, 30, 4, 30, tzinfo=BERLIN)
    schedules.remove(nightly.ctx, nightly.shop.principal, "summer")
    assert nightly.run_at(NIGHT + 30 * DAY) == 0
    with pytest.raises(NotFoundError):
        schedules.remove(nightly.ctx, nightly.shop.principal, "summer")
