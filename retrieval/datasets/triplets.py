"""Training triplets from benchmarks, files and feedback, in one shape."""

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

import numpy as np
from pydantic import BaseModel, ConfigDict

from core.errors import InvalidInputError
from retrieval.datasets.cirr import captions_path, read_cirr
from retrieval.datasets.composed import CirDataset, CirQuery, read_json
from retrieval.datasets.fashioniq import read_fashioniq
from retrieval.datasets.synthcir import read_synthcir
from retrieval.datasets.triplet_files import read_feedback, read_lasco

FOLDERS: Mapping[str, Callable[[Path, str], Sequence[CirDataset]]] = MappingProxyType(
    {
        "cirr": lambda folder, split: (_with_soft_targets(read_cirr(folder, split), folder),),
        "fashioniq": read_fashioniq,
        "synthcir": lambda folder, split: (read_synthcir(folder, split),),
    }
)
"""Kinds that are folders with splits."""
FILES: Mapping[str, Callable[[Path, Path | None], CirDataset]] = MappingProxyType(
    {"lasco": read_lasco, "feedback": read_feedback}
)
"""Kinds that are one file."""

_SOURCE = re.compile(r"(?P<kind>\w+):(?P<path>.+?)(?:@(?P<split>\w+))?")
_TRAIN = "train"


@dataclass(frozen=True, slots=True)
class Triplet:
    """`reference` and `text` ask for `target`.

    `wrong` are pictures that are known not to be what is meant: the look-alikes of the group, or what people refused.
    `right` are all that are known to be, the target among them: none of these may serve as a negative. Triplets of one
    `group` show the same few pictures. `gallery` is the place of its data set in the `TripletSet`.
    """

    reference: Path
    text: str
    target: Path
    wrong: tuple[Path, ...]
    right: tuple[Path, ...]
    group: str
    gallery: int


@dataclass(frozen=True, slots=True)
class TripletSet:
    """Triplets, the galleries that other negatives are drawn from, and what a reader should know about the data."""

    triplets: tuple[Triplet, ...]
    galleries: tuple[CirDataset, ...]
    notes: tuple[str, ...] = ()

    def digest(self) -> str:
        """sha256 (hex) of everything that training reads here but the pixels."""
        sha256 = hashlib.sha256()
        for triplet in self.triplets:
            sha256.update(repr(triplet).encode())
        for gallery in self.galleries:
            sha256.update(repr((gallery.name, gallery.split, gallery.part, *gallery.images.values())).encode())
        return sha256.hexdigest()


class _SoftTargets(BaseModel):
    """What CIRR's annotators said of further pictures: above 0 right to some degree, -1 wrong."""

    model_config = ConfigDict(frozen=True)

    pairid: int
    target_soft: dict[str, float] = {}


def read_triplets(sources: Sequence[str], *, images: Path | None = None) -> TripletSet:
    """Triplets of all sources: `cirr:`, `fashioniq:` or `synthcir:FOLDER[@SPLIT]`, `lasco:FILE`, `feedback:FILE`.

    The split is `train` unless it is named. Paths in files count from `images`, else from the file's own folder.
    InvalidInputError for an unknown source, bad rows (by number), or no triplets; NotFoundError lists what is missing.
    """
    galleries = tuple(dataset for source in sources for dataset in _read(source, images))
    triplets = tuple(triplet for place, dataset in enumerate(galleries) for triplet in _triplets(dataset, place))
    if not triplets:
        raise InvalidInputError(f"{', '.join(sources)} has no query with a text and a target: use a split that has.")
    return TripletSet(triplets, galleries, tuple(note for dataset in galleries for note in _notes(dataset)))


def hold_out(data: TripletSet, *, share: float, seed: int) -> tuple[TripletSet, TripletSet]:
    """(for training, for validation): a share of the groups, at least one, is held out, each with all its triplets.

    InvalidInputError when there are fewer than two groups.
    """
    groups = sorted({triplet.group for triplet in data.triplets})
    if len(groups) < 2:  # noqa: PLR2004 - one to learn from, one to check on
        raise InvalidInputError("All triplets are about the same pictures: add others, or name a --validation source.")
    count = min(len(groups) - 1, max(1, round(share * len(groups))))
    held = {groups[place] for place in np.random.default_rng(seed).permutation(len(groups))[:count]}
    kept = tuple(triplet for triplet in data.triplets if triplet.group not in held)
    out = tuple(triplet for triplet in data.triplets if triplet.group in held)
    return replace(data, triplets=kept), replace(data, triplets=out)


def share_galleries(first: TripletSet, second: TripletSet) -> tuple[TripletSet, TripletSet]:
    """Both sets over the galleries of both, so that one stage 1 can answer all their triplets."""
    galleries = (*first.galleries, *second.galleries)
    offset = len(first.galleries)
    moved = tuple(replace(triplet, gallery=triplet.gallery + offset) for triplet in second.triplets)
    return replace(first, galleries=galleries), replace(second, galleries=galleries, triplets=moved)


def _read(source: str, images: Path | None) -> Sequence[CirDataset]:
    match = _SOURCE.fullmatch(source)
    if match is None or match["kind"] not in {*FOLDERS, *FILES}:
        kinds = ", ".join([*(f"{kind}:FOLDER[@SPLIT]" for kind in FOLDERS), *(f"{kind}:FILE" for kind in FILES)])
        raise InvalidInputError(f"{source!r} is no source of triplets: use one of {kinds}.")
    kind, path, split = match["kind"], Path(match["path"]), match["split"]
    if kind in FOLDERS:
        return FOLDERS[kind](path, split or _TRAIN)
    if split is not None:
        raise InvalidInputError(f"{source!r}: a {kind} file has no splits; leave @{split} out.")
    return (FILES[kind](path, images),)


def _with_soft_targets(dataset: CirDataset, folder: Path) -> CirDataset:
    soft = {
        str(entry.pairid): tuple(name for name, score in entry.target_soft.items() if score > 0)
        for entry in read_json(captions_path(folder, dataset.split), list[_SoftTargets])
    }
    return replace(dataset, queries=tuple(_also_right(query, soft[query.id]) for query in dataset.queries))


def _also_right(query: CirQuery, names: tuple[str, ...]) -> CirQuery:
    return replace(query, targets=tuple(dict.fromkeys((*query.targets, *names)))) if query.targets else query


def _triplets(dataset: CirDataset, gallery: int) -> list[Triplet]:
    files = dataset.images
    found = []
    for query in dataset.queries:
        if not query.texts or not query.targets:
            continue
        wrong = (name for name in query.members if name not in {query.reference, *query.targets})
        first = min(query.reference, *query.members) if dataset.name in {"cirr", "synthcir"} else query.reference
        found.append(
            Triplet(
                reference=files[query.reference],
                text=query.texts[0],
                target=files[query.targets[0]],
                wrong=tuple(files[name] for name in wrong),
                right=tuple(files[name] for name in query.targets if name in files),
                group=str(files[first]),
                gallery=gallery,
            )
        )
    return found


def _notes(dataset: CirDataset) -> tuple[str, ...]:
    left_out = sum(not query.texts or not query.targets for query in dataset.queries)
    where = " ".join(word for word in (dataset.name, dataset.part, dataset.split) if word)
    note = f"{where}: {left_out} of {len(dataset.queries)} queries have no text or no target and are left out"
    return (*dataset.notes, note) if left_out else dataset.notes
