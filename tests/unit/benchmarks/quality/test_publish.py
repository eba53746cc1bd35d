"""From numbers to the document, the plot and the JSON."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.quality.__main__ import DOCUMENT, Outputs, publish
from benchmarks.quality.tables import SECTIONS
from benchmarks.report import RESULTS
from tests.unit.benchmarks.quality.miniature import Ran

NAMES = (*SECTIONS, "taken-on", "plot")


def between(text: str, name: str) -> str:
    return text.partition(f"<!-- {name}:begin -->")[2].partition(f"<!-- {name}:end -->")[0].strip()


@pytest.mark.parametrize("name", NAMES)
def test_the_document_has_each_marker_once(name: str) -> None:
    text = DOCUMENT.read_text()

    assert text.count(f"<!-- {name}:begin -->") == text.count(f"<!-- {name}:end -->") == 1


def test_everything_is_written(ran: Ran, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outputs = Outputs(work=tmp_path, results=tmp_path / "new", document=tmp_path / "new" / "quality.md")
    publish(ran.content, outputs, "make bench-quality LIMIT=12")
    text, prose, printed = outputs.document.read_text(), DOCUMENT.read_text(), capsys.readouterr().out

    for name in SECTIONS:
        assert between(text, name).startswith("| ")
        assert between(text, name) in printed
    assert "make bench-quality LIMIT=12" in between(text, "taken-on")
    assert between(text, "plot").endswith("](images/quality.png)")
    assert text.splitlines()[0] == prose.splitlines()[0]
    content = json.loads((tmp_path / "new" / "quality.json").read_text())
    assert content["summary"]["best_union"] == ran.content["dev"]["best_union"]["own"]
    assert content["rows"] == ran.content["rows"]
    with Image.open(outputs.plot()) as plot:
        assert plot.format == "PNG"


def test_tables_show_the_numbers_of_the_rows(ran: Ran) -> None:
    tables = {name: section(ran.content) for name, section in SECTIONS.items()}
    measured = ran.content["rows"][0]["metrics"]["R@1"]

    assert (
        f"| `text` | 1 | {measured['percent']:.1f} ({measured['ci95'][0]:.1f}..{measured['ci95'][1]:.1f}) |"
        in (tables["strategies"])
    )
    assert tables["strategies"].count("| `text` |") == 2
    assert len(tables["against-union"].splitlines()) == 2 + 5
    assert "base without the adapter, judge alone" in tables["judge"]
    assert "`intersection-literal-0.50`" in tables["ablations"]
    assert "| same-scene |" in tables["slices"]


def test_a_judge_without_an_adapter_has_no_rows_of_its_base(ran: Ran) -> None:
    rows = [row for row in ran.content["rows"] if row["judge"] not in {"base", "base alone"}]
    comparisons = {name: each for name, each in ran.content["comparisons"].items() if name != "adapter_minus_base"}
    text = SECTIONS["judge"]({**ran.content, "rows": rows, "comparisons": comparisons})

    assert "without the adapter" not in text
    assert "the adapter gains" not in text


def test_a_limited_run_leaves_the_published_numbers_alone() -> None:
    whole, limited = Outputs.of(None), Outputs.of(40)

    assert (whole.results, whole.document) == (RESULTS, DOCUMENT)
    assert whole.plot() == DOCUMENT.parent / "images" / "quality.png"
    assert replace(limited, results=RESULTS, document=DOCUMENT) == whole
    assert RESULTS not in limited.results.parents
    assert DOCUMENT.parent not in limited.document.parents
