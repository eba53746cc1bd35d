"""HTTP to one server: typed JSON in and out, errors that say what to do, retries that cannot do a thing twice."""

import io
import random
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from tenacity import RetryCallState, Retrying

from cli.wire import Json

NOT_FOUND = 404
_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_CONFLICT = 409
_NO_HEADERS: Mapping[str, str] = {}
_NO_PROXY: Mapping[str, None] = {"all://127.0.0.1": None, "all://localhost": None, "all://[::1]": None}


class ClientError(Exception):
    """A call that failed for good. The text says what happened, `hint` what to do next."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


class UnreachableError(ClientError):
    """No HTTP answer came."""


@dataclass(eq=False)
class ApiError(ClientError):
    """The server answered with an error; the fields are those of its problem document."""

    status: int
    title: str
    detail: str
    errors: list[Json] = field(default_factory=list)
    request_id: str = ""
    retry_after_s: float | None = None

    def __post_init__(self) -> None:
        super().__init__(f"{self.title} ({self.status}): {self.detail}" if self.detail else self.title)

    @property
    def missing(self) -> bool:
        """Whether the object does not exist."""
        return self.status == NOT_FOUND


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file on disk to send. `on_bytes` is told how many of its bytes have gone out; it restarts at 0 on a retry."""

    path: Path
    filename: str
    media_type: str = "application/octet-stream"
    on_bytes: Callable[[int], None] | None = None


class Session:
    """One server and one API key; safe to share between threads. Every method raises ClientError.

    A URL may be a path (with its leading slash), which is one of this server's. The key goes to this server only.
    """

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        transport: httpx.BaseTransport | None,
        sleep: Callable[[float], None],
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(timeout=_TIMEOUT, transport=transport, mounts=_NO_PROXY, follow_redirects=False)
        self._sleep = sleep
        self._reached = False

    def close(self) -> None:
        """Give the connections back."""
        self._http.close()

    def json(self, method: str, path: str, **options: Any) -> Json:
        """The answer's JSON object. `options` are those of an httpx request; a POST happens once, retries or not."""
        response = self.send(method, path, **options)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(
                f"{self._base_url} did not answer as a SETR server.", hint="Check the URL: another program may use it."
            )
        return body

    def pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        """The items of a listing, page after page."""
        token: str | None = None
        while True:
            page = self.json("GET", path, params=params if token is None else {**params, "page_token": token})
            yield from page["items"]
            token = page.get("next_page_token")
            if not token:
                return

    def content(self, url: str) -> bytes:
        """The bytes behind a URL: one of this server's (also relative), or a presigned one elsewhere."""
        own = url.startswith(("/", f"{self._base_url}/"))
        return self.send("GET", url.removeprefix(self._base_url) if own else url).content

    def download(self, url: str, path: Path) -> None:
        """Write what is behind a URL to a file, in constant memory."""
        self._retrying()(self._download_once, url, path)

    def post_file(self, path: str, name: str, upload: Upload, fields: Mapping[str, str]) -> Json:
        """POST a form of `fields` with a file under `name`; the answer's JSON object."""
        with _CountedFile(upload) as stream:
            files = {name: (upload.filename, stream, upload.media_type)}
            return self.json("POST", path, data=fields, files=files, timeout=_UPLOAD_TIMEOUT)

    def put_file(self, url: str, upload: Upload) -> None:
        """PUT a file, as it is, to a presigned URL."""
        self._retrying()(self._put_once, url, upload)

    def send(self, method: str, url: str, **options: Any) -> httpx.Response:
        """The answer when it is a success. `options` are those of an httpx request."""
        headers = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        return self._retrying()(self._send_once, method, url, headers=headers, **options)

    def _retrying(self) -> Retrying:
        return Retrying(
            retry=_may_retry,
            stop=self._gives_up,
            wait=_pause_s,
            sleep=self._sleep,
            reraise=True,
        )

    def _download_once(self, url: str, path: Path) -> None:
        url, headers = self._addressed(url)
        with _reaching(url), self._http.stream("GET", url, headers=headers, timeout=_UPLOAD_TIMEOUT) as response:
            if not response.is_success:
                response.read()
                raise _api_error(response)
            with path.open("wb") as file:
                for chunk in response.iter_bytes():
                    file.write(chunk)

    def _put_once(self, url: str, upload: Upload) -> None:
        with _CountedFile(upload) as stream:
            self._send_once("PUT", url, content=stream, timeout=_UPLOAD_TIMEOUT)

    def _send_once(
        self, method: str, url: str, *, headers: Mapping[str, str] = _NO_HEADERS, **options: Any
    ) -> httpx.Response:
        url, own = self._addressed(url)
        with _reaching(url):
            response = self._http.request(method, url, headers={**own, **headers}, **options)
        self._reached = True
        if response.is_success:
            return response
        raise _api_error(response)

    def _addressed(self, url: str) -> tuple[str, dict[str, str]]:
        """A path as a URL of this server, with the key. Presigned URLs elsewhere carry their own signature."""
        return (self._base_url + url, self._authorization) if url.startswith("/") else (url, {})

    def _gives_up(self, state: RetryCallState) -> bool:
        # A server that never answered is probably not there: say so soon. One that did is probably restarting.
        return state.attempt_number >= (10 if self._reached else 3)


@contextmanager
def _reaching(url: str) -> Iterator[None]:
    """A call that brings no answer becomes an UnreachableError."""
    try:
        yield
    except httpx.TransportError as error:
        raise UnreachableError(
            f"No answer from {httpx.URL(url).copy_with(query=None)} ({_reason(error)}).",
            hint="Is the server running? `setr up` starts one here; --url or SETR_URL names another.",
        ) from error


class _CountedFile(io.FileIO):
    """A file that reports how far it was read; the HTTP library rewinds it for each attempt."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload.path)
        self._on_bytes = upload.on_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(-1 if size is None else size) or b""
        if self._on_bytes is not None:
            self._on_bytes(self.tell())
        return data


def _may_retry(state: RetryCallState) -> bool:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ApiError):
        # When we repeat a call whose answer got lost, a conflict means that the server is still at work on the first.
        in_progress = error.status == _CONFLICT and state.attempt_number > 1
        return in_progress or error.status in _RETRIED_STATUS
    return isinstance(error, UnreachableError)


def _pause_s(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, ApiError) and error.retry_after_s is not None:
        return min(error.retry_after_s, 60.0)
    return min(0.25 * 2.0**state.attempt_number, 8.0) * random.uniform(0.5, 1.0)  # noqa: S311 - spreads retries


def _reason(error: httpx.TransportError) -> str:
    return "timed out" if isinstance(error, httpx.TimeoutException) else str(error) or type(error).__name__


def _api_error(response: httpx.Response) -> ApiError:
    try:
        body = response.json()
    except ValueError:
        body = None
    problem: Json = body if isinstance(body, dict) else {}
    after = response.headers.get("Retry-After", "")
    return ApiError(
        status=response.status_code,
        title=str(problem.get("title") or response.reason_phrase or "Error"),
        detail=str(problem.get("detail") or ""),
        errors=[error for error in problem.get("errors") or [] if isinstance(error, dict)],
        request_id=str(problem.get("request_id") or "") if response.is_server_error else "",
        retry_after_s=float(after) if after.isdigit() else None,
    )
