import io
import zipfile
from pathlib import Path

import pytest
from rich.console import Console

from cli.demo.catalog import is_current
from cli.offline.catalog import draw_catalog
from retrieval.datasets.catalog import build_gallery

COUNT, SEED, SIZE_PX = 3, 7, 64


@pytest.fixture
def drawn(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.zip"
    draw_catalog(path, count=COUNT, seed=SEED, size_px=SIZE_PX, console=Console(file=io.StringIO()))
    return path


def test_catalog_drawn_before_is_current(drawn: Path) -> None:
    assert is_current(drawn, build_gallery(count=COUNT, seed=SEED), size_px=SIZE_PX)


def test_catalog_of_other_products_or_another_size_is_not(drawn: Path) -> None:
    assert not is_current(drawn, build_gallery(count=COUNT, seed=SEED + 1), size_px=SIZE_PX)
    assert not is_current(drawn, build_gallery(count=COUNT, seed=SEED), size_px=SIZE_PX + 1)


def test_damaged_catalog_is_drawn_again(drawn: Path) -> None:
    items = build_gallery(count=COUNT, seed=SEED)
    drawn.write_bytes(drawn.read_bytes()[:1000])
    assert not is_current(drawn, items, size_px=SIZE_PX)
    with zipfile.ZipFile(drawn, "w"):
        pass
    assert not is_current(drawn, items, size_px=SIZE_PX)
