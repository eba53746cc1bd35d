"""`setr eval`: benchmarks of composed retrieval, answered by the code that serves queries."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from cli.commands.progress import count_bar
from core.errors import ServiceError
from core.settings import Settings, load_settings
from retrieval.compose import StrategyComposer
from retrieval.datasets.circo import read_circo
from retrieval.datasets.cirr import read_cirr
from retrieval.datasets.composed import CirDataset
from retrieval.datasets.fashioniq import read_fashioniq
from retrieval.datasets.synthcir import read_synthcir
from retrieval.evaluate.embeddings import VectorCache
from retrieval.evaluate.protocols import DEPTH
from retrieval.evaluate.report import as_json
from retrieval.evaluate.run import EvalOptions, Evaluation, Models, evaluate
from retrieval.evaluate.space import AttributeUse
from retrieval.evaluate.submissions import write_circo_submission, write_cirr_submission
from retrieval.strategies import COMPOSED
from retrieval.strategies.ablations import ABLATIONS, ablation_grid, union_grid

READERS: Mapping[str, Callable[[Path, str], Sequence[CirDataset]]] = MappingProxyType(
    {
        "cirr": lambda folder, split: (read_cirr(folder, split),),
        "fashioniq": read_fashioniq,
        "circo": lambda folder, split: (read_circo(folder, split),),
        "synthcir": lambda folder, split: (read_synthcir(folder, split),),
    }
)
DEFAULT_SPLITS: Mapping[str, str] = MappingProxyType(
    {"cirr": "val", "fashioniq": "val", "circo": "val", "synthcir": "test"}
)
_SERVED = ("cirr", "circo", "synthcir")
_MIN_COLUMNS = 156


@dataclass(frozen=True)
class Choice:
    """What is asked for on the command line, besides how to answer."""

    dataset: str
    data: Path
    split: str
    encoder: str | None
    judge: str | None
    rerank: bool
    cache: Path | None
    submission: Path | None


@click.command("eval")
@click.argument("dataset", type=click.Choice(list(READERS)))
@click.option(
    "--data", type=click.Path(path_type=Path, exists=True, file_okay=False), required=True, help="Its folder."
)
@click.option("--split", help="Split, named as its files are (default: val; of SynthCIR test).")
@click.option("--strategy", default="intersection", show_default=True, help="How stage 1 composes; ablations too.")
@click.option("--rerank", is_flag=True, help="Run stage 2, the judge; slow without a GPU: see --limit.")
@click.option("--depth", type=click.IntRange(1, 200), default=DEPTH, show_default=True, help="What the judge sees.")
@click.option("--encoder", help="A name of SETR_ENCODERS, or a spec (default: the default encoder).")
@click.option("--judge", help="Spec of the judge (default: SETR_RERANKER).")
@click.option(
    "--attributes",
    type=click.Choice([use.value for use in AttributeUse]),
    default=AttributeUse.OWN.value,
    show_default=True,
    help="What composition may know of the catalog, where the data set has attributes.",
)
@click.option("--negatives", is_flag=True, help="What SynthCIR's texts deny is given as `negative_text` too.")
@click.option("--drop-reference/--keep-reference", default=None, help="Against the protocol; recorded.")
@click.option("--limit", type=click.IntRange(min=1), help="Only so many queries (of each category), evenly spread.")
@click.option(
    "--cache", type=click.Path(path_type=Path, file_okay=False), help="Keep vectors here, not in the data folder."
)
@click.option("--json", "json_path", type=click.Path(path_type=Path, dir_okay=False), help="Write everything here.")
@click.option("--submission", type=click.Path(path_type=Path, file_okay=False), help="Write the server's files here.")
def evaluate_command(**given: Any) -> None:
    """Evaluate on DATASET by its official protocol. docs/evaluation.md says how the folders must look."""
    choice, options = _choice(given), _options(given)
    progress = Console(stderr=True)
    try:
        _check(choice, options)
        evaluation = run(choice, options, load_settings(), console=progress)
        content = as_json(evaluation)
        written = [] if choice.submission is None else _write_submission(evaluation, choice.submission)
        if given["json_path"] is not None:
            given["json_path"].parent.mkdir(parents=True, exist_ok=True)
            given["json_path"].write_text(json.dumps(content, indent=1) + "\n")
            written.append(given["json_path"])
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    _print_report(content)
    for path in written:
        click.echo(f"Written: {path}", err=True)


def run(choice: Choice, options: EvalOptions, settings: Settings, *, console: Console) -> Evaluation:
    """Read, load the models and answer all queries under progress bars. ServiceError says what is wrong."""
    from retrieval.devices import choose_device, limit_threads

    datasets = READERS[choice.dataset](choice.data, choice.split)
    limit_threads(settings)
    models = load_models(choice, options.strategy, settings)
    cache = VectorCache(
        folder=choice.cache or settings.data_dir / "eval-cache",
        compute=f"device {choose_device(settings).type}, type {settings.dtype}",
        threads=settings.ingest_threads,
    )

    def progress(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return count_bar(console, label, total)

    return evaluate(datasets, models, options, cache=cache, progress=progress)


def load_models(choice: Choice, strategy: str, settings: Settings) -> Models:
    """The models that the workers would load, by the settings or by what the command line says instead."""
    from retrieval.encoders import load_encoder

    name = choice.encoder or settings.default_encoder
    encoder = load_encoder(settings.encoders.get(name, name), settings)
    judge = None
    if choice.rerank:
        from retrieval.judges import load_judge

        judge = load_judge(settings.model_copy(update={"reranker": choice.judge or settings.reranker}))
    captioner = None
    if strategy == "caption":
        from retrieval.caption import build_captioner

        captioner = build_captioner(settings)
    return Models(encoder=encoder, composer=build_composer(strategy), judge=judge, captioner=captioner)


def build_composer(strategy: str) -> StrategyComposer:
    """The service's strategies and the ablations; of those with another share of the text the one of that name."""
    tunable = union_grid() | ablation_grid()
    asked = {strategy: tunable[strategy]} if strategy in tunable else {}
    return StrategyComposer({**COMPOSED, **ABLATIONS, **asked})


