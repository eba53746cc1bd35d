"""`make bench-api`: submitting, polling and whole queries over HTTP, with real gunicorn, Postgres and workers."""

import io
import time
from pathlib import Path

import click
import httpx
from PIL import Image

from benchmarks.api.batches import run_batch
from benchmarks.api.measure import Service
from benchmarks.api.report import COARSE, JUDGED, Measured, report
from benchmarks.pictures import catalog
from cli.local.services import temporary_data_dir
from cli.local.up import running_stack
from core.settings import Settings

IMAGES, QUERIES, SECONDS = 600, 160, 15
CLIENTS = (1, 4, 16)
WARM_UP = 4
_GALLERY, _STUCK = "shop", "stuck"


@click.command()
@click.option("--images", default=IMAGES, show_default=True, help="Images of the gallery.")
@click.option("--queries", default=QUERIES, show_default=True, help="Queries of each level; a quarter of it judged.")
@click.option("--seconds", default=SECONDS, show_default=True, help="Seconds of polling.")
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(images: int, queries: int, seconds: int, *, no_report: bool) -> None:
    """Measure the API."""
    click.echo(f"Drawing {images} photos (once) and starting the service …")
    archive = catalog(images)
    with (
        temporary_data_dir() as data_dir,
        running_stack(Settings(data_dir=data_dir, api_port=0)) as stack,
        httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=600.0) as http,
    ):
        service = Service(stack.url, stack.api_key, _GALLERY, _references(http, archive))
        measured = _measure(service, http, images, queries, seconds)
    usual = (images, queries, seconds) == (IMAGES, QUERIES, SECONDS)
    options = f"--images {images} --queries {queries} --seconds {seconds}"
    command = "make bench-api" if usual else f"python -m benchmarks.api {options}"
    click.echo(report(measured, command=command, write=not no_report))


def _measure(service: Service, http: httpx.Client, images: int, queries: int, seconds: int) -> Measured:
    stuck = _stuck_job(http)
    for judged in (False, True):
        service.level(2, WARM_UP, judged=judged)
    with service.caller() as caller:
        done = caller.post(f"/galleries/{_GALLERY}/queries", service.query(judged=False))["id"]
        caller.ended(done)
    click.echo("Submitting and polling …")
    submit = service.level(1, queries, judged=False).submit
    polls_open = service.polls(stuck, seconds, held_open=stuck)
    polls_done = service.polls(done, seconds, held_open=stuck)
    click.echo("Whole queries …")
    coarse = [service.level(clients, queries, judged=False) for clients in CLIENTS]
    reranked = [service.level(clients, max(clients, queries // 4), judged=True) for clients in CLIENTS]
    click.echo("Batches …")
    plain = [service.query(judged=False) for _ in range(5 * queries)]
    hard = [service.query(judged=True) | {"rerank": True} for _ in range(max(1, queries // 2))]
    with service.caller() as caller:
        batches = {name: run_batch(http, caller, _GALLERY, lines) for name, lines in ((COARSE, plain), (JUDGED, hard))}
    return Measured(images, submit, polls_open, polls_done, coarse, reranked, batches)


def _references(http: httpx.Client, archive: Path) -> list[str]:
    """Import the catalog; the external ids of its images."""
    http.post("/galleries", json={"name": _GALLERY}).raise_for_status()
    with archive.open("rb") as stream:
        answer = http.post(f"/galleries/{_GALLERY}/imports", files={"file": (archive.name, stream, "application/zip")})
    answer.raise_for_status()
    job = answer.json()
    while job["finished_at"] is None:
        job = http.get(f"/jobs/{job['id']}", params={"wait": 10}).json()
    if job["state"] != "succeeded":
        raise click.ClickException(f"The import {job['state']}: {job['error']}")
    page = http.get(f"/galleries/{_GALLERY}/images", params={"page_size": 200}).json()
    return [image["external_id"] for image in page["items"]]


def _stuck_job(http: httpx.Client) -> str:
    """A job that goes on running: its picture waits for a GPU worker, and there is none."""
    http.post("/galleries", json={"name": _STUCK, "device": "gpu"}).raise_for_status()
    picture = io.BytesIO()
    Image.new("RGB", (32, 32), "red").save(picture, "PNG")
    answer = http.post(f"/galleries/{_STUCK}/imports", files={"file": ("red.png", picture.getvalue(), "image/png")})
    answer.raise_for_status()
    job = answer.json()
    while job["stage"] != "embedding":
        time.sleep(0.1)
        job = http.get(f"/jobs/{job['id']}").json()
    return str(job["id"])


if __name__ == "__main__":
    main()
