import zipfile
from pathlib import Path

from click.testing import CliRunner

from cli.main import main


def test_draw_writes_photos_and_a_manifest_and_says_how_to_import(tmp_path: Path) -> None:
    out = tmp_path / "new" / "out.zip"
    result = CliRunner().invoke(main, ["catalog", "draw", str(out), "--count", "3", "--size", "64"])
    assert result.exit_code == 0, result.output
    assert f"setr import {out}" in result.output
    with zipfile.ZipFile(out) as archive:
        assert len(archive.namelist()) == 4
    assert [path.name for path in out.parent.iterdir()] == ["out.zip"]


def test_too_many_products_is_one_clean_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["catalog", "draw", str(tmp_path / "out.zip"), "--count", "100000"])
    assert result.exit_code == 1
    assert "Error: Cannot draw" in result.output
    assert list(tmp_path.iterdir()) == []
