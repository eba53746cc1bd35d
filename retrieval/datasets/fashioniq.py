"""FashionIQ as published: `captions/`, `image_splits/` and `images/`, one gallery for each category.

Source of the layout: the GitHub repository XiaoxiaoGuo/fashion-iq.
"""

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from retrieval.datasets.composed import CirDataset, CirQuery, by_id, check_split, checked, read_json

CATEGORIES = ("dress", "shirt", "toptee")
SPLITS = ("train", "val", "test")

_EXTENSIONS = (".jpg", ".png", ".jpeg")
"""Which one a download has depends on the mirror."""
_STRIPPED = ".?, "


class Entry(BaseModel):
    """One annotation: `candidate` is the reference. The test split has no target."""

    model_config = ConfigDict(frozen=True)

    candidate: str
    captions: list[str]
    target: str | None = None


def read_fashioniq(folder: Path, split: str = "val") -> tuple[CirDataset, ...]:
    """A split of FashionIQ, one data set (`part`) for each category.

    A gallery is the category's whole list of the split (the "original split" protocol), not only what queries name.
    NotFoundError lists what is missing; InvalidInputError says what is not as published.
    """
    check_split(split, SPLITS, "FashionIQ")
    return tuple(_read_category(folder, split, category) for category in CATEGORIES)


def joined(captions: list[str]) -> tuple[str, ...]:
    """Both orders of an annotation's two captions, joined by "and"; where one is empty, only the other.

    A caption loses stops, question marks, commas and blanks at its ends. No text at all where every caption is empty.
    """
    said = [text for text in (caption.strip(_STRIPPED) for caption in captions) if text]
    orders = (said, said[::-1])
    return tuple(dict.fromkeys(" and ".join(order) for order in orders if order))


def _read_category(folder: Path, split: str, category: str) -> CirDataset:
    entries = read_json(folder / "captions" / f"cap.{category}.{split}.json", list[Entry])
    names = read_json(folder / "image_splits" / f"split.{category}.{split}.json", list[str])
    queries = tuple(
        CirQuery(
            id=f"{category}-{number}",
            reference=entry.candidate,
            texts=joined(entry.captions),
            targets=() if entry.target is None else (entry.target,),
        )
        for number, entry in enumerate(entries)
    )
    return checked(
        CirDataset(
            name="fashioniq",
            split=split,
            part=category,
            images=by_id(names, lambda name: _image_path(folder, name)),
            queries=queries,
            notes=_notes(category, entries, queries),
        )
    )


def _image_path(folder: Path, name: str) -> Path:
    """The file with the first extension that exists; the first one's path where none does, for the error's list."""
    paths = [folder / "images" / f"{name}{extension}" for extension in _EXTENSIONS]
    return next((path for path in paths if path.is_file()), paths[0])


def _notes(category: str, entries: list[Entry], queries: tuple[CirQuery, ...]) -> tuple[str, ...]:
    halves = sum(any(not caption.strip(_STRIPPED) for caption in entry.captions) for entry in entries)
    silent = sum(not query.texts for query in queries)
    notes = []
    if halves:
        notes.append(f"{category}: {halves} queries have an empty caption; the other one alone is their text")
    if silent:
        notes.append(f"{category}: {silent} queries have no text at all and search by their picture")
    return tuple(notes)
