"""Benchmarks of composed retrieval in one shape, whatever layout they are stored in."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from core.errors import InvalidInputError, NotFoundError

_LISTED = 50
"""Names that an error lists at most; it always says how many there are in all."""

Parsed = TypeVar("Parsed")


@dataclass(frozen=True, slots=True)
class CirQuery:
    """A reference picture, what is asked of it, and what counts as an answer.

    `texts` are wordings of the same request whose features are averaged; the judge reads the first. None at all means
    that the data set has only empty captions for the query. `targets` are all right answers, the main one first; empty
    where only a server knows them. `members` are the other pictures of the reference's group, where there are groups.
    `labels` name the slices that the query belongs to. `denied` says in a few words what the texts rule out, where the
    data set tells it.
    """

    id: str
    reference: str
    texts: tuple[str, ...]
    targets: tuple[str, ...] = ()
    members: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    denied: str | None = None


@dataclass(frozen=True, slots=True)
class CirDataset:
    """One split (for FashionIQ: of one category, the `part`): its gallery and its queries.

    `images` maps the ids of the gallery to files, in ascending order of ids, so that a stable sort breaks ties by id.
    `attributes` and `scenes` are per image and empty where the data set does not tell them. `notes` say what a reader
    of results should know about the data.
    """

    name: str
    split: str
    images: Mapping[str, Path]
    queries: tuple[CirQuery, ...]
    part: str = ""
    attributes: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    scenes: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def read_json(path: Path, shape: type[Parsed]) -> Parsed:
    """A JSON file as `shape`. NotFoundError when it is absent; InvalidInputError when it has another shape."""
    if not path.is_file():
        raise NotFoundError(f"There is no file {path}: --data must be the folder that has the data set's own layout.")
    try:
        return TypeAdapter(shape).validate_python(json.loads(path.read_bytes()))
    except (ValidationError, ValueError) as error:
        raise InvalidInputError(f"{path} is not what this data set has there: {error}") from error


def check_split(split: str, known: Iterable[str], dataset: str) -> None:
    """InvalidInputError for a split that the data set does not have."""
    if split not in known:
        raise InvalidInputError(f"{dataset} has no split {split!r}: use one of {', '.join(known)}.")


def checked(dataset: CirDataset) -> CirDataset:
    """The data set itself, if every picture is there and every query is about pictures of the gallery.

    NotFoundError lists missing files: without them the gallery would shrink silently, and results would be too good.
    InvalidInputError lists names that are not in the gallery, or says that there are no queries.
    """
    where = f"{dataset.name} {dataset.part} {dataset.split}".replace("  ", " ")
    if not dataset.queries:
        raise InvalidInputError(f"{where} has no queries.")
    missing = [str(path) for path in dataset.images.values() if not path.is_file()]
    if missing:
        raise NotFoundError(f"{len(missing)} of {len(dataset.images)} images of {where} are missing: {listed(missing)}")
    named = {
        name for query in dataset.queries for name in (query.reference, *query.targets, *query.members)
    } - dataset.images.keys()
    if named:
        raise InvalidInputError(f"{where} names images that its gallery lacks: {listed(sorted(named))}")
    return dataset


def by_id(names: Iterable[str], path_of: Callable[[str], Path]) -> dict[str, Path]:
    """Gallery of `CirDataset`: each name once, in ascending order, with its file."""
    return {name: path_of(name) for name in sorted(set(names))}


def listed(names: list[str]) -> str:
    """The first names, and how many more there are."""
    rest = len(names) - _LISTED
    return ", ".join(names[:_LISTED]) + (f" and {rest} more" if rest > 0 else "")
