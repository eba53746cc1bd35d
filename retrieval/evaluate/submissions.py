"""Files for the benchmarks' test servers, exactly as they take them."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from core.errors import InvalidInputError
from retrieval.datasets.cirr import VERSION
from retrieval.evaluate.protocols import CIRR_SUBSET_RANKS, DEPTH, Ranked

CIRR_MAX_BYTES = 5_000_000


def write_cirr_submission(folder: Path, split: str, answers: Mapping[str, Ranked]) -> tuple[Path, Path]:
    """Two files, `recall` (50 names a pair) and `recall_subset` (3 names a pair); `answers` by pair id.

    InvalidInputError when a file would be larger than the server takes.
    """
    recall = {pairid: list(ranked.ranking[:DEPTH]) for pairid, ranked in answers.items()}
    subset = {pairid: list(ranked.members[: max(CIRR_SUBSET_RANKS)]) for pairid, ranked in answers.items()}
    return (
        _write_cirr(folder / f"cirr_{split}_recall.json", "recall", recall),
        _write_cirr(folder / f"cirr_{split}_recall_subset.json", "recall_subset", subset),
    )


def write_circo_submission(folder: Path, split: str, answers: Mapping[str, Ranked]) -> Path:
    """One file: query id -> 50 picture ids as numbers. ValueError when an answer repeats a picture."""
    content = {}
    for query, ranked in answers.items():
        ids = [int(name) for name in ranked.ranking[:DEPTH]]
        if len(set(ids)) != len(ids):
            raise ValueError(f"the answer to query {query} repeats a picture, and the server would refuse all of them")
        content[query] = ids
    return _write(folder / f"circo_{split}.json", content)


def _write_cirr(path: Path, metric: str, names: Mapping[str, Sequence[str]]) -> Path:
    written = _write(path, {"version": VERSION, "metric": metric, **names})
    size = written.stat().st_size
    if size > CIRR_MAX_BYTES:
        raise InvalidInputError(f"{path} has {size} bytes, but CIRR's server takes at most {CIRR_MAX_BYTES}.")
    return written


def _write(path: Path, content: Mapping[str, Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, sort_keys=True))
    return path
