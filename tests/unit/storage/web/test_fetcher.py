"""Fetching from a real server: redirects, rebinding, sizes, time, retries, manners."""

import gzip
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from core.errors import ItemError, TemporaryItemError
from core.ports import Fetched, NotModified, Validators
from core.settings import Settings
from storage.web import fetcher as module
from storage.web.addresses import Resolver, resolve
from storage.web.fetcher import HttpFetcher
from tests.web import Exchange, WebServer, web_server

LIMIT = 100_000


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        yield server


@pytest.fixture(autouse=True)
def _brief_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.001)


Make = Callable[..., HttpFetcher]


@pytest.fixture
def make(site: WebServer) -> Iterator[Make]:
    """Makes fetchers that may reach the server; closed at the end."""
    made: list[HttpFetcher] = []

    def build(*, resolver: Resolver = resolve, **changes: Any) -> HttpFetcher:
        allowed = {"fetch_networks": "127.0.0.1", "fetch_ports": f"80,{site.port}"}
        made.append(HttpFetcher(Settings(**(allowed | changes)), resolver=resolver))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture
def fetcher(make: Make) -> HttpFetcher:
    return make()


def refusal(fetcher: HttpFetcher, url: str) -> ItemError:
    with pytest.raises(ItemError) as caught:
        fetcher.get(url, max_bytes=LIMIT)
    return caught.value


def test_a_body_arrives_with_its_version(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a b/ü.jpg"] = b"never asked for in this spelling"
    site.pages["/a%20b/%C3%BC.jpg"] = b"a picture"
    answer = fetcher.get(site.url("/a%20b/ü.jpg?size=1"), max_bytes=LIMIT)
    assert isinstance(answer, Fetched)
    assert (answer.data, answer.media_type) == (b"a picture", "image/jpeg")
    assert answer.validators.etag
    assert site.asked == [("GET", "/a%20b/%C3%BC.jpg?size=1")]
    assert site.headers[0]["host"] == f"127.0.0.1:{site.port}"
    assert site.headers[0]["accept-encoding"] == "identity"


def test_what_did_not_change_is_not_sent_again(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a.jpg"] = b"a picture"
    first = fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT)
    assert isinstance(first, Fetched)
    assert isinstance(fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT, known=first.validators), NotModified)
    assert site.bodies == ["/a.jpg"]


def test_last_modified_is_given_back_as_it_came(site: WebServer, fetcher: HttpFetcher) -> None:
    known = Validators(last_modified="Mon, 23 Nov 2026 12:00:00 GMT")
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(304)
    assert isinstance(fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT, known=known), NotModified)
    assert site.headers[0]["if-modified-since"] == known.last_modified


@pytest.mark.parametrize("stored", [Validators(etag='"é"'), Validators(last_modified="Mon, 23 Nov 2026 12:00 é")])
def test_a_version_that_cannot_be_sent_back_is_not(site: WebServer, fetcher: HttpFetcher, stored: Validators) -> None:
    site.pages["/a.jpg"] = b"a picture"
    assert isinstance(fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT, known=stored), Fetched)
    assert not {"if-none-match", "if-modified-since"} & set(site.headers[0])


@pytest.mark.parametrize("zone", ["+9999", "-9999", "+0000"])
def test_a_retry_after_of_no_time_at_all_is_none(site: WebServer, fetcher: HttpFetcher, zone: str) -> None:
    site.pages["/hook"] = lambda exchange: exchange.reply(
        503, headers={"Retry-After": f"Mon, 01 Jan 0001 00:00:00 {zone}"}
    )
    assert fetcher.post(site.url("/hook"), b"{}", headers={}).retry_after_s in {None, 0.0}


