"""Query batches from the file to the file: real Postgres and S3, the real handlers, scripted models."""

import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, cast
from uuid import UUID, uuid4

import numpy as np
import pytest
from PIL.Image import Image as Picture

from cli.local.services import RunningServices
from core import durable, jobs, queries, querybatches, results
from core.answering import Method
from core.batchfiles import BatchResultHandler
from core.batching import BatchRerankHandler, BatchSearchHandler
from core.context import Context, SystemClock
from core.durable import WorkerSlot
from core.errors import UnavailableError
from core.keys import blob_key
from core.models import EncoderIdentity, Explanation, Gallery, Job, JobState, Principal, Queue, UnitKind, Vectors
from core.ports import (
    Composer,
    Composition,
    CompositionInput,
    Doorbell,
    EncoderRegistry,
    Judge,
    JudgeIdentity,
    RelativeText,
    UnitOfWorkFactory,
)
from core.reranking import Judging, RerankHandler
from core.search import SearchHandler
from core.space import Spaces
from storage.objects import S3ObjectStore
from tests.integration.core.importing import jsonl, picture
from tests.integration.core.test_durable import Bell
from tests.integration.storage import builders

pytestmark = pytest.mark.integration

DIM = 8
IDENTITY = EncoderIdentity("demo", "tiny", "0" * 64, DIM, "none")
QUEUES = (Queue.QUERY, Queue.RERANK, Queue.MAINTENANCE)


@dataclass
class Words:
    """Encoder and registry in one. A text is the number of an image; `calls` are the texts of each call."""

    identity = IDENTITY
    max_text_tokens = 8
    image_size_px = 8
    calls: list[list[str]] = field(default_factory=list)
    deadly: str = ""

    def get(self, name: str) -> "Words":
        del name
        return self

    def fit(self, picture: Picture) -> Picture:
        return picture

    def encode_images(self, pictures: Sequence[Picture]) -> Vectors:
        return np.eye(1, DIM, dtype=np.float32).repeat(len(pictures), axis=0)

    def encode_texts(self, texts: Sequence[str]) -> Vectors:
        if texts and texts[0].isdigit():
            self.calls.append(list(texts))
        if self.deadly and self.deadly in texts:
            raise MemoryError("Right here.")
        places = [int(text) if text.isdigit() else DIM - 1 for text in texts]
        return np.eye(DIM, dtype=np.float32)[places]

    def is_cut(self, text: str) -> bool:
        return len(text) > 2


class ByText:
    """Searches for the text alone, whatever the reference is."""

    def names(self) -> tuple[str, ...]:
        return ("intersection",)

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        del strategy
        wanted = query.text if query.text is not None else query.reference
        assert wanted is not None
        return Composition(wanted[None, :], lambda vectors: vectors @ wanted, Explanation())

    def read(self, text: str) -> RelativeText:
        return RelativeText(wanted=(text,))

    def general_vocabulary(self) -> dict[str, tuple[str, ...]]:
        return {"product": ("dress",), "scene": ("beach",)}


class LastFirst:
    """Likes what stage 1 liked least."""

    identity = JudgeIdentity("none", "0" * 64, 1)
    weight = 1.0

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> Sequence[float]:
        assert text
        assert reference.size
        return [place / len(candidates) for place in range(len(candidates))]


@dataclass
class Shop:
    ctx: Context
    principal: Principal
    gallery: Gallery
    ids: dict[str, UUID]
    encoder: Words

    def submit(self, *lines: Any) -> UUID:
        data = b"".join(line if isinstance(line, bytes) else jsonl(line) for line in lines)
        new = querybatches.NewBatch(self.gallery.name, io.BytesIO(data))
        return querybatches.submit(self.ctx, self.principal, new).id

    def handlers(self) -> dict[UnitKind, durable.Handler]:
        composer = cast("Composer", ByText())
        encoders = cast("EncoderRegistry", self.encoder)
        method = Method(self.ctx, encoders, composer, Spaces(self.ctx, composer))
        judging = Judging(self.ctx, cast("Judge", LastFirst()))
        return {
            UnitKind.SEARCH: SearchHandler(method),
            UnitKind.RERANK: RerankHandler(judging),
            UnitKind.BATCH_SEARCH: BatchSearchHandler(method),
            UnitKind.BATCH_RERANK: BatchRerankHandler(judging),
            UnitKind.BATCH_RESULT: BatchResultHandler(self.ctx),
        }

    def run_one(self, *queues: Queue) -> bool:
        slot = WorkerSlot("worker", queues or QUEUES, lambda: False, lambda: None)
        return durable.run_one(self.ctx, self.handlers(), slot)

    def ended(self, job_id: UUID) -> Job:
        while self.run_one():
            pass
        job = self.job(job_id)
        assert job.state in jobs.TERMINAL, job
        assert job.counters.pending == 0
        return job

    def job(self, job_id: UUID) -> Job:
        return jobs.get(self.ctx, self.principal, job_id)

    def answers(self, job: Job) -> list[dict[str, Any]]:
        assert job.result is not None
        data = self.ctx.objects.get(job.result["key"])
        lines = [json.loads(line) for line in data.splitlines()]
        assert (job.result["lines"], job.result["size_bytes"]) == (len(lines), len(data))
        return lines

    def found(self, line: dict[str, Any]) -> list[str]:
        return [row["external_id"] for row in line["results"]]


