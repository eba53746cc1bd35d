"""A thin synchronous client of the HTTP API: one method a call, JSON as typed dicts."""

import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self, cast
from urllib.parse import quote

import httpx

from cli.transport import NOT_FOUND, ApiError, Session, Upload
from cli.wire import TERMINAL, Gallery, Image, Index, Item, Job, Json, Schedule

_MAX_WAIT_S = 30.0
_NO_FIELDS: Mapping[str, str] = {}


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
        self._session = Session(base_url, api_key, transport=transport, sleep=sleep)
        self._sleep = sleep

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._session.close()

    def galleries(self) -> list[Gallery]:
        """All galleries, by name."""
        return cast(list[Gallery], list(self._session.pages("/galleries", {})))

    def gallery(self, name: str) -> Gallery:
        """One gallery."""
        return cast(Gallery, self._session.json("GET", f"/galleries/{_segment(name)}"))

    def create_gallery(self, name: str, *, encoder: str | None = None) -> Gallery:
        """Create a gallery; ApiError 409 when the name is taken."""
        body = {"name": name} if encoder is None else {"name": name, "encoder": encoder}
        return cast(Gallery, self._session.json("POST", "/galleries", json=body))

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
        return cast(Job, self._session.json("DELETE", f"/galleries/{_segment(name)}"))

    def image(self, gallery: str, external_id: str) -> Image:
        """The image with the shop's own id; ApiError 404 when the gallery has none."""
        path = f"/galleries/{_segment(gallery)}/images"
        for image in self._session.pages(path, {"external_id": external_id}):
            return cast(Image, image)
        raise ApiError(NOT_FOUND, "Not found", f"Gallery `{gallery}` has no image `{external_id}`.")

    def thumbnail(self, gallery: str, external_id: str) -> bytes:
        """The thumbnail (JPEG) of an image of the gallery."""
        image_id = self.image(gallery, external_id)["id"]
        return self._session.content(f"/galleries/{_segment(gallery)}/images/{image_id}/thumbnail")

    def fetch(self, url: str) -> bytes:
        """The bytes behind a URL of a result: one of this server's (also relative), or a presigned one elsewhere."""
        return self._session.content(url)

    def download(self, url: str, path: Path) -> None:
        """Write what is behind a presigned URL, or a path of this server, to a file, in constant memory."""
        self._session.download(url, path)

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
        return cast(Job, self._session.json("POST", path, json={"vectors": vectors}))

    def schedule(self, gallery: str) -> Schedule:
        """What the gallery does by itself; ApiError 404 when nothing."""
        return cast(Schedule, self._session.json("GET", f"/galleries/{_segment(gallery)}/schedule"))

    def put_schedule(self, gallery: str, body: Json) -> Schedule:
        """Set what the gallery does by itself, with a body as in the API guide."""
        return cast(Schedule, self._session.json("PUT", f"/galleries/{_segment(gallery)}/schedule", json=body))

    def delete_schedule(self, gallery: str) -> None:
        """End it; ApiError 404 when there was none."""
        self._session.send("DELETE", f"/galleries/{_segment(gallery)}/schedule")

    def reindex(self, gallery: str, *, encoder: str | None, activate: str) -> Job:
        """Build an index beside the active one; the re-index job. ApiError 409 while another one runs."""
        body = {"encoder": encoder, "activate": activate}
        path = f"/galleries/{_segment(gallery)}/indexes"
        return cast(Job, self._session.json("POST", path, json=body))

    def indexes(self, gallery: str) -> list[Index]:
        """The gallery's indexes that are not dropped, oldest first."""
        return cast(list[Index], self._session.json("GET", f"/galleries/{_segment(gallery)}/indexes")["items"])

    def activate(self, gallery: str, index_id: str) -> Index:
        """Let an index answer from now on. ApiError 409 when it is not ready."""
        path = f"/galleries/{_segment(gallery)}/indexes/{_segment(index_id)}/activate"
        return cast(Index, self._session.json("POST", path))

    def import_file(self, gallery: str, upload: Upload, *, fields: Mapping[str, str] = _NO_FIELDS) -> Job:
        """Send a picture, an archive or a manifest, with fields such as `mode`; the import job."""
        return cast(Job, self._session.post_file(f"/galleries/{_segment(gallery)}/imports", "file", upload, fields))

    def import_source(self, gallery: str, source: Json, *, fields: Mapping[str, Any] = _NO_FIELDS) -> Job:
        """Import from where the pictures are already: `urls`, `manifest`, `s3_prefix`, `upload_ids`; its job."""
        body = {"source": source, **fields}
        return cast(Job, self._session.json("POST", f"/galleries/{_segment(gallery)}/imports", json=body))

    def put_upload(self, gallery: str, upload: Upload) -> str:
        """Send a file straight into the bucket, past the server; the upload's id, for `import_source`."""
        file = {"filename": upload.filename, "size_bytes": upload.path.stat().st_size}
        path = f"/galleries/{_segment(gallery)}/uploads"
        (made,) = self._session.json("POST", path, json={"files": [file]})["uploads"]
        self._session.put_file(made["url"], upload)
        return str(made["id"])

    def query(self, gallery: str, body: Json, *, reference_image: Upload | None = None) -> Job:
        """Submit a query with a body as in the API guide; the reference may be a picture from disk."""
        path = f"/galleries/{_segment(gallery)}/queries"
        if reference_image is None:
            return cast(Job, self._session.json("POST", path, json=body))
        return cast(Job, self._session.post_file(path, "reference_image", reference_image, {"query": json.dumps(body)}))

    def query_batch(self, gallery: str, upload: Upload) -> Job:
        """Submit a file of queries, one JSON object a line; the query_batch job."""
        return cast(Job, self._session.post_file(f"/galleries/{_segment(gallery)}/query-batches", "file", upload, {}))

    def job(self, job_id: str, *, wait_s: float = 0) -> Job:
        """One job; with `wait_s` (at most 30) the server answers at the next change of state or stage."""
        return cast(
            Job, self._session.json("GET", f"/jobs/{_segment(job_id)}", params={"wait": wait_s} if wait_s else None)
        )

    def jobs(self, *, state: str | None = None, gallery: str | None = None, limit: int = 20) -> list[Job]:
        """The newest jobs first."""
        wanted = {"state": state, "gallery": gallery, "page_size": str(limit)}
        page = self._session.json(
            "GET", "/jobs", params={key: value for key, value in wanted.items() if value is not None}
        )
        return cast(list[Job], page["items"])

    def failed_items(self, job_id: str, *, limit: int = 10) -> list[Item]:
        """The first items of a job that failed."""
        params = {"state": "failed", "page_size": str(limit)}
        return cast(list[Item], self._session.json("GET", f"/jobs/{_segment(job_id)}/items", params=params)["items"])

    def cancel(self, job_id: str) -> Job:
        """Ask a job to stop; what is done stays done."""
        return cast(Job, self._session.json("POST", f"/jobs/{_segment(job_id)}/cancel"))

    def retry(self, job_id: str) -> Job:
        """Import again what failed in a job: a new job. ApiError 409 when there is nothing to retry."""
        return cast(Job, self._session.json("POST", f"/jobs/{_segment(job_id)}/retry"))

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


def _segment(name: str) -> str:
    return quote(name, safe="")
