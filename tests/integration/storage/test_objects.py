import io
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import BinaryIO, cast
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import urllib3
from pydantic import SecretStr

from cli.local.services import RunningServices
from core.errors import NotFoundError, UnavailableError
from core.settings import Settings
from storage.objects import PART_BYTES, S3ObjectStore

pytestmark = pytest.mark.integration

TEXT = "text/plain"
ANY = "application/octet-stream"


class Slices:
    """A stream of `size` bytes that never exist at once, and that may break off."""

    def __init__(self, size: int, *, breaks_at: int | None = None) -> None:
        self._left = size
        self._breaks_at = breaks_at

    def read(self, size: int = -1) -> bytes:
        if self._breaks_at is not None and self._left <= self._breaks_at:
            raise ConnectionResetError("the client went away")
        taken = min(size, self._left, 100_000)  # less than was asked for, as sockets do
        self._left -= taken
        return b"x" * taken


def test_objects_are_put_overwritten_and_read(object_store: S3ObjectStore) -> None:
    object_store.put("a/b c/ü+%.txt", b"first", media_type=TEXT)
    object_store.put("a/b c/ü+%.txt", b"second", media_type=TEXT)
    object_store.put("empty", b"", media_type=TEXT)
    assert object_store.get("a/b c/ü+%.txt") == b"second"
    assert object_store.get("empty") == b""
    assert object_store.exists("empty")
    assert not object_store.exists("a")