@pytest.fixture
def shop(uow_factory: UnitOfWorkFactory, object_store: S3ObjectStore, services: RunningServices) -> Shop:
    settings = services.settings.model_copy(update={"batch_queries": 3})
    ctx = Context(uow_factory, object_store, cast("Doorbell", Bell()), SystemClock(), settings)
    tenant_id = builders.add_tenant(uow_factory)
    gallery = builders.add_gallery(uow_factory, tenant_id)
    names = [f"sku-{number}" for number in range(5)]
    ids = builders.add_images(uow_factory, gallery, names, [{"price": n, "product": n // 2} for n in range(5)])
    object_store.put(blob_key(tenant_id, builders.blob().sha256), picture("red"), media_type="image/png")
    vectors = np.eye(5, DIM, dtype=np.float32) + 0.1 * np.arange(5, 0, -1, dtype=np.float32)[:, None] / 5
    builders.add_active_index(
        uow_factory, gallery, IDENTITY, {ids[name]: vectors[number] for number, name in enumerate(names)}
    )
    return Shop(ctx, Principal(tenant_id, uuid4(), frozenset()), gallery, ids, Words())


def test_answers_come_in_the_order_of_the_questions(shop: Shop) -> None:
    job = shop.ended(
        shop.submit(
            {"id": "first", "text": "3", "top_k": 2},
            b"\n",
            {"text": "0", "top_k": 1},
            b"nonsense\n",
            {"id": 9, "text": "1", "filter": {"price": {"gte": 3}}},
            {"reference": {"external_id": "sku-2"}, "top_k": 1},
            {"id": "gone", "reference": {"external_id": "sku-9"}},
            {"id": "bad", "text": "1", "top_k": 0},
            {"text": "4", "group_by": "product", "top_k": 9},
        )
    )
    assert job.state is JobState.PARTIALLY_SUCCEEDED
    assert (job.counters.total, job.counters.created, job.counters.failed) == (8, 5, 3)
    lines = shop.answers(job)
    assert [line["line"] for line in lines] == [1, 3, 4, 5, 6, 7, 8, 9]
    assert [line.get("id") for line in lines] == ["first", None, None, 9, None, "gone", "bad", None]
    assert [line["error"]["code"] for line in lines if "error" in line] == [
        "invalid_json",
        "not_found",
        "invalid_input",
    ]
    good = [line for line in lines if "error" not in line]
    assert [shop.found(line)[0] for line in good[:3]] == ["sku-3", "sku-0", "sku-3"]
    assert {row["attributes"]["price"] for row in good[2]["results"]} == {3, 4}
    assert "sku-2" not in shop.found(good[3])
    assert [row["group"] for row in good[4]["results"]] == [2, 0, 1]
    with shop.ctx.uow() as uow:
        items = uow.items.page(job.id, outcome=None, size=9, after=None).items
    assert {(item.external_id, item.source, item.code) for item in items} == {
        ("", "line 4", "invalid_json"),
        ("gone", "line 7", "not_found"),
        ("bad", "line 8", "invalid_input"),
    }


def test_a_line_finds_what_the_single_query_finds(shop: Shop) -> None:
    """And texts of many lines are encoded by one call."""
    text = {"text": "2", "top_k": 3, "explain": True}
    batch = shop.ended(shop.submit(text, {"text": "1"}, {"text": "0"}))
    assert ["2", "1", "0"] in shop.encoder.calls
    (line, *_) = shop.answers(batch)
    new = queries.NewQuery(text="2", top_k=3, explain=True)
    single = results.of_query(
        shop.ctx, shop.ended(queries.submit(shop.ctx, shop.principal, "summer", new).id), signed=False
    )
    assert single is not None
    urls = {"image_url": None, "thumbnail_url": None}
    assert [{**row, **urls} for row in line["results"]] == single["results"]
    assert {name: line[name] for name in ("reranked", "reason", "strategy", "index_id", "explanation")} == {
        name: single[name] for name in ("reranked", "reason", "strategy", "index_id", "explanation")
    }
    assert line["warnings"] == []


def test_only_lines_that_ask_for_it_wait_for_the_judge(shop: Shop) -> None:
    composed = {"reference": {"external_id": "sku-4"}, "text": "1", "top_k": 4}
    job_id = shop.submit({**composed, "rerank": {"depth": 3}}, composed, {**composed, "rerank": True})
    assert shop.run_one(Queue.QUERY)
    assert shop.job(job_id).counters.created == 1
    assert not shop.run_one(Queue.MAINTENANCE)
    job = shop.ended(job_id)
    first, second, third = shop.answers(job)
    assert (first["reranked"], second["reranked"], third["reranked"]) == (True, False, True)
    coarse = shop.found(second)
    assert shop.found(first) == [*coarse[2::-1], coarse[3]]
    assert shop.found(third) == coarse[::-1]
    assert [row["rerank"] is None for row in first["results"]] == [False, False, False, True]


def test_a_death_after_the_answers_were_stored_counts_them_once(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    job_id = shop.submit(*({"text": str(number % 5), "top_k": 1} for number in range(7)))
    put = shop.ctx.objects.put

    def dies(key: str, data: bytes, *, media_type: str) -> None:
        put(key, data, media_type=media_type)
        raise UnavailableError("Right here.")

    with monkeypatch.context() as patch:
        patch.setattr(shop.ctx.objects, "put", dies)
        assert shop.run_one(Queue.QUERY)
    assert shop.job(job_id).counters.created == 0
    while shop.job(job_id).state is not JobState.SUCCEEDED:
        shop.run_one()
    assert [shop.found(line) for line in shop.answers(shop.job(job_id))] == [[f"sku-{n % 5}"] for n in range(7)]
    with shop.ctx.uow() as uow:
        assert sum(part.lines for part in uow.batch_parts.list(job_id)) == 7


def test_a_query_that_kills_its_workers_fails_alone(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(durable, "STRIKE_DELAY", timedelta(0))
    shop.encoder.deadly = "2"
    job = shop.ended(shop.submit({"text": "1"}, {"id": "deadly", "text": "2"}, {"text": "3"}, {"text": "4"}))
    assert (job.state, job.counters.created, job.counters.failed) == (JobState.PARTIALLY_SUCCEEDED, 3, 1)
    lines = shop.answers(job)
    assert [line["line"] for line in lines] == [1, 2, 3, 4]
    assert (lines[1]["id"], lines[1]["error"]["code"]) == ("deadly", "poison")


def test_a_cancel_keeps_what_was_answered_and_counts_the_rest(shop: Shop) -> None:
    job_id = shop.submit(*({"text": "1"} for _ in range(7)))
    assert shop.run_one(Queue.QUERY)
    jobs.cancel(shop.ctx, shop.principal, job_id)
    job = shop.ended(job_id)
    assert (job.state, job.counters.created, job.counters.canceled) == (JobState.CANCELED, 3, 4)
    assert job.result is None


def test_somebody_at_a_screen_goes_first(shop: Shop) -> None:
    batch = shop.submit({"text": "1"}, {"text": "2"})
    single = queries.submit(shop.ctx, shop.principal, "summer", queries.NewQuery(text="3")).id
    assert shop.run_one(Queue.QUERY)
    assert shop.job(single).state is JobState.SUCCEEDED
    assert shop.job(batch).state is JobState.QUEUED
    assert shop.ended(batch).state is JobState.SUCCEEDED


def test_lines_that_are_all_wrong_still_have_a_file(shop: Shop) -> None:
    job = shop.ended(shop.submit(b"{}\n", b"{}\n"))
    assert job.state is JobState.FAILED
    assert [line["error"]["code"] for line in shop.answers(job)] == ["invalid_input", "invalid_input"]


def test_a_deleted_gallery_ends_the_batch(shop: Shop) -> None:
    job_id = shop.submit({"text": "1"})
    with shop.ctx.uow() as uow:
        gallery = uow.galleries.by_id(shop.gallery.id)
        assert gallery is not None
        uow.galleries.update(replace(gallery, deleting=True))
        uow.commit()
    job = shop.ended(job_id)
    assert (job.state, job.counters.canceled) == (JobState.FAILED, 1)
    assert job.error is not None
    assert job.error["code"] == "not_found"