def test_a_redirect_to_nowhere_is_a_bad_url(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(302, headers={"Location": "http://["})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "bad_url"


def test_a_304_to_an_unconditional_request_is_no_answer(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(304)
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_failed"


def test_connections_are_kept(site: WebServer, fetcher: HttpFetcher) -> None:
    peers = set()

    def note(exchange: Exchange) -> None:
        peers.add(exchange.client_address)
        exchange.reply(200, b"x")

    site.pages["/a.jpg"] = note
    for _ in range(3):
        fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT)
    assert len(peers) == 1


def test_connections_are_kept_when_nothing_changed(site: WebServer, fetcher: HttpFetcher) -> None:
    """A nightly manifest is mostly that: a handshake for each picture would be most of the night."""
    peers = set()

    def note(exchange: Exchange) -> None:
        peers.add(exchange.client_address)
        exchange.reply(304, headers={"ETag": '"1"'})

    site.pages["/a.jpg"] = note
    for _ in range(3):
        assert fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT, known=Validators('"1"')) == NotModified()
    assert len(peers) == 1


# where a request may go


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]", "[::1]"])
def test_this_machine_is_out_of_reach_in_every_spelling(site: WebServer, make: Make, host: str) -> None:
    error = refusal(make(fetch_networks=""), site.url("/secret", host=host))
    assert error.item_code == "url_refused"
    assert site.asked == []


def test_a_redirect_to_a_private_address_is_refused(site: WebServer, fetcher: HttpFetcher) -> None:
    target = "http://169.254.169.254/latest/meta-data/"
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(302, headers={"Location": target})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_refused"


@pytest.mark.parametrize(
    "target", ["ftp://127.0.0.1/x", "file:///etc/passwd", "http://user:pw@127.0.0.1/", "http://127.0.0.1:22/"]
)
def test_a_redirect_is_checked_like_a_url(site: WebServer, fetcher: HttpFetcher, target: str) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(302, headers={"Location": target})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_refused"


def test_a_host_that_moves_to_a_private_address_is_refused_there(site: WebServer, make: Make) -> None:
    answers = iter([["127.0.0.1"], ["10.0.0.7"]])
    asked: list[str] = []

    def rebinding(host: str, port: int) -> Sequence[str]:
        assert port == site.port
        asked.append(host)
        return next(answers)

    def once(exchange: Exchange) -> None:
        exchange.close_connection = True
        exchange.reply(200, b"x", {"Connection": "close"})

    site.pages["/a.jpg"] = once
    fetcher = make(resolver=rebinding)
    url = site.url("/a.jpg", host="shop.example")
    assert fetcher.get(url, max_bytes=LIMIT) == Fetched(url, b"x", "", Validators())
    assert refusal(fetcher, url).item_code == "url_refused"
    # One look-up a connection: the address that was checked is the one that was used.
    assert asked == ["shop.example", "shop.example"]
    assert site.headers[0]["host"] == f"shop.example:{site.port}"


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("https://127.0.0.1:22/", "url_refused"),
        ("gopher://127.0.0.1/", "url_refused"),
        ("http://user@127.0.0.1/", "url_refused"),
        ("nonsense", "url_refused"),
        ("http://", "bad_url"),
        ("http://a b/", "bad_url"),
    ],
)
def test_urls_that_are_not_fetched(fetcher: HttpFetcher, url: str, code: str) -> None:
    assert refusal(fetcher, url).item_code == code


# redirects


