"""Implements `core.ports.Fetcher` on httpcore, whose connections are opened by our own guarded backend."""

import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TypeVar

import httpcore
import httpx
from tenacity import RetryCallState, Retrying, stop_after_attempt

from core.errors import ItemError, TemporaryItemError
from core.ports import Fetch, Fetched, NotModified, Reply, Validators
from core.settings import Settings
from core.urls import WebUrl, parse_networks, parse_ports, parse_url, redirected, shown_url
from storage.web.addresses import AddressRules, Resolver, resolve
from storage.web.bodies import header, media_type, read_body, read_start, retry_after_s
from storage.web.hosts import Hosts
from storage.web.network import Deadline, GuardedBackend

T = TypeVar("T")

MAX_REDIRECTS = 5
ATTEMPTS = 3
FIRST_PAUSE_S = 0.5
MAX_REPLY_BYTES = 64 * 1024

_MAX_CONNECTIONS = 128
_KEEP_IDLE_S = 15.0
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_GONE = frozenset({404, 410})
_DENIED = frozenset({401, 402, 403, 407, 451})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_USER_AGENT = "setr-service"


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: WebUrl
    headers: Mapping[str, str]
    body: bytes = b""


class HttpFetcher:
    """Implements `core.ports.Fetcher`. Nothing is connected before the first call."""

    def __init__(self, settings: Settings, *, resolver: Resolver = resolve) -> None:
        # A batch makes several fetches one after the other, and its limit ends the process.
        self._timeout_s = min(settings.fetch_timeout_s, settings.batch_limit_s / 4)
        self._ports = parse_ports(settings.fetch_ports)
        self._hosts = Hosts(per_host=settings.fetch_per_host)
        self._deadline = Deadline()
        rules = AddressRules(parse_networks(settings.fetch_networks), resolver)
        self._pool = httpcore.ConnectionPool(
            ssl_context=httpx.create_ssl_context(),
            max_connections=_MAX_CONNECTIONS,
            max_keepalive_connections=_MAX_CONNECTIONS,
            keepalive_expiry=_KEEP_IDLE_S,
            network_backend=GuardedBackend(rules, self._deadline),
        )

    def get(self, url: str, *, max_bytes: int, known: Validators | None = None) -> Fetch:
        """The body, or NotModified; redirects followed, passing failures repeated, all within the time."""
        first = self._checked(parse_url(url))
        headers = _get_headers(known or Validators())
        with self._hosts.slot(first.authority, patience_s=self._timeout_s), self._deadline.within(self._timeout_s):
            retrying = Retrying(stop=stop_after_attempt(ATTEMPTS), retry=self._may_retry, wait=_pause_s, reraise=True)
            answer: Fetch = retrying(self._follow, first, headers, max_bytes)
        if known is None and isinstance(answer, NotModified):
            raise ItemError("url_failed", f"{shown_url(url)!r} answers 304 although no version was named.")
        return answer

    def post(self, url: str, body: bytes, *, headers: Mapping[str, str]) -> Reply:
        """One POST; its status is the caller's to judge."""
        target = self._checked(parse_url(url))
        request = _Request("POST", target, {"User-Agent": _USER_AGENT, **headers}, body)
        with self._hosts.slot(target.authority, patience_s=self._timeout_s), self._deadline.within(self._timeout_s):
            return self._exchange(request, _reply)

    def close(self) -> None:
        """Close idle connections."""
        self._pool.close()

    def _checked(self, url: WebUrl) -> WebUrl:
        if url.port not in self._ports:
            detail = f"Port {url.port} is not fetched from: use the usual one, or ask the operator to allow it."
            raise ItemError("url_refused", detail)
        return url

    def _follow(self, first: WebUrl, headers: Mapping[str, str], max_bytes: int) -> Fetch:
        """From redirect to redirect; each hop is a connection of its own, checked like the first."""
        url = first
        for _ in range(MAX_REDIRECTS + 1):
            request = _Request("GET", url, headers)
            if url.authority == first.authority:
                outcome = self._exchange(request, _reader(url, max_bytes))
            else:
                with self._hosts.slot(url.authority, patience_s=self._deadline.left_s()):
                    outcome = self._exchange(request, _reader(url, max_bytes))
            if not isinstance(outcome, WebUrl):
                return outcome
            url = self._checked(outcome)
        raise ItemError("url_failed", f"{shown_url(str(first))!r} redirects more than {MAX_REDIRECTS} times.")

    def _exchange(self, request: _Request, read: Callable[[httpcore.Response], T]) -> T:
        """One request and its answer; what the HTTP library raises becomes an ItemError."""
        url, shown = request.url, shown_url(str(request.url))
        try:
            with self._pool.stream(
                request.method,
                httpcore.URL(scheme=url.scheme, host=url.host, port=url.port, target=url.target),
                headers=[("Host", url.authority), *request.headers.items()],
                content=request.body or None,
                extensions={"timeout": {"pool": self._deadline.left_s()}},
            ) as response:
                self._hosts.answered(url.authority)
                return read(response)
        except httpcore.TimeoutException as error:
            self._hosts.failed(url.authority)
            raise TemporaryItemError("url_timeout", f"{shown!r} took too long to answer.") from error
        except (httpcore.NetworkError, httpcore.ProtocolError) as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise ItemError("url_failed", f"{shown!r} has a certificate that is not trusted.") from error
            self._hosts.failed(url.authority)
            detail = f"{shown!r} cannot be reached, or broke off its answer."
            raise TemporaryItemError("url_unavailable", detail) from error

    def _may_retry(self, state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        if not isinstance(error, TemporaryItemError) or not error.attempted:
            return False
        try:
            return _pause_s(state) < self._deadline.left_s()
        except httpcore.ReadTimeout:
            return False


def _reader(url: WebUrl, max_bytes: int) -> Callable[[httpcore.Response], Fetch | WebUrl]:
    """What reads an answer from this URL: a body, NotModified, or where to go instead."""

    def read(response: httpcore.Response) -> Fetch | WebUrl:
        if response.status in _REDIRECTS and header(response, "location"):
            return redirected(url, header(response, "location"))
        if response.status == HTTPStatus.NOT_MODIFIED:
            response.read()  # it never has a body, but a connection is kept only after its end
            return NotModified()
        if response.status != HTTPStatus.OK:
            raise _refusal(response, url)
        validators = Validators(etag=header(response, "etag"), last_modified=header(response, "last-modified"))
        data = read_body(response, url, max_bytes=max_bytes)
        return Fetched(str(url), data, media_type(response), validators)

    return read


def _reply(response: httpcore.Response) -> Reply:
    return Reply(response.status, read_start(response, max_bytes=MAX_REPLY_BYTES), retry_after_s(response))


def _refusal(response: httpcore.Response, url: WebUrl) -> ItemError:
    status, shown = response.status, shown_url(str(url))
    if status in _GONE:
        return ItemError("url_not_found", f"{shown!r} answers {status}: there is nothing.")
    if status in _DENIED:
        return ItemError("url_denied", f"{shown!r} answers {status}: it must be readable without a login.")
    if status in _PASSING:
        detail = f"{shown!r} answers {status}: its server is busy or broken at present."
        return TemporaryItemError("url_unavailable", detail, retry_after_s=retry_after_s(response))
    return ItemError("url_failed", f"{shown!r} answers {status} instead of a picture.")


def _get_headers(known: Validators) -> dict[str, str]:
    headers = {"User-Agent": _USER_AGENT, "Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity"}
    if known.etag and known.etag.isascii():  # what is not cannot be sent back as it came
        headers["If-None-Match"] = known.etag
    if known.last_modified and known.last_modified.isascii():
        headers["If-Modified-Since"] = known.last_modified
    return headers


def _pause_s(state: RetryCallState) -> float:
    """What the server asked for, else twice the pause before, spread so that many threads do not return at once."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TemporaryItemError) and error.retry_after_s is not None:
        return error.retry_after_s
    share = random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries
    return FIRST_PAUSE_S * 2.0 ** (state.attempt_number - 1) * share