def _write_submission(evaluation: Evaluation, folder: Path) -> list[Path]:
    """The files of the data set's test server."""
    answers = {answer.query.id: answer.ranked for answer in evaluation.answers[0]}
    split = evaluation.datasets[0].split
    if evaluation.protocol.name == "cirr":
        return list(write_cirr_submission(folder, split, answers))
    return [write_circo_submission(folder, split, answers)]


def _print_report(content: Mapping[str, Any]) -> None:
    """The table of metrics, slices below the whole, and what must be known to read it."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _MIN_COLUMNS)
    if "metrics" in content:
        console.print(_table(content))
    else:
        console.print("The targets of this split are known to its test server only: upload the submission.")
    for name, percent in content["explanations"].items():
        console.print(f"{name.replace('_', ' ')}: {percent:.1f} % of the queries that should")
    removed = content.get("stage2_errors_removed")
    if removed is not None:
        low, high = removed["ci95"]
        console.print(f"stage 2 removes {removed['percent']:.1f} % ({low:.1f}..{high:.1f}) of stage 1's R@1 errors")
    console.print(_setting(content), style="dim")
    for note in content["notes"]:
        console.print(f"Note: {note}")


def _table(content: Mapping[str, Any]) -> Table:
    names = list(content["metrics"])
    table = Table(title=f"{content['dataset']} {content['split']}, percent with 95 % intervals", title_justify="left")
    table.add_column("", no_wrap=True)
    table.add_column("queries", justify="right")
    for name in names:
        table.add_column(name, justify="right", overflow="fold")
    every = sum(content["queries"])
    whole = [("stage 1", "stage1_metrics"), ("stage 1 + 2", "metrics"), ("stage 2 gains", "stage2_gain")]
    for label, key in whole if "stage1_metrics" in content else [("all", "metrics")]:
        table.add_row(label, f"{every:,}", *(_with_interval(content[key][name]) for name in names))
    parts = zip(content.get("parts", {}).items(), content["queries"], strict=False)
    slices = [(label, each["queries"], each["metrics"]) for label, each in content["slices"].items()]
    for label, queries, metrics in [*((part, queries, metrics) for (part, metrics), queries in parts), *slices]:
        table.add_row(label, f"{queries:,}", *(f"{metrics[name]['percent']:.2f}" for name in names))
    return table


def _with_interval(measured: Mapping[str, Any]) -> str:
    low, high = measured["ci95"]
    return f"{measured['percent']:.2f}\n[dim]{low:.1f}..{high:.1f}[/dim]"


def _setting(content: Mapping[str, Any]) -> str:
    encoder, judge = content["encoder"], content["judge"]
    negatives = " with negative texts" if content["negatives"] else ""
    reference = "removed" if content["protocol"]["reference_removed"] else "kept"
    judged = "no judge" if judge is None else f"judge {judge['spec']} over {judge['depth']}, weight {judge['weight']:g}"
    return (
        f"strategy {content['strategy']}{negatives}, attributes {content['attributes']}, encoder {encoder['spec']} "
        f"({encoder['weights_sha256'][:12]}), {judged}, reference {reference}, "
        f"{sum(content['queries'])} of {sum(content['queries_of_the_split'])} queries"
    )


def _choice(given: Mapping[str, Any]) -> Choice:
    names = ("dataset", "data", "encoder", "judge", "rerank", "cache", "submission")
    split = given["split"] or DEFAULT_SPLITS[given["dataset"]]
    return Choice(split=split, **{name: given[name] for name in names})


def _options(given: Mapping[str, Any]) -> EvalOptions:
    return EvalOptions(
        strategy=given["strategy"],
        depth=given["depth"],
        limit=given["limit"],
        drop_reference=given["drop_reference"],
        attributes=AttributeUse(given["attributes"]),
        negatives=given["negatives"],
    )


def _check(choice: Choice, options: EvalOptions) -> None:
    """Refuse combinations whose result would mislead, before hours are spent."""
    if choice.submission is not None and choice.dataset not in _SERVED:
        raise click.UsageError(f"{choice.dataset} has no test server: leave --submission out.")
    if choice.submission is not None and options.limit is not None:
        raise click.UsageError("A test server wants every query: leave --limit out, or --submission.")
    if choice.submission is not None and options.drop_reference is not None:
        raise click.UsageError("A test server goes by the protocol: leave --drop-reference and --keep-reference out.")
    if options.negatives and choice.dataset != "synthcir":
        raise click.UsageError(f"{choice.dataset} does not tell what its texts deny: leave --negatives out.")
    if choice.judge is not None and not choice.rerank:
        raise click.UsageError("--judge says who re-ranks: add --rerank.")
