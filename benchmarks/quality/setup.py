"""The data and the models of a study, as the settings name them."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.quality.diary import Diary
from benchmarks.quality.study import Bench
from benchmarks.quality.verdicts import RememberingJudge, Verdicts, verdicts_of
from core.errors import ModelLoadError
from core.ports import Captioner
from core.settings import Settings
from retrieval.caption import build_captioner
from retrieval.compose import StrategyComposer
from retrieval.datasets.synthcir import WriteOptions, check_synthcir, read_synthcir, write_synthcir
from retrieval.datasets.synthcir_groups import GROUP_SIZE
from retrieval.devices import choose_device
from retrieval.encoders import load_encoder
from retrieval.evaluate.embeddings import VectorCache
from retrieval.evaluate.protocols import DEPTH, PROTOCOLS
from retrieval.evaluate.run import Evaluator
from retrieval.rerank import build_judge
from retrieval.specs import JudgeSource, parse_judge_spec
from retrieval.strategies import COMPOSED
from retrieval.strategies.ablations import ablation_grid, union_grid


@dataclass(frozen=True)
class Prepared:
    """A study that can begin: its `bench`, what its judges know already, and the `setting` that decides its numbers."""

    bench: Bench
    verdicts: Sequence[Verdicts]
    setting: dict[str, Any]


def draw_data(folder: Path, diary: Diary) -> None:
    """SynthCIR with its default options. ConflictError when the folder has something else, such as what it was once."""
    if folder.exists():
        check_synthcir(folder)
        return
    options = WriteOptions()
    pictures = GROUP_SIZE * sum(sum(plan.groups.values()) for plan in options.plans.values())
    with diary.part("SynthCIR") as progress, progress("drawing", pictures) as update:
        write_synthcir(folder, options, progress=lambda done, _: update(done))


def prepare(data: Path, work: Path, settings: Settings, *, limit: int | None) -> Prepared:
    """Load everything. ServiceError says what is missing or wrong; only a captioner may be absent."""
    encoder = load_encoder(settings.encoders.get(settings.default_encoder, settings.default_encoder), settings)
    composer = StrategyComposer({**COMPOSED, **ablation_grid(), **union_grid()})
    cache = VectorCache(work, compute=_compute(settings))
    dev, test = (Evaluator([read_synthcir(data, split)], encoder, composer, cache=cache) for split in ("dev", "test"))
    source = parse_judge_spec(settings.reranker, models_dir=settings.models_dir)
    judge, verdicts = _judge(source, settings, work)
    base, of_base = None, []
    if source.lora is not None:
        base, known = _judge(JudgeSource(source.base, lora=None), settings, work)
        of_base = [known]
    captioner, missing = _captioner(settings)
    setting = {
        "data": json.loads((data / "synthcir" / "about.json").read_text()),
        "protocol": PROTOCOLS["synthcir"].description,
        "encoder": asdict(encoder.identity),
        "judge": {**asdict(judge.identity), "weight": judge.weight, "depth": DEPTH},
        "captioner": missing or settings.captioner or "demo",
        "compute": {"torch": torch.__version__, "device": _compute(settings), "threads": torch.get_num_threads()},
        "limit": limit,
    }
    bench = Bench(dev, test, judge, base, captioner, limit)
    return Prepared(bench, [verdicts, *of_base], setting)


def _judge(source: JudgeSource, settings: Settings, work: Path) -> tuple[RememberingJudge, Verdicts]:
    spec = settings.reranker if source.lora is not None else f"hf:{source.base}"
    verdicts = verdicts_of(source, settings, work)
    return RememberingJudge(build_judge(settings.model_copy(update={"reranker": spec})), verdicts), verdicts


def _captioner(settings: Settings) -> tuple[Captioner | None, str | None]:
    """The captioner of the settings, else the demo's; or why there is none."""
    try:
        return build_captioner(settings.model_copy(update={"captioner": settings.captioner or "demo"})), None
    except ModelLoadError as error:
        return None, f"not measured: {error}"


def _compute(settings: Settings) -> str:
    return f"device {choose_device(settings).type}, type {settings.dtype}"
