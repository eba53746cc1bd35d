"""Many distinct photos, cheaply: some that are drawn and cached, each cropped and tinted in many ways."""

import csv
import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.Image import Image as Picture

from benchmarks.report import WORK
from retrieval.datasets.catalog import build_gallery
from retrieval.datasets.synthetic import draw

_SEED = 11
_BITS = 24
_MARK_PX = 4
_COLORS = ("red", "green", "blue", "black", "white", "yellow", "brown")


@dataclass(frozen=True)
class Stock:
    """So many drawn photos, of so many pixels, from which crops of `side_px` are taken."""

    drawn: int
    drawn_px: int
    side_px: int
    quality: int = 85


THUMBNAILS = Stock(drawn=256, drawn_px=112, side_px=96)
PHOTOS = Stock(drawn=64, drawn_px=1080, side_px=1000, quality=90)


def pictures(count: int, stock: Stock = THUMBNAILS) -> Iterator[bytes]:
    """`count` distinct JPEGs, always the same ones; ValueError beyond 2^24."""
    if count >= 2**_BITS:
        raise ValueError(f"at most {2**_BITS} pictures can be told apart")
    drawn = _drawn(stock)
    for number in range(count):
        yield _jpeg(_varied(drawn[number % len(drawn)], number, stock), stock.quality)


def catalog(count: int, stock: Stock = THUMBNAILS) -> Path:
    """A ZIP of `count` photos with a manifest `catalog.csv`; made once, then taken from the cache."""
    path = WORK / f"catalog-{count}-{stock.side_px}px.zip"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_suffix(".new")
        with zipfile.ZipFile(unfinished, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("catalog.csv", _manifest(count))
            for number, data in enumerate(pictures(count, stock)):
                archive.writestr(_image(number), data)
        unfinished.rename(path)
    return path


def catalog_truth(path: Path) -> dict[str, str]:
    """What an import of the catalog must come to: external_id -> SHA-256."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        truth = {_external_id(number): _sha256(archive.read(_image(number))) for number in range(len(names))}
    if len(set(truth.values())) != len(truth):
        raise ValueError(f"{path} holds the same picture twice; delete it and try again")
    return truth


def _manifest(count: int) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("external_id", "image", "color", "price", "in_stock"))
    for number in range(count):
        color = _COLORS[number % len(_COLORS)]
        writer.writerow((_external_id(number), _image(number), color, f"{5 + number % 200}.50", "true"))
    return text.getvalue()


def _external_id(number: int) -> str:
    return f"sku-{number:06d}"


def _image(number: int) -> str:
    return f"images/{number // 1000:03d}/{number:06d}.jpg"


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _drawn(stock: Stock) -> list[Picture]:
    folder = WORK / f"drawn-{stock.drawn_px}px"
    if not folder.exists():
        unfinished = folder.with_suffix(".new")
        unfinished.mkdir(parents=True, exist_ok=True)
        for number, item in enumerate(build_gallery(count=stock.drawn, seed=_SEED)):
            draw(item.shot, stock.drawn_px).save(unfinished / f"{number:03d}.png")
        unfinished.rename(folder)
    return [Image.open(path).convert("RGB") for path in sorted(folder.glob("*.png"))]


def _varied(picture: Picture, number: int, stock: Stock) -> Picture:
    """Another crop and tint, with the number as a row of dark and light blocks, so that no two are the same."""
    rng = np.random.default_rng([_SEED, number])
    side = stock.side_px
    left, top = (int(offset) for offset in rng.integers(0, stock.drawn_px - side, size=2))
    pixels = np.asarray(picture.crop((left, top, left + side, top + side)), np.float32)
    pixels = np.clip(pixels * rng.uniform(0.8, 1.2, size=3) + rng.uniform(-12, 12), 0, 255).astype(np.uint8)
    bits = np.array([number >> bit & 1 for bit in range(_BITS)], np.uint8) * 255
    row = np.repeat(bits, side // _BITS)
    pixels[:_MARK_PX, : len(row)] = row[None, :, None]
    return Image.fromarray(pixels)


def _jpeg(picture: Picture, quality: int) -> bytes:
    target = io.BytesIO()
    picture.save(target, "JPEG", quality=quality)
    return target.getvalue()
