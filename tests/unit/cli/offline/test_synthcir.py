from pathlib import Path
from types import MappingProxyType

import pytest
from click.testing import CliRunner

from cli.main import main
from retrieval.datasets import synthcir
from retrieval.datasets.products import Split
from retrieval.datasets.synthcir_groups import Kind, Plan


def test_write_draws_the_benchmark_and_says_how_to_evaluate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Plan({Kind.MIXED: 1}, queries_per_group=2)
    monkeypatch.setattr(synthcir, "PLANS", MappingProxyType(dict.fromkeys(Split, small)))
    out = tmp_path / "new" / "synthcir"
    result = CliRunner().invoke(main, ["synthcir", "write", str(out), "--size", "64"])

    assert result.exit_code == 0, result.output
    assert f"setr eval synthcir --data {out}" in result.output
    assert len(list(out.rglob("*.jpg"))) == 18


def test_an_existing_folder_is_one_clean_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["synthcir", "write", str(tmp_path)])

    assert result.exit_code == 1
    assert "exists already" in result.output
