"""SynthCIR: a benchmark of composed retrieval drawn from the synthetic catalog, in CIRR's own file layout.

CIRR's readers and evaluators take it as it is. What CIRR has no place for is in `synthcir/`: attributes and scene of
each picture, and for each query what its text asks for and which slices it belongs to.
"""

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import BaseModel, ConfigDict

from core.errors import ConflictError
from retrieval.datasets.cirr import captions_path, image_split_path, read_cirr
from retrieval.datasets.composed import CirDataset, CirQuery, check_split, read_json
from retrieval.datasets.products import Shot, Split
from retrieval.datasets.synthcir_groups import PLANS, SCENE_TRAP, Group, Plan, Query, build_groups
from retrieval.datasets.synthetic import draw, encode_jpeg
from retrieval.datasets.texts import Style

SPLITS: Mapping[str, Split] = MappingProxyType({"train": Split.TRAIN, "val": Split.DEV, "test1": Split.TEST})
"""CIRR's name of a split -> ours; both are understood."""
SAME_SCENE = "same-scene"
"""Label of queries whose group has at least `SCENE_TRAP` wrong answers before the reference's scene."""

_FOLDERS: Mapping[str, str] = MappingProxyType({"train": "train", "val": "dev", "test1": "test1"})
_TRAIN_FOLDERS = 100
_DRAWN_AGAIN = 50


class ImageDetails(BaseModel):
    """What a picture shows."""

    model_config = ConfigDict(frozen=True)

    attributes: dict[str, str]
    scene: str


class ChangeDetails(BaseModel):
    """One attribute that the target has otherwise."""

    model_config = ConfigDict(frozen=True)

    attribute: str
    old: str
    new: str


class QueryDetails(BaseModel):
    """What a query asks for, and the traps in its group."""

    model_config = ConfigDict(frozen=True)

    style: str
    changes: list[ChangeDetails]
    kept: list[str]
    names_scene: bool
    same_scene_negatives: int
    near_misses: int

    def labels(self) -> tuple[str, ...]:
        """Slices: the style, the number of changed attributes, and the same-scene trap."""
        trap = (SAME_SCENE,) if self.same_scene_negatives >= SCENE_TRAP else ()
        return (f"style:{self.style}", f"changes:{len(self.changes)}", *trap)

    def denied(self) -> str | None:
        """The values that a negation rules out, as the catalog spells them."""
        return " ".join(change.old for change in self.changes) if self.style == Style.NEGATION else None


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """What decides the bytes (`seed`, `size_px`, `plans`), and how many processes draw."""

    seed: int = 7
    size_px: int = 96
    workers: int = 1
    plans: Mapping[Split, Plan] = field(default_factory=lambda: PLANS)


@dataclass(frozen=True, slots=True)
class _Named:
    """A group with its number and the names of its photos."""

    group: Group
    number: int
    names: tuple[str, ...]


def write_synthcir(
    out: Path, options: WriteOptions | None = None, *, progress: Callable[[int, int], None] | None = None
) -> Path:
    """Write all splits into the new folder `out`; same options but `workers`, same bytes.

    `progress` is called with the number of pictures drawn and of all pictures. The folder appears only when it is
    whole. ConflictError when it exists already; ValueError when a plan asks for too many groups.
    """
    options = options or WriteOptions()
    if out.exists():
        raise ConflictError(f"{out} exists already: remove it, or write to another folder.")
    with _whole(out) as folder:
        _draw_all(_describe(folder, options), options, progress)
    return out


