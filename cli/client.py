"""A thin synchronous client of the HTTP API: JSON in and out as typed dicts, retries that cannot do a thing twice."""

import io
import json
import random
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote

import httpx
from tenacity import RetryCallState, Retrying

from cli.wire import TERMINAL, Gallery, Image, Index, Item, Job, Json, Schedule

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_UPLOAD_TIMEOUT = httpx.Timeout(600.0, connect=10.0)
_RETRIED_STATUS = frozenset({429, 502, 503, 504})
_CONFLICT = 409
_NOT_FOUND = 404
_MAX_WAIT_S = 30.0
_NO_FIELDS: Mapping[str, str] = {}
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
        return self.status == _NOT_FOUND


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file on disk to send. `on_bytes` is told how many of its bytes have gone out; it restarts at 0 on a retry."""

    path: Path
    filename: str
    media_type: str = "application/octet-stream"
    on_bytes: Callable[[int], None] | None = None


class ApiClient:
    """Calls on one server with one API key; safe to share between threads. Every method raises ClientError."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.base_url = base_url.rstrip("/")
        self._authorization = {"Authorization": f"Bearer {api_key}"}
        self._http = httpx.Client(timeout=_TIMEOUT, transport=transport, mounts=_NO_PROXY, follow_redirects=False)
        self._sleep = sleep
        self._reached = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def galleries(self) -> list[Gallery]:
        """All galleries, by name."""
        return cast(list[Gallery], list(self._pages("/galleries", {})))

    def gallery(self, name: str) -> Gallery:
        """One gallery."""
        return cast(Gallery, self._json("GET", f"/galleries/{_segment(name)}"))

    def create_gallery(self, name: str, *, encoder: str | None = None) -> Gallery:
        """Create a gallery; ApiError 409 when the name is taken."""
        body = {"name": name} if encoder is None else {"name": name, "encoder": encoder}
        return cast(Gallery, self._json("POST", "/galleries", json=body, headers=_idempotent()))

    def ensure_gallery(self, name: str) -> bool:
        """Create the gallery unless it exists; whether it was created."""
        try:
            self.gallery(name)
        except ApiError as error:
            if not error.missing:
                raise
            self.create_gallery(name)
            return True
        return False

    def delete_gallery(self, name: str) -> Job:
        """Delete a gallery with its images: a job."""
        return cast(Job, self._json("DELETE", f"/galleries/{_segment(name)}"))

    def image(self, gallery: str, external_id: str) -> Image:
        """The image with the shop's own id; ApiError 404 when the gallery has none."""
        path = f"/galleries/{_segment(gallery)}/images"
        for image in self._pages(path, {"external_id": external_id}):
            return cast(Image, image)
        raise ApiError(_NOT_FOUND, "Not found", f"Gallery `{gallery}` has no image `{external_id}`.")

    def thumbnail(self, gallery: str, external_id: str) -> bytes:
        """The thumbnail (JPEG) of an image of the gallery."""
        image_id = self.image(gallery, external_id)["id"]
        return self._bytes(f"/galleries/{_segment(gallery)}/images/{image_id}/thumbnail")

    def fetch(self, url: str) -> bytes:
        """The bytes behind a URL of a result: one of this server's (also relative), or a presigned one elsewhere."""
        own = url.startswith(("/", f"{self.base_url}/"))
        return self._bytes(url.removeprefix(self.base_url) if own else url)

    def download(self, url: str, path: Path) -> None:
        """Write what is behind a presigned URL, or a path of this server, to a file, in constant memory."""
        self._retrying()(self._download_once, url, path)

    def feedback(self, gallery: str, path: Path, *, since: str | None = None) -> None:
        """Write the judgements of a gallery's results to a file, a JSON object a line."""
        wanted = f"?{httpx.QueryParams({'since': since})}" if since else ""
        self.download(f"/galleries/{_segment(gallery)}/feedback{wanted}", path)

    def picture(self, gallery: str, image_id: str, path: Path) -> None:
        """Write an image of the gallery to a file, as it was uploaded."""
        self.download(f"/galleries/{_segment(gallery)}/images/{_segment(image_id)}/content", path)

    def export(self, gallery: str, *, vectors: bool) -> Job:
        """Have metadata, and vectors unless left out, written as Parquet files; the export job."""
        path = f"/galleries/{_segment(gallery)}/exports"
        return cast(Job, self._json("POST", path, json={"vectors": vectors}, headers=_idempotent()))

    def schedule(self, gallery: str) -> Schedule:
        """What the gallery does by itself; ApiError 404 when nothing."""
        return cast(Schedule, self._json("GET", f"/galleries/{_segment(gallery)}/schedule"))

    def put_schedule(self, gallery: str, body: Json) -> Schedule:
        """Set what the gallery does by itself, with a body as in the API guide."""
        return cast(Schedule, self._json("PUT", f"/galleries/{_segment(gallery)}/schedule", json=body))

    def delete_schedule(self, gallery: str) -> None:
        """End it; ApiError 404 when there was none."""
        self._send("DELETE", f"/galleries/{_segment(gallery)}/schedule")

    def reindex(self, gallery: str, *, encoder: str | None, activate: str) -> Job:
        """Build an index beside the active one; the re-index job. ApiError 409 while another one runs."""
        body = {"encoder": encoder, "activate": activate}
        path = f"/galleries/{_segment(gallery)}/indexes"
        return cast(Job, self._json("POST", path, json=body, headers=_idempotent()))

    def indexes(self, gallery: str) -> list[Index]:
        """The gallery's indexes that are not dropped, oldest first."""
        return cast(list[Index], self._json("GET", f"/galleries/{_segment(gallery)}/indexes")["items"])

    def activate(self, gallery: str, index_id: str) -> Index:
        """Let an index answer from now on. ApiError 409 when it is not ready."""
        path = f"/galleries/{_segment(gallery)}/indexes/{_segment(index_id)}/activate"
        return cast(Index, self._json("POST", path, headers=_idempotent()))

    def import_file(self, gallery: str, upload: Upload, *, fields: Mapping[str, str] = _NO_FIELDS) -> Job:
        """Send a picture, an archive or a manifest, with fields such as `mode`; the import job."""
        return cast(Job, self._send_file(f"/galleries/{_segment(gallery)}/imports", "file", upload, fields))

    def import_source(self, gallery: str, source: Json, *, fields: Mapping[str, Any] = _NO_FIELDS) -> Job:
        """Import from where the pictures are already: `urls`, `s3_prefix` or `upload_ids`; the import job."""
        body = {"source": source, **fields}
        return cast(
            Job, self._json("POST", f"/galleries/{_segment(gallery)}/imports", json=body, headers=_idempotent())
        )

    def put_upload(self, gallery: str, upload: Upload) -> str:
        """Send a file straight into the bucket, past the server; the upload's id, for `import_source`."""
        file = {"filename": upload.filename, "size_bytes": upload.path.stat().st_size}
        path = f"/galleries/{_segment(gallery)}/uploads"
        (made,) = self._json("POST", path, json={"files": [file]}, headers=_idempotent())["uploads"]
        self._retrying()(self._put_once, made["url"], upload)
        return str(made["id"])

    def query(self, gallery: str, body: Json, *, reference_image: Upload | None = None) -> Job:
        """Submit a query with a body as in the API guide; the reference may be a picture from disk."""
        path = f"/galleries/{_segment(gallery)}/queries"
        if reference_image is None:
            return cast(Job, self._json("POST", path, json=body, headers=_idempotent()))
        return cast(Job, self._send_file(path, "reference_image", reference_image, {"query": json.dumps(body)}))

    def query_batch(self, gallery: str, upload: Upload) -> Job:
        """Submit a file of queries, one JSON object a line; the query_batch job."""
        return cast(Job, self._send_file(f"/galleries/{_segment(gallery)}/query-batches", "file", upload, {}))

    def job(self, job_id: str, *, wait_s: float = 0) -> Job:
        """One job; with `wait_s` (at most 30) the server answers at the next change of state or stage."""
        return cast(Job, self._json("GET", f"/jobs/{_segment(job_id)}", params={"wait": wait_s} if wait_s else None))

    def jobs(self, *, state: str | None = None, gallery: str | None = None, limit: int = 20) -> list[Job]:
        """The newest jobs first."""
        wanted = {"state": state, "gallery": gallery, "page_size": str(limit)}
        page = self._json("GET", "/jobs", params={key: value for key, value in wanted.items() if value is not None})
        return cast(list[Job], page["items"])

    def failed_items(self, job_id: str, *, limit: int = 10) -> list[Item]:
        """The first items of a job that failed."""
        params = {"state": "failed", "page_size": str(limit)}
        return cast(list[Item], self._json("GET", f"/jobs/{_segment(job_id)}/items", params=params)["items"])

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; what is done stays done."""
        return cast(Job, self._json("POST", f"/jobs/{_segment(job_id)}/cancel", headers=_idempotent()))

    def retry(self, job_id: str) -> Job:
        """Import again what failed in a job: a new job. ApiError 409 when there is nothing to retry."""
        return cast(Job, self._json("POST", f"/jobs/{_segment(job_id)}/retry", headers=_idempotent()))

    def wait_for_job(
        self, job_id: str, *, on_progress: Callable[[Job], None] | None = None, poll_s: float = 1.0
    ) -> Job:
        """Wait until the job is terminal; `on_progress` sees it at each change of stage and every `poll_s`."""
        seen: tuple[str, str] | None = None
        while True:
            asked_at = time.monotonic()
            job = self.job(job_id, wait_s=min(poll_s, _MAX_WAIT_S))
            if on_progress is not None:
                on_progress(job)
            if job["state"] in TERMINAL:
                return job
            now = (job["state"], job["stage"])
            # A server with too many long-polls answers at once: then the pause is ours to make.
            if now == seen and time.monotonic() - asked_at < poll_s / 2:
                self._sleep(poll_s)
            seen = now

    def _pages(self, path: str, params: dict[str, str]) -> Iterator[Json]:
        token: str | None = None
        while True:
            page = self._json("GET", path, params=params if token is None else {**params, "page_token": token})
            yield from page["items"]
            token = page.get("next_page_token")
            if not token:
                return

    def _json(self, method: str, path: str, **options: Any) -> Json:
        response = self._send(method, path, **options)
        try:
            body = response.json()
        except ValueError:
            body = None
        if not isinstance(body, dict):
            raise ClientError(
                f"{self.base_url} did not answer as a SETR server.", hint="Check the URL: another program may use it."
            )
        return body

    def _bytes(self, url: str) -> bytes:
        return self._send("GET", url).content

    def _send_file(self, path: str, name: str, upload: Upload, fields: Mapping[str, str]) -> Json:
        with _CountedFile(upload) as stream:
            files = {name: (upload.filename, stream, upload.media_type)}
            return self._json("POST", path, data=fields, files=files, headers=_idempotent(), timeout=_UPLOAD_TIMEOUT)

    def _send(self, method: str, url: str, **options: Any) -> httpx.Response:
        return self._retrying()(self._send_once, method, url, **options)

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

    def _put_once(self, url: str, upload: Upload) -> httpx.Response:
        with _CountedFile(upload) as stream:
            return self._send_once("PUT", url, content=stream, timeout=_UPLOAD_TIMEOUT)

    def _send_once(self, method: str, url: str, **options: Any) -> httpx.Response:
        url, headers = self._addressed(url)
        options["headers"] = {**headers, **options.get("headers", {})}
        with _reaching(url):
            response = self._http.request(method, url, **options)
        self._reached = True
        if response.is_success:
            return response
        raise _api_error(response)

    def _addressed(self, url: str) -> tuple[str, dict[str, str]]:
        """A path as a URL of this server, with the key. Presigned URLs elsewhere carry their own signature."""
        return (self.base_url + url, self._authorization) if url.startswith("/") else (url, {})

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


def _idempotent() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def _segment(name: str) -> str:
    return quote(name, safe="")
