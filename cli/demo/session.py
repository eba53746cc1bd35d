"""What the demo does over HTTP: import the catalog, ask many queries, a few at a time."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from rich.console import Console

from cli.client import ApiClient
from cli.commands.imports import send
from cli.commands.packing import as_is
from cli.commands.waiting import report, wait
from cli.demo.catalog import COUNT, GALLERY
from cli.demo.queries import DemoQuery
from cli.transport import ClientError, Upload
from cli.wire import Answer, Job, Result

_IN_FLIGHT = 4
_POLL_S = 5.0


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A query and its answer."""

    query: DemoQuery
    answer: Answer

    @property
    def rank(self) -> int | None:
        """Best final rank of an intended product; None when it is not among the results."""
        return min((row["rank"] for row in self._found()), default=None)

    @property
    def coarse_rank(self) -> int | None:
        """Best coarse rank of an intended product; None when it is not among the results."""
        return min((row["coarse"]["rank"] for row in self._found()), default=None)

    def _found(self) -> list[Result]:
        return [row for row in self.answer["results"] if row["external_id"] in self.query.intended]


def import_catalog(client: ApiClient, path: Path, *, console: Console) -> Job:
    """Import the ZIP into the demo gallery and wait. Raises ClientError unless every photo went through."""
    client.ensure_gallery(GALLERY)
    job = wait(client, send(client, GALLERY, as_is(path), console=console), console=console)
    report(client, job, console)
    problem = lost_items(job, expected=COUNT)
    if problem:
        raise ClientError(f"The import lost something: {problem}.", hint="The logs are in the data folder's logs/.")
    return job


def lost_items(job: Job, *, expected: int) -> str:
    """What is wrong with the counters of an import of `expected` items; empty when each went through once."""
    progress = job["progress"]
    went_through = progress["created"] + progress["updated"] + progress["unchanged"]
    if job["state"] != "succeeded":
        return f"the job {job['state']} with {went_through} of {expected} items"
    if progress["total"] != expected or went_through != expected:
        return f"{went_through} of {expected} items went through, and the job counted {progress['total']}"
    return ""


def ask_all(
    client: ApiClient, queries: Sequence[DemoQuery], *, top_k: int, on_done: Callable[[int], None]
) -> list[Asked]:
    """Answers in the order of the queries. Raises ClientError when a query does not succeed."""
    pool = ThreadPoolExecutor(max_workers=_IN_FLIGHT)
    try:
        futures = [pool.submit(_ask, client, query, top_k) for query in queries]
        for done, future in enumerate(as_completed(futures), start=1):
            future.result()
            on_done(done)
        return [future.result() for future in futures]
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _ask(client: ApiClient, query: DemoQuery, top_k: int) -> Asked:
    picture = query.picture
    upload = Upload(path=picture, filename=picture.name, media_type="image/jpeg") if picture else None
    submitted = client.query(GALLERY, query.body(top_k=top_k), reference_image=upload)
    job = client.wait_for_job(submitted["id"], poll_s=_POLL_S)
    if job["state"] != "succeeded" or job["result"] is None:
        error = job["error"]
        raise ClientError(f"The query {query.title} {job['state']}" + (f": {error['detail']}" if error else "."))
    return Asked(query=query, answer=cast(Answer, job["result"]))