def check_synthcir(folder: Path, options: WriteOptions | None = None) -> None:
    """ConflictError unless `folder` is what `write_synthcir` writes today with the same options.

    Everything but the pictures is compared, and some pictures of each split.
    """
    options = options or WriteOptions()
    with tempfile.TemporaryDirectory() as scratch:
        shots = _describe(Path(scratch), options)
        texts = list(Path(scratch).rglob("*.json"))
        drawn = list(shots.items())[:: max(1, len(shots) // _DRAWN_AGAIN)]
        _draw_all(dict(drawn), options, None)
        for path in (*texts, *(path for path, _ in drawn)):
            there = folder / path.relative_to(scratch)
            if not there.is_file() or there.read_bytes() != path.read_bytes():
                raise ConflictError(f"{there} is not what is drawn today: remove {folder}, and it is drawn anew.")


def _describe(folder: Path, options: WriteOptions) -> dict[Path, Shot]:
    """Write everything but the pictures; returns what is to be drawn where."""
    shots: dict[Path, Shot] = {}
    for split, ours in SPLITS.items():
        groups = build_groups(ours, options.plans[ours], seed=options.seed)
        named = [_named(group, number, split) for number, group in enumerate(groups)]
        shots |= {folder / _relative(name, split): shot for name, shot in _photos(named)}
        _write_annotations(folder, split, named)
    about = {"name": "synthcir", "version": 1, "seed": options.seed, "size_px": options.size_px}
    _write_json(folder / "synthcir" / "about.json", about)
    return shots


def read_synthcir(folder: Path, split: str = "test1") -> CirDataset:
    """A split of SynthCIR (`train`, `val` or `dev`, `test1` or `test`) with its attributes, scenes and labels.

    NotFoundError lists what is missing; InvalidInputError says what is not as it was written.
    """
    split = {ours.value: name for name, ours in SPLITS.items()}.get(split, split)
    check_split(split, SPLITS, "SynthCIR")
    dataset = read_cirr(folder, split)
    images = read_json(_details_path(folder, "images", split), dict[str, ImageDetails])
    queries = read_json(_details_path(folder, "queries", split), dict[str, QueryDetails])
    return replace(
        dataset,
        name="synthcir",
        queries=tuple(
            replace(query, labels=queries[query.id].labels(), denied=queries[query.id].denied())
            for query in dataset.queries
        ),
        attributes={name: details.attributes for name, details in images.items()},
        scenes={name: details.scene for name, details in images.items()},
    )


def style_of(query: CirQuery) -> str:
    """The style of a query of SynthCIR."""
    return next(label.removeprefix("style:") for label in query.labels if label.startswith("style:"))


@contextmanager
def _whole(out: Path) -> Iterator[Path]:
    """A scratch folder beside `out` that becomes `out` when everything went well."""
    out.parent.mkdir(parents=True, exist_ok=True)
    scratch = out.with_name(f"{out.name}.part")
    shutil.rmtree(scratch, ignore_errors=True)
    try:
        yield scratch
        scratch.rename(out)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _named(group: Group, number: int, split: str) -> _Named:
    names = tuple(f"{_FOLDERS[split]}-{number}-0-img{place}" for place in range(len(group.shots)))
    return _Named(group, number, names)


def _relative(name: str, split: str) -> str:
    """Path of a picture as CIRR has it: train is spread over numbered folders."""
    folder = _FOLDERS[split]
    if split == "train":
        folder = f"{folder}/{int(name.split('-')[1]) % _TRAIN_FOLDERS}"
    return f"./{folder}/{name}.jpg"


def _photos(named: Sequence[_Named]) -> Iterator[tuple[str, Shot]]:
    return (pair for each in named for pair in zip(each.names, each.group.shots, strict=True))


def _write_annotations(folder: Path, split: str, named: Sequence[_Named]) -> None:
    asked = [(each, query) for each in named for query in each.group.queries]
    entries = [_entry(pairid, each, query) for pairid, (each, query) in enumerate(asked)]
    images = {name: {"attributes": s.product.attributes(), "scene": s.scene} for name, s in _photos(named)}
    queries = {str(pairid): _details(each.group, query) for pairid, (each, query) in enumerate(asked)}
    _write_json(captions_path(folder, split), entries)
    _write_json(image_split_path(folder, split), {name: _relative(name, split) for name, _ in _photos(named)})
    _write_json(_details_path(folder, "images", split), images)
    _write_json(_details_path(folder, "queries", split), queries)


def _entry(pairid: int, named: _Named, query: Query) -> dict[str, Any]:
    """An annotation in CIRR's words: soft scores are 1 for the target and -1 for what is known to be wrong."""
    reference, target = named.names[query.reference], named.names[query.target]
    wrong = [name for name in named.names if name not in {reference, target}]
    return {
        "pairid": pairid,
        "reference": reference,
        "target_hard": target,
        "target_soft": {target: 1.0, **dict.fromkeys(wrong, -1.0)},
        "caption": query.text,
        "img_set": {
            "id": named.number,
            "members": list(named.names),
            "reference_rank": query.reference,
            "target_rank": query.target,
        },
    }


def _details(group: Group, query: Query) -> dict[str, Any]:
    return QueryDetails(
        style=query.style,
        changes=[ChangeDetails(**asdict(change)) for change in query.changes],
        kept=list(query.kept),
        names_scene=query.names_scene,
        same_scene_negatives=group.same_scene_negatives(query),
        near_misses=group.near_misses(query),
    ).model_dump()


def _details_path(folder: Path, what: str, split: str) -> Path:
    return folder / "synthcir" / f"{what}.{split}.json"


def _write_json(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _draw_all(shots: Mapping[Path, Shot], options: WriteOptions, progress: Callable[[int, int], None] | None) -> None:
    for parent in {path.parent for path in shots}:
        parent.mkdir(parents=True, exist_ok=True)
    jobs = [(path, shot, options.size_px) for path, shot in shots.items()]
    with _mapper(options.workers) as run:
        for done, _ in enumerate(run(_draw_one, jobs), start=1):
            if progress is not None:
                progress(done, len(jobs))


@contextmanager
def _mapper(workers: int) -> Iterator[Callable[..., Iterator[None]]]:
    if workers == 1:
        yield map
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield lambda function, jobs: pool.map(function, jobs, chunksize=16)


def _draw_one(job: tuple[Path, Shot, int]) -> None:
    path, shot, size_px = job
    path.write_bytes(encode_jpeg(draw(shot, size_px)))
