"""`setr train`: judges of one's own, and the demo models again. Runs where the GPU is; no server is needed."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from cli.commands.progress import count_bar
from core.errors import ServiceError
from core.settings import Settings, load_settings
from retrieval.compose import StrategyComposer
from retrieval.datasets.composed import CirDataset
from retrieval.datasets.triplets import FILES, FOLDERS, hold_out, read_triplets, share_galleries
from retrieval.specs import parse_judge_spec
from retrieval.strategies import COMPOSED

if TYPE_CHECKING:
    from retrieval.train.mining import Miner
    from retrieval.train.reranker import Material, RerankerRecipe

_SOURCES = ", ".join([*(f"{kind}:FOLDER[@SPLIT]" for kind in FOLDERS), *(f"{kind}:FILE" for kind in FILES)])
_STRATEGIES = [name for name in COMPOSED if name != "caption"]
"""`caption` would have a model write a description for each triplet at each turn."""
_Folder = partial(click.Path, path_type=Path, file_okay=False)


@dataclass(frozen=True)
class Choice:
    """What is asked for on the command line, besides the recipe."""

    triplets: tuple[str, ...]
    validation: tuple[str, ...]
    validation_share: float
    images: Path | None
    base: str
    encoder: str | None
    out: Path
    work: Path
    batch: int
    gradient_checkpointing: bool


@click.group("train")
def train() -> None:
    """Train a judge's adapter on your own triplets, or the demo models from scratch.

    Training goes on from the checkpoint in its --work folder; remove that folder to start over. SETR_DEVICE,
    SETR_DTYPE and SETR_TORCH_THREADS say where and how it computes: a GPU is used when there is one.
    """


@train.command("reranker")
@click.option("--triplets", multiple=True, required=True, metavar="KIND:PATH", help=f"Repeatable: {_SOURCES}.")
@click.option("--base", required=True, help="What the adapter is for: a hub id, a folder, or a spec (hf:…, demo).")
@click.option("--out", type=_Folder(), required=True, help="New folder of the adapter.")
@click.option("--work", type=_Folder(), help="Where checkpoints are kept (default: OUT.work).")
@click.option("--images", type=_Folder(exists=True), help="Root of the paths in files (default: the file's folder).")
@click.option("--validation", multiple=True, metavar="KIND:PATH", help="Check on these (default: held-out triplets).")
@click.option("--validation-share", type=click.FloatRange(0, 0.9, min_open=True), default=0.1, show_default=True)
@click.option("--encoder", help="Draw hard negatives by this encoder (a name of SETR_ENCODERS, or a spec).")
@click.option(
    "--strategy",
    type=click.Choice(_STRATEGIES),
    default="intersection",
    show_default=True,
    help="How stage 1 composes, with --encoder.",
)
@click.option(
    "--depth", type=click.IntRange(min=1), default=100, show_default=True, help="How deep to look into stage 1."
)
@click.option(
    "--margin",
    type=click.FloatRange(min=0),
    default=0.1,
    show_default=True,
    help="Taken for right, though nobody said so: pictures that stage 1 puts this many standard deviations above the"
    " target. 1000 where all right answers are known.",
)
@click.option("--epochs", type=click.FloatRange(0, min_open=True), default=1.0, show_default=True)
@click.option("--steps", type=click.IntRange(min=1), help="So many steps, whatever the epochs.")
@click.option("--queries", type=click.IntRange(min=1), default=8, show_default=True, help="Triplets a step.")
@click.option("--negatives", type=click.IntRange(1, 64), default=4, show_default=True, help="Wrong answers a triplet.")
@click.option("--batch", type=click.IntRange(min=1), default=4, show_default=True, help="Judgements a forward pass.")
@click.option("--learning-rate", type=click.FloatRange(0, min_open=True), default=1e-4, show_default=True)
@click.option("--rank", type=click.IntRange(min=1), default=16, show_default=True, help="LoRA rank; alpha is twice it.")
@click.option("--validate-every", type=click.IntRange(min=1), default=50, show_default=True, help="Steps.")
@click.option("--validation-queries", type=click.IntRange(min=1), default=100, show_default=True, help="At most.")
@click.option("--patience", type=click.IntRange(min=1), default=5, show_default=True, help="Checks without a gain.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
@click.option("--gradient-checkpointing", is_flag=True, help="Much less memory, about a third slower.")
def reranker(**given: Any) -> None:
    """Fine-tune a judge: a LoRA adapter for a multimodal model, on triplets. docs/training.md is the guide."""
    choice = _choice(given)
    try:
        metrics = run(choice, given, load_settings(), console=Console(stderr=True))
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    before, after = metrics["validation"]["base_alone"], metrics["validation"]["adapted"]
    click.echo(f"AUC on validation: {before['auc']:.4f} for the base alone, {after['auc']:.4f} with the adapter")
    if metrics["best_step"] == 0:
        click.echo("No check was better than the base alone, so the adapter changes nothing.", err=True)
    click.echo(f"SETR_RERANKER='{metrics['base']}+lora={choice.out}'")


def run(choice: Choice, given: Mapping[str, Any], settings: Settings, *, console: Console) -> dict[str, Any]:
    """Read, train under progress bars, calibrate, write; returns the metrics. ServiceError says what is wrong."""
    from retrieval.devices import limit_threads
    from retrieval.train.adapter_files import About, calibrate, check_absent, metrics_of, write_adapter
    from retrieval.train.lora import build_learner
    from retrieval.train.reranker import train_adapter

    check_absent(choice.out)
    limit_threads(settings)
    recipe = _recipe(given)
    material = _material(choice, recipe, settings, console)
    spec = choice.base if choice.base == "demo" or choice.base.startswith("hf:") else f"hf:{choice.base}"
    learner = build_learner(spec, settings, recipe.lora, batch=choice.batch, seed=recipe.seed)
    if choice.gradient_checkpointing:
        learner.checkpoint_gradients()
    trained = train_adapter(learner, material, recipe, work=choice.work)
    fitted = calibrate(learner, material, recipe)
    base = parse_judge_spec(spec, models_dir=settings.models_dir).base  # `demo` names a base and an adapter
    about = About(f"hf:{base}", choice.triplets, choice.validation)
    metrics = metrics_of(about, learner, material, recipe, (trained, fitted))
    write_adapter(choice.out, learner, fitted.calibration, metrics)
    return metrics


def _choice(given: Mapping[str, Any]) -> Choice:
    names = ("triplets", "validation", "validation_share", "images", "base", "encoder", "out", "batch")
    return Choice(
        work=given["work"] or given["out"].with_name(f"{given['out'].name}.work"),
        gradient_checkpointing=given["gradient_checkpointing"],
        **{name: given[name] for name in names},
    )


def _recipe(given: Mapping[str, Any]) -> "RerankerRecipe":
    from retrieval.train.lora import LoraShape
    from retrieval.train.mining import MiningRule
    from retrieval.train.reranker import RerankerRecipe

    names = (
        *("epochs", "steps", "queries", "negatives", "learning_rate"),
        *("validate_every", "validation_queries", "patience", "seed"),
    )
    return RerankerRecipe(
        lora=LoraShape(rank=given["rank"], alpha=2 * given["rank"]),
        mining=MiningRule(strategy=given["strategy"], depth=given["depth"], margin=given["margin"]),
        **{name: given[name] for name in names},
    )


def _material(choice: Choice, recipe: "RerankerRecipe", settings: Settings, console: Console) -> "Material":
    from retrieval.train.reranker import Material

    data = read_triplets(choice.triplets, images=choice.images)
    if choice.validation:
        kept, held = share_galleries(data, read_triplets(choice.validation, images=choice.images))
    else:
        kept, held = hold_out(data, share=choice.validation_share, seed=recipe.seed)
    for note in dict.fromkeys((*kept.notes, *held.notes)):
        console.print(f"Note: {note}")
    console.print(f"{len(kept.triplets):,} triplets to learn from, {len(held.triplets):,} to check on")
    if choice.encoder is None:
        return Material(kept, held)
    miner, stage1 = _stage1(choice.encoder, kept.galleries, recipe, settings, console)
    return Material(kept, held, miner, stage1)


def _stage1(
    name: str, galleries: Sequence[CirDataset], recipe: "RerankerRecipe", settings: Settings, console: Console
) -> "tuple[Miner, str]":
    """Stage 1 over the galleries, and what it is, for the record."""
    from retrieval.devices import choose_device
    from retrieval.encoders import load_encoder
    from retrieval.evaluate.embeddings import VectorCache
    from retrieval.train.mining import Stage1, build_miner

    def progress(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
        return count_bar(console, label, total)

    encoder = load_encoder(settings.encoders.get(name, name), settings)
    compute = f"device {choose_device(settings).type}, type {settings.dtype}"
    cache = VectorCache(settings.data_dir / "eval-cache", compute, settings.ingest_threads)
    miner = build_miner(galleries, Stage1(encoder, StrategyComposer(), cache), recipe.mining, progress=progress)
    weights = encoder.identity.weights_sha256[:12]
    return miner, f"{encoder.identity.spec} ({weights}), strategy {recipe.mining.strategy}"


@train.command("encoder-demo")
@click.option("--out", type=_Folder(), required=True, help="Folder of the finished model; files in it are replaced.")
@click.option("--work", type=_Folder(), required=True, help="Where checkpoints and drawn pictures are kept.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def encoder_demo(*, out: Path, work: Path, seed: int) -> None:
    """Train the demo encoder on drawn pictures: 20 to 45 minutes on two CPU cores. A GPU is used when there is one."""
    from retrieval.devices import choose_device, limit_threads
    from retrieval.train.encoder_demo import EncoderRecipe, train_encoder

    try:
        settings = load_settings()
        limit_threads(settings)
        metrics = train_encoder(EncoderRecipe.seeded(seed), out=out, work=work, device=choose_device(settings))
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out} is written, after {metrics['training_seconds']} s of training.")


@train.command("reranker-demo")
@click.option("--encoder", type=_Folder(exists=True), required=True, help="Folder of the demo encoder.")
@click.option("--out", type=_Folder(), required=True, help="Folder of the base model; files in it are replaced.")
@click.option("--work", type=_Folder(), required=True, help="Where checkpoints and drawn pictures are kept.")
@click.option("--seed", type=click.IntRange(min=0), default=1, show_default=True)
def reranker_demo(*, encoder: Path, out: Path, work: Path, seed: int) -> None:
    """Train the demo judge's base model on drawn pictures: about an hour and a half on two CPU cores.

    It reads, describes and compares; `setr train reranker` then makes a judge of it, as of any base. A GPU is used when
    there is one.
    """
    from retrieval.devices import choose_device, limit_threads
    from retrieval.train.reranker_demo import JudgeRecipe, train_judge_base

    try:
        settings = load_settings()
        limit_threads(settings)
        device = choose_device(settings)
        metrics = train_judge_base(JudgeRecipe(seed=seed), encoder=encoder, out=out, work=work, device=device)
    except (ServiceError, OSError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"{out} is written, after {metrics['training_seconds']} s of training.")
