"""Vectors of a benchmark's gallery, computed once and kept on disk."""

import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL.Image import Image as Picture

from core.embedder import decode_side_px
from core.errors import InvalidInputError, ItemError
from core.models import Vectors
from core.pictures import decode
from core.ports import Encoder
from retrieval.datasets.composed import CirDataset, listed

Progress = Callable[[str, int], AbstractContextManager[Callable[[int], None]]]
"""Label and total -> a context that yields the function which takes the number done."""

_BATCH = 64


def silent(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
    """The `Progress` that shows nothing."""
    del label, total
    return nullcontext(_ignore)


def _ignore(done: int) -> None:
    del done


@dataclass(frozen=True, slots=True)
class VectorCache:
    """Where vectors are kept, and what besides the encoder's identity decides them (`compute`: device and type).

    Without a folder nothing is kept.
    """

    folder: Path | None = None
    compute: str = ""
    threads: int = 4


def gallery_vectors(
    dataset: CirDataset, encoder: Encoder, cache: VectorCache, *, progress: Progress = silent
) -> Vectors:
    """Unit vectors float32 [n, d] of a gallery, in its order, from the cache where the same files met the same encoder.

    Pictures are decoded as the service decodes them. InvalidInputError lists those that cannot be read.
    """
    path = None if cache.folder is None else cache.folder / f"{_key(dataset, encoder, cache)}.npy"
    if path is not None and path.is_file():
        loaded: Vectors = np.load(path)
        return loaded
    vectors = _embed(dataset, encoder, cache.threads, progress)
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch = path.with_suffix(".part.npy")
        np.save(scratch, vectors)
        scratch.replace(path)
    return vectors


def _embed(dataset: CirDataset, encoder: Encoder, threads: int, progress: Progress) -> Vectors:
    paths = list(dataset.images.values())
    vectors = np.empty((len(paths), encoder.identity.dim), np.float32)
    unreadable: list[str] = []
    side_px = decode_side_px(encoder)

    def read(path: Path) -> Picture | None:
        try:
            return decode(path.read_bytes(), max_side_px=side_px)
        except ItemError as error:
            unreadable.append(f"{path} ({error.detail})")
            return None

    with ThreadPoolExecutor(threads) as pool, progress("embedding", len(paths)) as update:
        for start in range(0, len(paths), _BATCH):
            pictures = [picture for picture in pool.map(read, paths[start : start + _BATCH]) if picture is not None]
            if not unreadable:  # else only the complete list is of interest
                vectors[start : start + len(pictures)] = encoder.encode_images(pictures)
            update(min(start + _BATCH, len(paths)))
    if unreadable:
        names = listed(sorted(unreadable))  # threads find them in any order
        raise InvalidInputError(f"{len(unreadable)} of {len(paths)} images cannot be read: {names}")
    return vectors


def _key(dataset: CirDataset, encoder: Encoder, cache: VectorCache) -> str:
    """Files count by name, size and time of change, so that a gallery of 100 000 is not read just to be recognised."""
    files = []
    for name, path in dataset.images.items():
        stat = path.stat()
        files.append((name, str(path.resolve()), stat.st_size, stat.st_mtime_ns))
    content = [asdict(encoder.identity), cache.compute, files]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]
