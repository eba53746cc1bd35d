"""Fetching the reference of a query: what is stored, and which code says that there is nothing to store."""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from PIL import Image as Pillow

from core.context import Context
from core.errors import ItemError, NotFoundError, TemporaryItemError
from core.models import Counters, Job, JobKind, JobStage, JobState, NewUnit, Queue, UnitKind
from core.ports import Fetch, Fetched, Fetcher, NotModified, Validators
from core.references import ReferenceHandler
from core.settings import MEBIBYTE, Settings

NOW = datetime(2026, 11, 23, tzinfo=UTC)
URL, KEY = "https://shop.example/1.jpg", "tenants/t/uploads/j/0"
TENANT, GALLERY, JOB = (UUID(int=n) for n in range(1, 4))


def jpeg(width: int, height: int) -> bytes:
    out = BytesIO()
    Pillow.new("RGB", (width, height), "red").save(out, "JPEG")
    return out.getvalue()


class Site:
    """Fetcher and object store in one."""

    def __init__(self, answer: Fetch | ItemError) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []
        self.stored: dict[str, bytes] = {}

    def get(self, url: str, *, max_bytes: int, known: Validators | None = None) -> Fetch:
        assert known is None
        self.asked.append((url, max_bytes))
        if isinstance(self.answer, ItemError):
            raise self.answer
        return self.answer

    def put(self, key: str, data: bytes, *, media_type: str) -> None:
        assert media_type
        self.stored[key] = data


def page(data: bytes) -> Fetched:
    return Fetched(URL, data, "text/html", Validators())


def job(**params: Any) -> Job:
    query = {"rerank": None, "reference_region": None, "reference_url": URL, "reference_object_key": KEY} | params
    states = (JobKind.QUERY, JobState.RUNNING, JobStage.FETCHING)
    return Job(
        JOB,
        TENANT,
        *states,
        GALLERY,
        "shop",
        query,
        Counters(total=0),
        None,
        None,
        (),
        1,
        NOW,
        NOW,
        None,
        NOW + timedelta(1),
    )


def run(site: Site, query: Job) -> Any:
    settings = Settings(max_reference_mib=3, max_image_megapixels=1, max_jpeg_megapixels=1)
    ctx = cast("Context", SimpleNamespace(objects=site, settings=settings))
    unit: Any = None
    return ReferenceHandler(ctx, cast("Fetcher", site)).open(unit, query).compute(0, 1)


def test_what_the_url_shows_becomes_the_reference_and_the_search_follows() -> None:
    site = Site(page(jpeg(30, 20)))
    batch = run(site, job())
    assert site.asked == [(URL, 3 * MEBIBYTE)]
    assert site.stored == {KEY: jpeg(30, 20)}
    added: list[NewUnit] = []
    assert batch.write(SimpleNamespace(units=SimpleNamespace(add=added.extend))) == ()
    assert [(unit.kind, unit.queue, unit.job_id) for unit in added] == [(UnitKind.SEARCH, Queue.QUERY, JOB)]
    assert batch.rings() == (Queue.QUERY,)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (page(b"<!doctype html><html></html>"), "not_an_image"),
        (page(b""), "empty_file"),
        (page(jpeg(2000, 1000)), "too_many_pixels"),
        (NotModified(), "url_failed"),
        (ItemError("url_refused", "no"), "url_refused"),
        (TemporaryItemError("url_timeout", "slow"), "url_timeout"),
    ],
)
def test_what_is_no_reference_fails_with_the_codes_of_imports_and_stores_nothing(
    answer: Fetch | ItemError, code: str
) -> None:
    site = Site(answer)
    with pytest.raises(ItemError) as caught:
        run(site, job())
    assert caught.value.item_code == code
    assert site.stored == {}


def test_a_query_without_a_url_has_nothing_to_fetch() -> None:
    with pytest.raises(NotFoundError):
        run(Site(page(jpeg(1, 1))), job(reference_url=None))
