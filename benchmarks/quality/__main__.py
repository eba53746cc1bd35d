"""`make bench-quality`: the tables and the plot of docs/quality.md, and benchmarks/results/quality.json."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks.quality.content import summarise
from benchmarks.quality.diary import Diary
from benchmarks.quality.plot import draw
from benchmarks.quality.study import study
from benchmarks.quality.tables import SECTIONS
from benchmarks.report import RESULTS, ROOT, WORK, taken_on, write_results, write_section
from core.errors import ServiceError
from core.settings import Settings, load_settings

COMMAND = "make bench-quality"
DOCUMENT = ROOT / "docs" / "quality.md"
CAPTION = "R@1 of every strategy on test, and of the unions on dev by the share of the text"


@dataclass(frozen=True)
class Outputs:
    """Where results go: the JSON into `results`, the tables into `document`, the plot into `images/` beside it.

    `work` holds what can be used again, and the numbers of a run that did not end.
    """

    work: Path
    results: Path
    document: Path

    @staticmethod
    def of(limit: int | None) -> "Outputs":
        """A limited run keeps all to itself, and leaves the published numbers alone."""
        work = WORK / "quality"
        if limit is None:
            return Outputs(work, RESULTS, DOCUMENT)
        folder = work / f"limit-{limit}"
        return Outputs(work, folder, folder / DOCUMENT.name)

    def plot(self) -> Path:
        """The file that the document shows."""
        return self.document.parent / "images" / "quality.png"


@click.command()
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    default=WORK / "synthcir",
    help="SynthCIR's folder: drawn when it is not there, refused when it is not what is drawn today.",
)
@click.option("--limit", type=click.IntRange(min=1), help="Only so many queries of each split; publishes nothing.")
def main(data: Path, limit: int | None) -> None:
    """Tune on dev, measure every strategy on test with and without the judge, write tables, plot and JSON."""
    diary, outputs = Diary(Console(stderr=True)), Outputs.of(limit)
    try:
        content = measure(data, outputs, load_settings(), diary, limit=limit)
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    publish(content, outputs, COMMAND if limit is None else f"{COMMAND} LIMIT={limit}")


def measure(data: Path, outputs: Outputs, settings: Settings, diary: Diary, *, limit: int | None) -> dict[str, Any]:
    """All numbers but the summary. ServiceError says what is missing or wrong."""
    from benchmarks.quality.setup import draw_data, prepare
    from retrieval.devices import limit_threads

    limit_threads(settings)
    outputs.work.mkdir(parents=True, exist_ok=True)
    draw_data(data, diary)
    with diary.part("models"):
        prepared = prepare(data, outputs.work, settings, limit=limit)

    def save(found: dict[str, Any]) -> None:
        for verdicts in prepared.verdicts:
            verdicts.save()
        partial = {"setting": prepared.setting, **found, "seconds": diary.seconds}
        (outputs.work / "partial.json").write_text(json.dumps(partial, indent=1))

    found = study(prepared.bench, diary, save)
    asked = sum(verdicts.asked for verdicts in prepared.verdicts)
    return {"setting": prepared.setting, **found, "judged_pairs": asked, "seconds": diary.seconds}


def publish(content: dict[str, Any], outputs: Outputs, command: str) -> None:
    """Write the JSON, the sections of the document and the plot, and print the tables."""
    summary = summarise(content)
    path = write_results("quality", command=command, summary=summary, details=content, folder=outputs.results)
    draw(content, outputs.plot())
    if outputs.document != DOCUMENT:
        outputs.document.write_text(DOCUMENT.read_text())
    write_section(outputs.document, "taken-on", taken_on(command))
    write_section(outputs.document, "plot", f"![{CAPTION}](images/{outputs.plot().name})")
    for name, section in SECTIONS.items():
        text = section(content)
        write_section(outputs.document, name, text)
        click.echo(f"{text}\n")
    click.echo(json.dumps(summary, indent=1))
    click.echo(f"Written: {path}, {outputs.document}, {outputs.plot()}", err=True)


if __name__ == "__main__":
    main()