def test_absent_objects_are_not_found(object_store: S3ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        object_store.get("absent")
    with pytest.raises(NotFoundError):
        object_store.open("absent")
    assert not object_store.exists("absent")


@pytest.mark.parametrize("size", [0, 5, PART_BYTES, 2 * PART_BYTES + 1])
def test_a_stream_is_stored_whole(object_store: S3ObjectStore, size: int) -> None:
    assert object_store.put_stream("big", cast(BinaryIO, Slices(size)), media_type=ANY) == size
    with object_store.open("big") as stream:
        assert stream.seek(0, io.SEEK_END) == size
    assert object_store.get("big") == b"x" * size


def test_a_stream_that_breaks_off_leaves_nothing(object_store: S3ObjectStore) -> None:
    broken = cast(BinaryIO, Slices(3 * PART_BYTES, breaks_at=PART_BYTES))
    with pytest.raises(ConnectionResetError, match="went away"):
        object_store.put_stream("big", broken, media_type=ANY)
    assert list(object_store.keys("")) == []


def test_an_open_object_is_a_seekable_file(object_store: S3ObjectStore) -> None:
    data = bytes(range(256)) * 4000
    object_store.put("file", data, media_type=ANY)
    with object_store.open("file") as stream:
        assert stream.readable()
        assert stream.seekable()
        assert stream.read(10) == data[:10]
        assert stream.seek(-20, io.SEEK_END) == len(data) - 20
        assert stream.read(100) == data[-20:]
        assert stream.read(1) == b""
        assert stream.seek(500_000) == 500_000
        assert stream.read(300_000) == data[500_000:800_000]
        assert stream.seek(-10, io.SEEK_CUR) == 799_990
        assert stream.read() == data[799_990:]
        assert stream.seek(len(data) + 5) == len(data) + 5
        assert stream.read(5) == b""
        with pytest.raises(ValueError, match="start"):
            stream.seek(-1)
        stream.seek(0)
        assert b"".join(iter(lambda: stream.read(70_000), b"")) == data


def test_an_archive_is_read_in_place(object_store: S3ObjectStore) -> None:
    entries = {f"{n}.bin": bytes([n]) * 200_000 for n in range(5)}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as writing:
        for name, data in entries.items():
            writing.writestr(name, data)
    object_store.put("archive.zip", archive.getvalue(), media_type="application/zip")
    with object_store.open("archive.zip") as stream, zipfile.ZipFile(stream) as reading:
        assert {name: reading.read(name) for name in reversed(reading.namelist())} == entries


def test_an_object_that_goes_away_while_it_is_read_is_not_found(object_store: S3ObjectStore) -> None:
    object_store.put("file", b"x" * 1_000_000, media_type=ANY)
    with object_store.open("file") as stream:
        stream.read(1)
        object_store.delete(["file"])
        with pytest.raises(NotFoundError):
            stream.read()


def test_many_objects_are_listed_and_deleted(object_store: S3ObjectStore) -> None:
    names = [f"a/{n:04}" for n in range(1005)]
    for name in (*names, "b"):
        object_store.put(name, b"", media_type=ANY)
    assert sorted(object_store.keys("a/")) == names
    object_store.delete([*names, "absent"])
    assert list(object_store.keys("")) == ["b"]
    object_store.delete([])


def test_a_presigned_url_opens_one_object_for_a_while(object_store: S3ObjectStore) -> None:
    object_store.put("a b/ü.txt", b"hello", media_type=TEXT)
    object_store.put("other", b"secret", media_type=TEXT)
    url = object_store.presign_get("a b/ü.txt", expires=timedelta(minutes=1))
    with urllib3.PoolManager() as http:
        answer = http.request("GET", url)
        assert (answer.status, answer.data, answer.headers["Content-Type"]) == (200, b"hello", TEXT)
        assert http.request("GET", url.replace("a%20b/%C3%BC.txt", "other")).status == 403


@pytest.mark.parametrize(
    ("public", "scheme", "host"),
    [
        ("pictures.shop.example", "http", "pictures.shop.example"),
        ("https://cdn.example:8443", "https", "cdn.example:8443"),
    ],
)
def test_presigned_urls_name_the_public_endpoint(
    services: RunningServices, public: str, scheme: str, host: str
) -> None:
    """Nobody answers there, so this also shows that no request is made."""
    store = S3ObjectStore(services.settings.model_copy(update={"s3_public_endpoint": public}))
    url = urlsplit(store.presign_get("key", expires=timedelta(minutes=5)))
    assert (url.scheme, url.netloc, url.path) == (scheme, host, "/setr/key")
    assert "X-Amz-Expires=300" in url.query


def test_the_bucket_is_made_once(services: RunningServices) -> None:
    store = S3ObjectStore(services.settings.model_copy(update={"s3_bucket": "another"}))
    with pytest.raises(UnavailableError, match="does not exist"):
        store.check()
    with pytest.raises(UnavailableError):
        store.put("key", b"", media_type=ANY)
    store.ensure_bucket()
    store.ensure_bucket()
    store.check()
    store.put("key", b"", media_type=ANY)


def test_many_processes_may_make_the_bucket_at_once(services: RunningServices) -> None:
    settings = services.settings.model_copy(update={"s3_bucket": f"contested-{uuid4().hex}"})
    stores = [S3ObjectStore(settings) for _ in range(8)]
    together = threading.Barrier(len(stores))

    def ensure(store: S3ObjectStore) -> None:
        together.wait()
        store.ensure_bucket()

    with ThreadPoolExecutor(len(stores)) as pool:
        list(pool.map(ensure, stores))
    stores[0].check()


def calls_fail(store: S3ObjectStore) -> None:
    for call in (
        store.check,
        store.ensure_bucket,
        lambda: store.get("key"),
        lambda: store.open("key"),
        lambda: store.exists("key"),
        lambda: store.put("key", b"", media_type=ANY),
        lambda: store.put_stream("key", io.BytesIO(b"x"), media_type=ANY),
        lambda: store.delete(["key"]),
        lambda: list(store.keys("")),
    ):
        with pytest.raises(UnavailableError) as caught:
            call()
        assert "minio" not in caught.value.detail.lower()


def test_an_absent_server_is_unavailable() -> None:
    settings = Settings(s3_endpoint="127.0.0.1:1", s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"))
    calls_fail(S3ObjectStore(settings))


def test_wrong_credentials_are_unavailable(services: RunningServices, object_store: S3ObjectStore) -> None:
    object_store.check()
    calls_fail(S3ObjectStore(services.settings.model_copy(update={"s3_secret_key": SecretStr("wrong")})))


def test_a_server_in_trouble_is_unavailable() -> None:
    with _server_in_trouble() as endpoint:
        settings = Settings(s3_endpoint=endpoint, s3_access_key=SecretStr("a"), s3_secret_key=SecretStr("b"))
        calls_fail(S3ObjectStore(settings))


class _Trouble(BaseHTTPRequestHandler):
    def _refuse(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _refuse  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Say nothing."""


@contextmanager
def _server_in_trouble() -> Iterator[str]:
    with HTTPServer(("127.0.0.1", 0), _Trouble) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()
