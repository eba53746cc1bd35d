"""CIRR as published: captions and image splits in `cirr/`, pictures in `train/`, `dev/` and `test1/` beside it.

Source of the layout: branch `cirr_dataset` of the GitHub repository Cuberick-Orion/CIRR.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.errors import InvalidInputError
from retrieval.datasets.composed import CirDataset, CirQuery, by_id, check_split, checked, read_json

VERSION = "rc2"
SPLITS = ("train", "val", "test1")
"""The pictures of `val` are in the folder `dev` and have names in `dev-`."""
GROUP_SIZE = 6


class ImageSet(BaseModel):
    """The six look-alikes that a query was written for."""

    model_config = ConfigDict(frozen=True)

    id: int
    members: list[str]


class Entry(BaseModel):
    """One annotation. The official `test1` has no target: only the server knows it."""

    model_config = ConfigDict(frozen=True)

    pairid: int
    reference: str
    caption: str
    img_set: ImageSet
    target_hard: str | None = None


def captions_path(folder: Path, split: str) -> Path:
    """File of a split's annotations."""
    return folder / "cirr" / "captions" / f"cap.{VERSION}.{split}.json"


def image_split_path(folder: Path, split: str) -> Path:
    """File that maps a split's picture names to paths relative to the data set's folder."""
    return folder / "cirr" / "image_splits" / f"split.{VERSION}.{split}.json"


def read_cirr(folder: Path, split: str = "val") -> CirDataset:
    """A split of CIRR. The gallery is all its pictures; `target_hard` is the one target; `members` are five.

    NotFoundError lists what is missing; InvalidInputError says what is not as published.
    """
    check_split(split, SPLITS, "CIRR")
    entries = read_json(captions_path(folder, split), list[Entry])
    paths = read_json(image_split_path(folder, split), dict[str, str])
    return checked(
        CirDataset(
            name="cirr",
            split=split,
            images=by_id(paths, lambda name: folder / paths[name]),
            queries=tuple(_query(entry) for entry in entries),
        )
    )


def _query(entry: Entry) -> CirQuery:
    members, reference, target = entry.img_set.members, entry.reference, entry.target_hard
    expected = {reference} if target is None else {reference, target}
    if len(set(members)) != GROUP_SIZE or len(members) != GROUP_SIZE or not expected <= set(members):
        raise InvalidInputError(
            f"The group of CIRR pair {entry.pairid} must be {GROUP_SIZE} pictures with the reference and the target, "
            f"but is {', '.join(members)}."
        )
    if target == reference:
        raise InvalidInputError(f"The target of CIRR pair {entry.pairid} is its reference.")
    return CirQuery(
        id=str(entry.pairid),
        reference=reference,
        texts=(entry.caption,) if entry.caption.strip() else (),
        targets=() if target is None else (target,),
        members=tuple(name for name in members if name != reference),
    )
