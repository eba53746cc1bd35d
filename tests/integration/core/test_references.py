"""Queries whose reference is a URL, from submission to the judge: real Postgres, S3 and a real web server."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL.Image import Image as Picture
from sqlalchemy import Engine

from cli.local.services import RunningServices
from core import durable, queries, results, upkeep
from core.answering import Method
from core.context import Context, SystemClock
from core.durable import WorkerSlot
from core.keys import uploads_prefix
from core.models import Explanation, Job, JobState, Queue, UnitKind, Vectors
from core.ports import Composition, CompositionInput, JudgeIdentity, RelativeText, UnitOfWorkFactory
from core.queries import NewQuery, Reference
from core.references import ReferenceHandler
from core.reranking import Judging, RerankHandler
from core.search import SearchHandler
from core.space import Spaces
from storage.objects import S3ObjectStore
from storage.web.fetcher import HttpFetcher
from tests.integration.core.importing import MeanColour, Shop, open_shop, picture
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders
from tests.web import WebServer, web_server

pytestmark = pytest.mark.integration

QUEUES = (Queue.MAINTENANCE, Queue.QUERY, Queue.RERANK)
WHOLE, RIGHT_HALF = None, (0.5, 0.0, 0.5, 1.0)


class Reading(MeanColour):
    """Reads no word, but does not mind any."""

    def get(self, name: str) -> "Reading":
        del name
        return self

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        return np.tile(np.array([0, 0, 1], np.float32), (len(texts), 1))

    def is_cut(self, text: str) -> bool:
        del text
        return False


class ByReference:
    """Composes every query to its reference alone."""

    def names(self) -> tuple[str, ...]:
        return ("sum",)

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        del strategy
        reference = query.reference
        assert reference is not None
        return Composition(reference[None, :], lambda vectors: vectors @ reference, Explanation())

    def read(self, text: str) -> RelativeText:
        del text
        return RelativeText()

    def general_vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {"product": ("dress",), "scene": ("beach",)}


@dataclass
class Patient:
    """A judge that notes the references it is shown, and what it is asked for."""

    identity = JudgeIdentity("none", "0" * 64, 1)
    weight = 0.5
    seen: list[tuple[tuple[int, int], Any]] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> Sequence[float]:
        self.heard.append(text)
        self.seen.append((reference.size, reference.getpixel((0, 0))))
        return [0.5] * len(candidates)


@dataclass
class World:
    shop: Shop
    site: WebServer
    judge: Patient

    def submit(self, path: str, **query: Any) -> UUID:
        region = query.pop("region", None)
        url = path if "://" in path else self.site.url(path)
        new = NewQuery(Reference(url=url, region=region), strategy="sum", **query)
        return queries.submit(self.shop.ctx, self.shop.principal, self.shop.gallery.name, new).id

    def run_one(self) -> bool:
        slot = WorkerSlot("worker", QUEUES, lambda: False, lambda: None)
        return durable.run_one(self.shop.ctx, self.shop.handlers, slot)

    def asked(self, path: str, **query: Any) -> Job:
        job_id = self.submit(path, **query)
        while self.run_one():
            pass
        return self.shop.job(job_id)

    def found(self, job: Job) -> list[str]:
        return [row["external_id"] for row in (results.of_query(self.shop.ctx, job, signed=False) or {})["results"]]

    def uploads(self) -> list[str]:
        prefix = uploads_prefix(self.shop.principal.tenant_id)
        kept = self.shop.ctx.objects
        return [key for key in kept.keys(prefix) if kept.get(key) == self.site.pages.get("/red.png")]


@pytest.fixture
def world(
    uow_factory: UnitOfWorkFactory, engine: Engine, services: RunningServices, object_store: S3ObjectStore
) -> Iterator[World]:
    with web_server() as site:
        changes = {"fetch_networks": "127.0.0.1", "fetch_ports": str(site.port)}
        settings = services.settings.model_copy(update=changes)
        ctx = Context(uow_factory, object_store, Bell(), SystemClock(), settings)
        shop = open_shop(ctx, engine, builders.add_tenant(uow_factory))
        shop.imported({f"{colour}.png": picture(colour, side_px=24) for colour in ("red", "orange", "blue")})
        site.pages["/red.png"] = picture("red")
        judge, composer, web = Patient(), ByReference(), HttpFetcher(settings)
        shop.handlers[UnitKind.REFERENCE] = ReferenceHandler(ctx, web)
        shop.handlers[UnitKind.SEARCH] = SearchHandler(Method(ctx, Reading(), composer, Spaces(ctx, composer)))
        shop.handlers[UnitKind.RERANK] = RerankHandler(Judging(ctx, judge))
        yield World(shop, site, judge)
        web.close()


def test_the_judge_hears_the_text_and_what_must_not_be_there(world: World) -> None:
    world.asked("/red.png", text="longer")
    world.asked("/red.png", text="longer", negative_text="striped")
    assert world.judge.heard == ["longer", "longer, but not striped"]


@pytest.mark.parametrize(("region", "size"), [(WHOLE, (16, 16)), (RIGHT_HALF, (8, 16))])
def test_both_stages_see_what_was_fetched_once(world: World, region: Any, size: tuple[int, int]) -> None:
    job = world.asked("/red.png", text="longer", region=region)
    assert job.state is JobState.SUCCEEDED
    assert job.result is not None
    assert (job.result["reranked"], job.result["reason"]) == (True, None)
    assert world.found(job) == ["red.png", "orange.png", "blue.png"]
    assert world.judge.seen == [(size, (255, 0, 0))]
    assert world.site.asked == [("GET", "/red.png")]


def test_the_same_file_in_the_gallery_is_the_reference_itself(world: World) -> None:
    world.site.pages["/same.png"] = picture("red", side_px=24)
    assert world.found(world.asked("/same.png")) == ["orange.png", "blue.png"]
    assert world.found(world.asked("/same.png", include_reference=True))[0] == "red.png"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/none.png", "url_not_found"),
        ("/page.png", "not_an_image"),
        ("/cut.png", "truncated_image"),
        ("/moved.png", "url_refused"),
        ("http://169.254.169.254/latest/meta-data", "url_refused"),
        ("http://[::1]/1.png", "url_refused"),
        ("http://127.0.0.1:22/1.png", "url_refused"),
    ],
)
def test_a_url_without_a_picture_fails_the_query_with_its_code(world: World, path: str, code: str) -> None:
    world.site.pages |= {
        "/page.png": b"<!doctype html><html></html>",
        "/cut.png": picture("red", side_px=200)[:120],
        "/moved.png": lambda exchange: exchange.reply(302, headers={"Location": "http://10.0.0.1/"}),
    }
    job = world.asked(path, text="longer")
    assert job.state is JobState.FAILED
    assert job.error is not None
    assert (job.error["code"], bool(job.error["detail"])) == (code, True)


def test_a_worker_that_dies_before_its_commit_costs_one_more_fetch(world: World) -> None:
    job_id = world.submit("/red.png", text="longer")
    with world.shop.ctx.uow() as uow:
        unit = uow.units.claim([Queue.MAINTENANCE], worker="dying", lease=timedelta(seconds=-1))
        uow.commit()
    assert unit is not None
    world.shop.handlers[UnitKind.REFERENCE].open(unit, world.shop.job(job_id)).compute(0, 1)
    with world.shop.ctx.uow() as uow:
        assert len(uow.units.free_expired()) == 1
        uow.commit()
    while world.run_one():
        pass
    assert world.shop.job(job_id).state is JobState.SUCCEEDED
    assert world.site.bodies == ["/red.png", "/red.png"]
    assert len(world.uploads()) == 1


def test_what_was_fetched_goes_with_the_query(world: World) -> None:
    world.asked("/red.png")
    assert len(world.uploads()) == 1

    @dataclass
    class Tomorrow:
        def now(self) -> datetime:
            return datetime.now(UTC) + timedelta(hours=25)

    later = replace(world.shop.ctx, clock=Tomorrow())
    assert upkeep.expire_jobs(later, lambda: False) == 1
    assert world.uploads() == []
