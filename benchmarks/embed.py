"""`make bench-embed`: the service's embedding rate against the bare model's, and against sentence-transformers.

ViT-B/32 with random weights. All sides run in this process on the same photos of about 1000 x 1000 px, in turns, and
the medians of their rates are compared. The service's side is the whole way of a unit: blobs fetched from S3, decoded,
embedded, vectors committed, by the very handler of the embed worker. It starts when all blobs are stored, and ends with
the job.
"""

import io
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import click
import open_clip
import torch
from PIL import Image

from benchmarks import sentences
from benchmarks.checkpoints import ARCHITECTURE, random_checkpoint
from benchmarks.inprocess import InProcess, in_process
from benchmarks.pictures import PHOTOS, catalog
from benchmarks.report import ROOT, table, taken_on, write_results, write_section
from core.models import JobState, Queue
from core.settings import Settings
from retrieval.devices import Placement, choose_placement

DOCUMENT = ROOT / "docs" / "performance.md"
IMAGES = 512


@dataclass
class Side:
    """One way of embedding all photos; `rates` are images/s, one of each round."""

    name: str
    run: Callable[[], int]
    rates: list[float] = field(default_factory=list)

    def round(self) -> None:
        """Embed them all once."""
        began_s = time.perf_counter()
        count = self.run()
        self.rates.append(count / (time.perf_counter() - began_s))

    @property
    def median(self) -> float:
        """Images/s."""
        return statistics.median(self.rates)


class BareModel:
    """The image tower on tensors that are prepared already: the rate that nothing around it can exceed."""

    def __init__(self, checkpoint: Path, archive: Path, settings: Settings) -> None:
        self._model, _, transform = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained=str(checkpoint))
        parameters = sum(weight.numel() for weight in self._model.parameters())
        self.placement = choose_placement(settings, parameters=parameters)
        self._model.eval().to(self.placement.device, self.placement.dtype)
        pixels = torch.stack([transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in photos(archive)])
        self._batches = torch.split(pixels.to(self.placement.device, self.placement.dtype), settings.embed_batch)

    def __call__(self) -> int:
        """Encode all; returns how many."""
        with torch.inference_mode():
            return sum(len(self._model.encode_image(batch).float().cpu()) for batch in self._batches)


class Service:
    """An import of all photos into a new gallery; only its embedding is timed."""

    def __init__(self, worker: InProcess, archive: Path) -> None:
        self._worker = worker
        self._archive = archive
        self._rounds = 0

    def prepare(self) -> None:
        """Everything up to the embedding units: planning, reading, storing."""
        self._rounds += 1
        self._job = self._worker.submit(f"round-{self._rounds}", self._archive)
        self._worker.work(Queue.INGEST, threads=1)

    def __call__(self) -> int:
        """Run the embedding units; returns how many images were made. RuntimeError unless the job succeeded."""
        self._worker.work(Queue.EMBED, threads=self._worker.ctx.settings.embed_units)
        job = self._worker.job(self._job)
        if job.state is not JobState.SUCCEEDED:
            raise RuntimeError(f"the import ended as {job.state}: {job.error}")
        return job.counters.created


@click.command()
@click.option("--images", default=512, show_default=True)
@click.option("--rounds", default=3, show_default=True)
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(images: int, rounds: int, *, no_report: bool) -> None:
    """Compare embedding rates."""
    click.echo(f"Drawing {images} photos (once) and starting the services …")
    archive, checkpoint = catalog(images, PHOTOS), random_checkpoint()
    with in_process(encoders={"bench": f"open_clip:{ARCHITECTURE}@{checkpoint}"}) as worker:
        settings = worker.ctx.settings
        bare, service = BareModel(checkpoint, archive, settings), Service(worker, archive)
        comparison = Comparison(
            placement=bare.placement,
            bare=Side("bare model on prepared tensors", bare),
            service=Side("service: fetch, decode, embed, commit", service),
            others=other_sides(list(photos(archive)), settings, bare.placement),
        )
        for number in range(rounds):
            service.prepare()
            for side in comparison.sides:
                side.round()
                click.echo(f"round {number + 1} of {rounds}: {side.name}: {side.rates[-1]:.1f} images/s")
    command = "make bench-embed" if images == IMAGES else f"make bench-embed IMAGES={images}"
    text = comparison.as_text(command, images)
    click.echo(text)
    if not no_report:
        write_results("embed", command=command, summary=comparison.summary(), details=comparison.details(images))
        write_section(DOCUMENT, "embed", text)


def photos(archive: Path) -> Iterator[bytes]:
    """The JPEGs of the catalog."""
    with ZipFile(archive) as opened:
        yield from (opened.read(name) for name in opened.namelist() if name.endswith(".jpg"))


def other_sides(data: Sequence[bytes], settings: Settings, placement: Placement) -> list[Side]:
    """sentence-transformers as it comes, and in our type too where that differs; none when it is not installed."""
    if not sentences.installed():
        click.echo("sentence-transformers is not installed; `make bench-embed` installs it beside the environment.")
        return []
    dtypes = dict.fromkeys((torch.float32, placement.dtype))
    return [
        Side(
            f"sentence-transformers, {_name(dtype)}",
            sentences.SentenceTransformersSide(data, placement.device, dtype, batch=settings.embed_batch),
        )
        for dtype in dtypes
    ]


@dataclass(frozen=True)
class Comparison:
    """All sides and what their medians say."""

    placement: Placement
    bare: Side
    service: Side
    others: list[Side]

    @property
    def sides(self) -> list[Side]:
        """In the order of a round."""
        return [self.bare, self.service, *self.others]

    def summary(self) -> dict[str, Any]:
        """Rates in images/s; sentence-transformers as it comes."""
        other = self.others[0].median if self.others else None
        return {
            "model_only_img_s": round(self.bare.median, 2),
            "service_img_s": round(self.service.median, 2),
            "ratio": round(self.service.median / self.bare.median, 3),
            "sentence_transformers_img_s": other and round(other, 2),
            "ratio_vs_sentence_transformers": other and round(self.service.median / other, 3),
        }

    def details(self, images: int) -> dict[str, Any]:
        """What the medians were taken from."""
        return {
            "architecture": ARCHITECTURE,
            "dtype": _name(self.placement.dtype),
            "device": str(self.placement.device),
            "threads": torch.get_num_threads(),
            "images": images,
            "rates": {side.name: [round(rate, 2) for rate in side.rates] for side in self.sides},
        }

    def as_text(self, command: str, images: int) -> str:
        """Tables for people."""
        rows = [
            (
                side.name,
                f"{side.median:.1f}",
                f"{side.median / self.bare.median:.2f}",
                f"{self.service.median / side.median:.2f}",
            )
            for side in self.sides
        ]
        setup = (
            f"{taken_on(command)} {ARCHITECTURE}, random weights, {_name(self.placement.dtype)} on "
            f"{self.placement.device}, {torch.get_num_threads()} threads; {images} photos of 1000 x 1000 px; medians "
            f"of {len(self.bare.rates)} rounds, all sides in turns in one process."
        )
        headers = ("side", "images/s", "share of the bare model", "service is faster by")
        return f"{setup}\n\n{table(headers, rows)}"


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    main()
