"""CIRCO as published: annotations, and all 123 403 pictures of COCO 2017 unlabeled as the gallery of both splits.

Source of the layout: the GitHub repository miccunifi/CIRCO.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from core.errors import InvalidInputError
from retrieval.datasets.composed import CirDataset, CirQuery, by_id, check_split, checked, read_json

SPLITS = ("val", "test")
_ID_DIGITS = 12


class Entry(BaseModel):
    """One annotation; `test` has neither target nor ground truths. The shared concept is no part of the query."""

    model_config = ConfigDict(frozen=True)

    id: int
    reference_img_id: int
    relative_caption: str
    target_img_id: int | None = None
    gt_img_ids: list[int] = []
    semantic_aspects: list[str] = []


class CocoImage(BaseModel):
    """One picture of COCO's list."""

    model_config = ConfigDict(frozen=True)

    id: int
    file_name: str


class CocoInfo(BaseModel):
    """COCO's list of pictures."""

    model_config = ConfigDict(frozen=True)

    images: list[CocoImage]


def image_name(image_id: int) -> str:
    """Gallery id of a COCO picture: 12 digits, so that names sort as numbers do."""
    return f"{image_id:0{_ID_DIGITS}d}"


def read_circo(folder: Path, split: str = "val") -> CirDataset:
    """A split of CIRCO; `targets` are all ground truths, `target_img_id` first; labels are `aspect:<name>`.

    NotFoundError lists what is missing; InvalidInputError says what is not as published.
    """
    check_split(split, SPLITS, "CIRCO")
    unlabeled = folder / "COCO2017_unlabeled"
    entries = read_json(folder / "annotations" / f"{split}.json", list[Entry])
    coco = read_json(unlabeled / "annotations" / "image_info_unlabeled2017.json", CocoInfo)
    files = {image_name(image.id): image.file_name for image in coco.images}
    return checked(
        CirDataset(
            name="circo",
            split=split,
            images=by_id(files, lambda name: unlabeled / "unlabeled2017" / files[name]),
            queries=tuple(_query(entry) for entry in entries),
        )
    )


def _query(entry: Entry) -> CirQuery:
    targets = entry.gt_img_ids
    if targets and targets[0] != entry.target_img_id:
        raise InvalidInputError(f"The first ground truth of CIRCO query {entry.id} must be its target_img_id.")
    if len(set(targets)) != len(targets) or entry.reference_img_id in targets:
        raise InvalidInputError(f"CIRCO query {entry.id} repeats a ground truth, or names its reference as one.")
    return CirQuery(
        id=str(entry.id),
        reference=image_name(entry.reference_img_id),
        texts=(entry.relative_caption,) if entry.relative_caption.strip() else (),
        targets=tuple(image_name(image_id) for image_id in targets),
        labels=tuple(f"aspect:{aspect}" for aspect in entry.semantic_aspects),
    )