def test_redirects_are_followed(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/old"] = lambda exchange: exchange.reply(301, headers={"Location": "new/../a.jpg"})
    site.pages["/a.jpg"] = b"a picture"
    answer = fetcher.get(site.url("/old"), max_bytes=LIMIT)
    assert isinstance(answer, Fetched)
    assert (answer.url, answer.data) == (site.url("/a.jpg"), b"a picture")


def test_redirects_end(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/round"] = lambda exchange: exchange.reply(302, headers={"Location": "/round"})
    assert refusal(fetcher, site.url("/round")).item_code == "url_failed"
    assert len(site.asked) == module.MAX_REDIRECTS + 1


# sizes


def test_a_length_beyond_the_limit_is_refused_unread(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(200, headers={"Content-Length": str(10**12)})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_too_large"


def test_a_body_without_a_length_is_cut_off_at_the_limit(site: WebServer, fetcher: HttpFetcher) -> None:
    sent = []

    def endless(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        try:
            while True:
                exchange.wfile.write(b"1000\r\n" + b"x" * 0x1000 + b"\r\n")
                sent.append(0x1000)
        except OSError:
            exchange.close_connection = True

    site.pages["/a.jpg"] = endless
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_too_large"


def test_a_body_shorter_than_it_says_is_no_body(site: WebServer, fetcher: HttpFetcher) -> None:
    def short(exchange: Exchange) -> None:
        exchange.close_connection = True
        exchange.reply(200, b"half", {"Content-Length": "8"})

    site.pages["/a.jpg"] = short
    error = refusal(fetcher, site.url("/a.jpg"))
    assert isinstance(error, TemporaryItemError)
    assert error.item_code == "url_unavailable"
    assert len(site.asked) == module.ATTEMPTS


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_compressed_body_is_unpacked(site: WebServer, fetcher: HttpFetcher, encoding: str) -> None:
    packed = gzip.compress(b"a picture") if encoding == "gzip" else zlib.compress(b"a picture")
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(200, packed, {"Content-Encoding": encoding})
    answer = fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT)
    assert isinstance(answer, Fetched)
    assert answer.data == b"a picture"


def test_a_gzip_bomb_is_refused(site: WebServer, fetcher: HttpFetcher) -> None:
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < LIMIT
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(200, bomb, {"Content-Encoding": "gzip"})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_too_large"


@pytest.mark.parametrize(
    ("encoding", "body"), [("gzip", b"no gzip"), ("gzip", gzip.compress(b"cut")[:-3]), ("br", b"x")]
)
def test_a_body_that_cannot_be_unpacked(site: WebServer, fetcher: HttpFetcher, encoding: str, body: bytes) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(200, body, {"Content-Encoding": encoding})
    assert refusal(fetcher, site.url("/a.jpg")).item_code == "url_failed"


# time and retries


@pytest.mark.parametrize("part", ["headers", "body"])
def test_a_server_that_drips_is_left_in_time(site: WebServer, make: Make, part: str) -> None:
    over = threading.Event()

    def drip(exchange: Exchange) -> None:
        exchange.close_connection = True
        start = b"HTTP/1.1 200 OK\r\n" + (b"X: " if part == "headers" else b"Content-Length: 50000\r\n\r\n")
        try:
            exchange.wfile.write(start)
            while not over.wait(0.02):
                exchange.wfile.write(b"x")
                exchange.wfile.flush()
        except OSError:
            over.set()

    site.pages["/a.jpg"] = drip
    error = refusal(make(fetch_timeout_s=0.3), site.url("/a.jpg"))
    over.set()
    assert isinstance(error, TemporaryItemError)
    assert error.item_code == "url_timeout"


def test_a_busy_server_is_asked_again(site: WebServer, fetcher: HttpFetcher) -> None:
    answers = iter([429, 503])

    def busy_at_first(exchange: Exchange) -> None:
        status = next(answers, 200)
        exchange.reply(status, b"x", {"Retry-After": "0"})

    site.pages["/a.jpg"] = busy_at_first
    answer = fetcher.get(site.url("/a.jpg"), max_bytes=LIMIT)
    assert isinstance(answer, Fetched)
    assert len(site.asked) == 3


def test_a_pause_beyond_the_time_is_left_to_the_caller(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(429, headers={"Retry-After": "600"})
    error = refusal(fetcher, site.url("/a.jpg"))
    assert isinstance(error, TemporaryItemError)
    assert (error.item_code, error.retry_after_s) == ("url_unavailable", 600.0)
    assert len(site.asked) == 1


@pytest.mark.parametrize(
    ("status", "code"),
    [
        *((status, "url_not_found") for status in (404, 410)),
        *((status, "url_denied") for status in (401, 403)),
        *((status, "url_failed") for status in (204, 206, 302, 400)),
    ],
)
def test_final_answers_are_not_asked_for_again(site: WebServer, fetcher: HttpFetcher, status: int, code: str) -> None:
    site.pages["/a.jpg"] = lambda exchange: exchange.reply(status)
    error = refusal(fetcher, site.url("/a.jpg?token=secret"))
    assert not isinstance(error, TemporaryItemError)
    assert error.item_code == code
    assert "secret" not in error.detail
    assert len(site.asked) == 1


def test_nobody_listens(make: Make) -> None:
    with web_server() as gone:
        pass
    error = refusal(make(fetch_ports=str(gone.port)), gone.url("/a.jpg"))
    assert isinstance(error, TemporaryItemError)
    assert error.item_code == "url_unavailable"


def test_a_dead_host_is_given_a_rest(make: Make) -> None:
    with web_server() as gone:
        pass
    fetcher = make(fetch_ports=str(gone.port))
    errors = [refusal(fetcher, gone.url(f"/{number}.jpg")) for number in range(4)]
    last = errors[-1]
    assert isinstance(last, TemporaryItemError)
    assert last.retry_after_s
    assert "did not answer repeatedly" in last.detail


def test_no_more_requests_than_a_host_may_have_at_once(site: WebServer, make: Make) -> None:
    lock = threading.Lock()
    now, most = 0, 0
    full = threading.Barrier(2)

    def count(exchange: Exchange) -> None:
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        full.wait(timeout=5)
        with lock:
            now -= 1
        exchange.reply(200, b"x")

    site.pages["/a.jpg"] = count
    fetcher = make(fetch_per_host=2)
    threads = [
        threading.Thread(target=fetcher.get, args=(site.url("/a.jpg"),), kwargs={"max_bytes": 9}) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2
    assert len(site.asked) == 6


def test_a_place_that_does_not_come_is_no_attempt(site: WebServer, make: Make) -> None:
    entered, over = threading.Event(), threading.Event()

    def hold(exchange: Exchange) -> None:
        entered.set()
        over.wait(5)
        exchange.reply(200, b"x")

    site.pages["/a.jpg"] = hold
    fetcher = make(fetch_per_host=1, fetch_timeout_s=3.0)
    holder = threading.Thread(target=fetcher.get, args=(site.url("/a.jpg"),), kwargs={"max_bytes": 9})
    holder.start()
    assert entered.wait(5)
    impatient = time.monotonic()
    fetcher._timeout_s = 0.05
    error = refusal(fetcher, site.url("/a.jpg"))
    over.set()
    holder.join()
    assert time.monotonic() > impatient
    assert isinstance(error, TemporaryItemError)
    assert not error.attempted


# posts


def test_a_post_is_sent_once_and_brings_the_status(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/hook"] = lambda exchange: exchange.reply(503, b"busy", {"Retry-After": "7"})
    reply = fetcher.post(
        site.url("/hook"), b'{"a": 1}', headers={"Content-Type": "application/json", "webhook-id": "1"}
    )
    assert (reply.status, reply.data, reply.retry_after_s) == (503, b"busy", 7.0)
    assert site.posted == [b'{"a": 1}']
    assert (site.headers[0]["webhook-id"], site.headers[0]["content-type"]) == ("1", "application/json")


def test_a_post_follows_no_redirect(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/hook"] = lambda exchange: exchange.reply(307, headers={"Location": "/elsewhere"})
    assert fetcher.post(site.url("/hook"), b"x", headers={}).status == 307
    assert len(site.asked) == 1


def test_a_post_reads_no_endless_answer(site: WebServer, fetcher: HttpFetcher) -> None:
    site.pages["/hook"] = lambda exchange: exchange.reply(200, b"x" * 200_000)
    assert len(fetcher.post(site.url("/hook"), b"", headers={}).data) == module.MAX_REPLY_BYTES


def test_a_post_to_a_private_address_is_refused(site: WebServer, make: Make) -> None:
    with pytest.raises(ItemError) as caught:
        make(fetch_networks="").post(site.url("/hook"), b"x", headers={})
    assert caught.value.item_code == "url_refused"
    assert site.asked == []
