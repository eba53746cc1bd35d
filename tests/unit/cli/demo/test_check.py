import json
from pathlib import Path
from typing import Any, cast

import pytest

from cli.demo.check import score, write_json
from cli.demo.queries import DemoQuery
from cli.demo.report import verdict
from cli.demo.session import Asked
from cli.wire import Answer
from tests.unit.cli.scripted import answer_json, result_json


def asked(rank: int | None, coarse: int | None = None, *, reranked: bool = True, kind: str = "composed") -> Asked:
    """An answer that has the intended product at these ranks, or not at all."""
    rows = [result_json(position, f"other-{position}") for position in range(1, 8)]
    if rank is not None:
        rows[rank - 1] = result_json(rank, "meant", coarse=coarse)
    query = DemoQuery(kind=kind, text="in red", reference="p1", intended=frozenset({"meant"}))
    fields: dict[str, Any] = {"reranked": reranked, "reason": None if reranked else "budget spent"}
    return Asked(query=query, answer=cast(Answer, answer_json(rows, **fields)))


def test_stages_are_counted_apart() -> None:
    check = score([asked(1, 3), asked(5, 6), asked(6, 1), asked(None)], min_top=2)
    assert (check.stage1.first, check.stage1.top) == (1, 2)
    assert (check.stage2.first, check.stage2.top) == (1, 2)
    assert check.failures == ()


@pytest.mark.parametrize(
    ("answers", "failure"),
    [
        ([asked(1), asked(6, 6)], "1 of 2 intended products are in the top 5; 2 are needed"),
        ([asked(1), asked(6, 1)], "re-ranking made it worse: 2 in the top 5 before, 1 after"),
        ([asked(1), asked(1, reranked=False)], "1 queries were not re-ranked: budget spent"),
    ],
)
def test_a_bad_outcome_says_why(answers: list[Asked], failure: str) -> None:
    assert failure in score(answers, min_top=2).failures


def test_json_holds_each_query(tmp_path: Path) -> None:
    answers = [asked(2, 4), asked(None)]
    path = tmp_path / "out" / "check.json"
    write_json(path, score(answers), answers)
    report = json.loads(path.read_text())
    assert report["stage2"] == {"first": 0, "top": 1}
    assert [(line["coarse_rank"], line["rank"]) for line in report["results"]] == [(4, 2), (None, None)]


def test_the_demo_needs_three_of_its_composed_queries() -> None:
    misses = [asked(6), asked(None)]
    assert verdict([asked(1), asked(5), asked(3), *misses]) == ""
    assert "Only 2 of 4" in verdict([asked(1), asked(5), *misses, asked(1, kind="text")])
