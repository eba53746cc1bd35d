"""How good the demo gallery's answers are: the intended product's place after stage 1 and after stage 2."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from cli.demo.queries import TOP
from cli.demo.session import Asked

MIN_TOP = 45


@dataclass(frozen=True)
class Stage:
    """Queries whose intended product came first, and among the first `TOP`."""

    first: int
    top: int


@dataclass(frozen=True)
class Check:
    """The outcome. `failures` says why it is not good enough; empty when it is."""

    queries: int
    stage1: Stage
    stage2: Stage
    failures: tuple[str, ...]


def score(asked: Sequence[Asked], *, min_top: int = MIN_TOP) -> Check:
    """Count, and compare the stages: stage 2 needs `min_top` in the top and must not be worse than stage 1."""
    stage1 = _stage([each.coarse_rank for each in asked])
    stage2 = _stage([each.rank for each in asked])
    failures = []
    skipped = [each for each in asked if not each.answer["reranked"]]
    if skipped:
        failures.append(f"{len(skipped)} queries were not re-ranked: {skipped[0].answer.get('reason')}")
    if stage2.top < min_top:
        failures.append(f"{stage2.top} of {len(asked)} intended products are in the top {TOP}; {min_top} are needed")
    if stage2.top < stage1.top:
        failures.append(f"re-ranking made it worse: {stage1.top} in the top {TOP} before, {stage2.top} after")
    return Check(queries=len(asked), stage1=stage1, stage2=stage2, failures=tuple(failures))


def _stage(ranks: Sequence[int | None]) -> Stage:
    known = [rank for rank in ranks if rank is not None]
    return Stage(first=sum(rank == 1 for rank in known), top=sum(rank <= TOP for rank in known))


def print_check(console: Console, check: Check) -> None:
    """The two stages side by side."""
    table = Table(title=f"{check.queries} composed queries", title_justify="left")
    table.add_column("ranking")
    table.add_column("R@1", justify="right")
    table.add_column(f"in the top {TOP}", justify="right")
    for name, stage in (("stage 1: coarse", check.stage1), ("stage 2: re-ranked", check.stage2)):
        table.add_row(name, f"{stage.first / check.queries:.0%}", f"{stage.top} of {check.queries}")
    console.print(table)


def write_json(path: Path, check: Check, asked: Sequence[Asked]) -> None:
    """The outcome with every query's ranks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    report = {**asdict(check), "top": TOP, "results": [_line(each) for each in asked]}
    path.write_text(json.dumps(report, indent=2) + "\n")


def _line(asked: Asked) -> dict[str, Any]:
    return {
        "reference": asked.query.reference,
        "text": asked.query.text,
        "intended": sorted(asked.query.intended),
        "coarse_rank": asked.coarse_rank,
        "rank": asked.rank,
    }
