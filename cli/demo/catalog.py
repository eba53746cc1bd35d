"""The demo's catalog ZIP, drawn once per data folder."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from cli.offline.catalog import draw_catalog
from retrieval.datasets.catalog import CatalogItem, build_gallery, manifest_csv
from retrieval.datasets.synthetic import draw, encode_jpeg

GALLERY = "demo"
COUNT = 600
SEED = 7
SIZE_PX = 384


def demo_items() -> list[CatalogItem]:
    """The products of the demo gallery."""
    return build_gallery(count=COUNT, seed=SEED)


def cached_catalog(data_dir: Path, items: Sequence[CatalogItem], *, console: Console) -> Path:
    """The catalog ZIP of the data folder; drawn under a progress bar unless it is there and up to date."""
    # Like the supervisor, which may find the folder made: others pass through but do not look around.
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    path = data_dir / "demo" / f"catalog-{COUNT}-{SEED}-{SIZE_PX}.zip"
    if path.exists() and is_current(path, items):
        console.print(f"Catalog of {COUNT} photos: {path} (drawn before)", markup=False)
        return path
    path.parent.mkdir(exist_ok=True)
    draw_catalog(path, count=COUNT, seed=SEED, size_px=SIZE_PX, console=console)
    return path


def is_current(path: Path, items: Sequence[CatalogItem], *, size_px: int = SIZE_PX) -> bool:
    """Whether today's generator would write this manifest and this first photo."""
    first = items[0]
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.read("catalog.csv").decode() == manifest_csv(items) and archive.read(
                first.image
            ) == encode_jpeg(draw(first.shot, size_px))
    except (zipfile.BadZipFile, KeyError):
        return False
