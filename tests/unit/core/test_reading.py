"""Reading a batch's items: what is not fetched again, how many at once, and for how long."""

import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from types import SimpleNamespace
from typing import cast

import pytest

from core.context import Context
from core.errors import ItemError, TemporaryItemError
from core.ids import new_id
from core.items import Place, PlannedItem, Remote
from core.models import RemoteVersion
from core.ports import Fetch, Fetched, Fetcher, NotModified, SourceBuckets, StoredImage, Validators
from core.reading import Arrived, Known, Missed, Read, Reader, Remotes
from core.settings import MEBIBYTE, Settings
from tests.unit.api.fakes import FakeObjects

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
THREADS = 3


class Clock:
    def __init__(self) -> None:
        self.moment = NOW

    def now(self) -> datetime:
        return self.moment


class Web:
    """Pages by URL; notes what it was asked, and how often at once."""

    def __init__(
        self, clock: Clock, pages: Mapping[str, Fetch | ItemError], *, takes: timedelta = timedelta(0)
    ) -> None:
        self.clock, self.pages, self.takes = clock, pages, takes
        self.asked: list[tuple[str, Validators | None]] = []
        self.lock = threading.Lock()

    def get(self, url: str, *, max_bytes: int, known: Validators | None = None) -> Fetch:
        assert max_bytes > 0
        with self.lock:
            self.asked.append((url, known))
            self.clock.moment += self.takes
        page = self.pages[url]
        if isinstance(page, ItemError):
            raise page
        return page

    def read(self, bucket: str, key: str, *, max_bytes: int, known_etag: str = "") -> Fetch:
        return self.get(f"s3://{bucket}/{key}", max_bytes=max_bytes, known=Validators(known_etag))


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(THREADS) as threads:
        yield threads


def item(name: str, url: str = "", *, etag: str = "") -> PlannedItem:
    return PlannedItem(name, None, name, Remote(url or f"http://a/{name}", etag))


def page(data: bytes, etag: str = "") -> Fetched:
    return Fetched("", data, "", Validators(etag))


def stored(data: bytes) -> StoredImage:
    return StoredImage(new_id(), sha256(data).hexdigest(), {}, new_id(), 1)


def read(
    pool: ThreadPoolExecutor,
    web: Web,
    items: list[PlannedItem],
    known: Known | None = None,
    *,
    objects: FakeObjects | None = None,
) -> list[Read]:
    settings = Settings(fetch_threads=THREADS, batch_limit_s=40)
    ctx = cast("Context", SimpleNamespace(settings=settings, clock=web.clock, objects=objects))
    remotes = Remotes(cast("Fetcher", web), cast("SourceBuckets", web))
    with Reader(ctx, remotes, pool, known or Known({}, {})) as reader:
        return list(reader.read(items))


def test_new_content_arrives_with_its_version(pool: ThreadPoolExecutor) -> None:
    web = Web(Clock(), {"http://a/1": page(b"x", "tag"), "http://a/2": page(b"y")})
    one, two = read(pool, web, [item("1"), item("2")])
    digest = sha256(b"x").hexdigest()
    assert one == Arrived(item("1"), digest, b"x", RemoteVersion("http://a/1", "tag", "", digest))
    assert two == Arrived(item("2"), sha256(b"y").hexdigest(), b"y", None)
    assert [known for _, known in web.asked] == [None, None]


def test_known_content_is_asked_for_by_its_version(pool: ThreadPoolExecutor) -> None:
    version = RemoteVersion("http://a/1", "tag", "then", sha256(b"x").hexdigest())
    web = Web(Clock(), {"http://a/1": NotModified()})
    (one,) = read(pool, web, [item("1")], Known({"1": stored(b"x")}, {"1": version}))
    assert one == Arrived(item("1"), version.sha256)
    assert web.asked == [("http://a/1", Validators("tag", "then"))]


@pytest.mark.parametrize(
    ("image", "url"), [(stored(b"other"), "http://a/1"), (None, "http://a/1"), (stored(b"x"), "http://a/elsewhere")]
)
def test_a_version_counts_for_its_address_and_its_picture_only(
    pool: ThreadPoolExecutor, image: StoredImage | None, url: str
) -> None:
    version = RemoteVersion(url, "tag", "", sha256(b"x").hexdigest())
    web = Web(Clock(), {"http://a/1": page(b"x")})
    read(pool, web, [item("1")], Known({"1": image} if image else {}, {"1": version}))
    assert web.asked == [("http://a/1", None)]


def test_content_that_is_there_already_is_not_held(pool: ThreadPoolExecutor) -> None:
    web = Web(Clock(), {"http://a/1": page(b"x")})
    (one,) = read(pool, web, [item("1")], Known({"1": stored(b"x")}, {}))
    assert one == Arrived(item("1"), sha256(b"x").hexdigest(), b"")


def test_a_listing_can_say_that_nothing_changed(pool: ThreadPoolExecutor) -> None:
    version = RemoteVersion("s3://b/1", "tag", "", sha256(b"x").hexdigest())
    known = Known({"1": stored(b"x")}, {"1": version})
    web = Web(Clock(), {"s3://b/1": page(b"new", "other")})
    (same,) = read(pool, web, [item("1", "s3://b/1", etag="tag")], known)
    assert same == Arrived(item("1", "s3://b/1", etag="tag"), version.sha256)
    assert web.asked == []
    (changed,) = read(pool, web, [item("1", "s3://b/1", etag="other")], known)
    assert isinstance(changed, Arrived)
    assert changed.data == b"new"


def test_one_failure_does_not_stop_the_others(pool: ThreadPoolExecutor) -> None:
    error = TemporaryItemError("url_timeout", "slow")
    web = Web(Clock(), {f"http://a/{number}": page(b"x") for number in range(9)} | {"http://a/4": error})
    results = read(pool, web, [item(str(number)) for number in range(9)])
    assert [one.item.external_id for one in results] == [str(number) for number in range(9)]
    assert [one for one in results if isinstance(one, Missed)] == [Missed(item("4"), error)]


def test_a_batch_that_takes_long_leaves_the_rest_for_another(pool: ThreadPoolExecutor) -> None:
    clock = Clock()
    web = Web(clock, {f"http://a/{number}": page(b"x") for number in range(20)}, takes=timedelta(seconds=4))
    results = read(pool, web, [item(str(number)) for number in range(20)])
    left = [one.error for one in results if isinstance(one, Missed)]
    # A quarter of the batch's limit is 10 s; threads that looked at the clock before may still begin.
    assert 3 <= len(web.asked) <= 3 + THREADS
    assert len(left) == 20 - len(web.asked)
    assert all(isinstance(error, TemporaryItemError) and not error.attempted for error in left)


def test_a_stored_file_too_large_is_not_read(pool: ThreadPoolExecutor) -> None:
    large = PlannedItem("1", None, "1", Place("key", 10**10))
    (one,) = read(pool, Web(Clock(), {}), [large])
    assert isinstance(one, Missed)
    assert one.error.item_code == "file_too_large"


def test_a_stored_file_is_bounded_by_what_is_there_too(pool: ThreadPoolExecutor) -> None:
    """Whoever has a presigned URL may have put something larger since."""
    objects = FakeObjects({"key": bytes(Settings().max_image_mib * MEBIBYTE + 1)})
    (one,) = read(pool, Web(Clock(), {}), [PlannedItem("1", None, "1", Place("key", 1))], objects=objects)
    assert isinstance(one, Missed)
    assert one.error.item_code == "file_too_large"
