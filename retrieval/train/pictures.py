"""Training pictures, drawn once at the model's size and kept as one array, so that no training loop ever draws."""

import hashlib
import io
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich.progress import track

from retrieval.datasets.products import SCENES, Shot, Split, products_of
from retrieval.datasets.synthetic import draw, encode_jpeg, product_mask

Pictures = NDArray[np.uint8]

_SUPERSAMPLING = 2


def training_shots(split: Split, *, count: int, seed: int) -> list[Shot]:
    """`count` shots of random products of a split before random scenes, each with a seed of its own."""
    products = products_of(split)
    rng = np.random.default_rng([seed, list(Split).index(split)])
    chosen = rng.integers(len(products), size=count)
    scenes = rng.integers(len(SCENES), size=count)
    seeds = rng.integers(2**31, size=count)
    return [
        Shot(products[product], SCENES[scene], int(shot_seed))
        for product, scene, shot_seed in zip(chosen, scenes, seeds, strict=True)
    ]


def render(shots: Sequence[Shot], *, size_px: int, cache: Path) -> Pictures:
    """Pictures of `shots` as uint8 [n, size_px, size_px, 3]; a second call with the same shots reads `cache`."""
    return _cached("pictures", small_photo, shots, size_px=size_px, cache=cache)


def render_masks(shots: Sequence[Shot], *, size_px: int, cache: Path) -> Pictures:
    """Where the product is in each picture, uint8 [n, size_px, size_px] in 0..255; cached like `render`."""
    return _cached("masks", _small_mask, shots, size_px=size_px, cache=cache)


def shaken(pictures: Pictures, rng: np.random.Generator, *, reach_px: int = 5) -> Pictures:
    """Copies, half of them mirrored, each moved by up to `reach_px` in both directions; borders are stretched."""
    around = ((reach_px, reach_px), (reach_px, reach_px), (0, 0))
    height, width = pictures.shape[1:3]
    moved = np.empty_like(pictures)
    for number, picture in enumerate(pictures):
        down, right = rng.integers(2 * reach_px + 1, size=2)
        padded = np.pad(picture[:, :: 1 - 2 * int(rng.integers(2))], around, mode="edge")
        moved[number] = padded[down : down + height, right : right + width]
    return moved


def small_photo(shot: Shot, size_px: int) -> Pictures:
    """One JPEG photo reduced to `size_px`, uint8 [size_px, size_px, 3], as the encoder would see a large one."""
    jpeg = encode_jpeg(draw(shot, size_px * _SUPERSAMPLING), quality=70 + shot.seed % 25)
    with Image.open(io.BytesIO(jpeg)) as photo:
        return np.asarray(photo.resize((size_px, size_px), Image.Resampling.BICUBIC))


def _small_mask(shot: Shot, size_px: int) -> Pictures:
    return (product_mask(shot, size_px) * 255.0).astype(np.uint8)


def _cached(
    kind: str, draw_one: Callable[[Shot, int], Pictures], shots: Sequence[Shot], *, size_px: int, cache: Path
) -> Pictures:
    key = hashlib.sha256(repr((list(shots), size_px)).encode()).hexdigest()[:16]
    path = cache / f"{kind}-{key}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        drawn = [draw_one(shot, size_px) for shot in track(shots, description=f"drawing {len(shots)} {kind}")]
        partial = path.with_suffix(".part.npy")
        np.save(partial, np.stack(drawn))
        partial.rename(path)
    loaded: Pictures = np.load(path)
    return loaded
