"""A whole study on 24 drawn pictures, run once."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.quality.diary import Diary
from benchmarks.quality.study import Bench, study
from benchmarks.quality.verdicts import RememberingJudge, Verdicts
from retrieval.compose import StrategyComposer
from retrieval.datasets.products import Split
from retrieval.datasets.synthcir import WriteOptions, read_synthcir, write_synthcir
from retrieval.evaluate.run import Evaluator
from retrieval.strategies import COMPOSED
from retrieval.strategies.ablations import ablation_grid, union_grid
from tests.unit.benchmarks.quality.miniature import ABLATIONS, PLAN, UNIONS, ArbitraryJudge, Describer, Ran
from tests.unit.retrieval.evaluate.scripted import ScriptedEncoder


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    options = WriteOptions(seed=3, size_px=64, plans=dict.fromkeys(Split, PLAN))
    return write_synthcir(tmp_path_factory.mktemp("synthcir") / "data", options)


@pytest.fixture(scope="session")
def ran(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Ran:
    work, encoder = tmp_path_factory.mktemp("work"), ScriptedEncoder()
    composer = StrategyComposer({**COMPOSED, **ablation_grid(), **union_grid()})
    dev, test = (Evaluator([read_synthcir(data, split)], encoder, composer) for split in ("dev", "test"))
    judge = ArbitraryJudge()
    bench = Bench(
        dev,
        test,
        RememberingJudge(judge, Verdicts(work / "judge.npz")),
        RememberingJudge(ArbitraryJudge("base", weight=0.5), Verdicts(work / "base.npz")),
        Describer(),
        unions=UNIONS,
        ablations=ABLATIONS,
    )
    diary = Diary(Console(file=StringIO()))
    saved: list[int] = []
    content = study(bench, diary, lambda found: saved.append(len(found["rows"])))
    return Ran(content, saved, judge, diary)
