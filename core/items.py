"""What an import works on, item by item, as it travels in the payloads of units and beside failed items."""

from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from core.models import Attributes, ItemOutcome, Outcome
from core.tarfiles import TarEntry
from core.zipfiles import Entry

ArchiveEntry: TypeAlias = Entry | TarEntry


@dataclass(frozen=True, slots=True)
class Place:
    """Where an item's bytes are: a stored file of `size_bytes`, or an entry of a stored archive."""

    key: str
    size_bytes: int
    entry: ArchiveEntry | None = None


@dataclass(frozen=True, slots=True)
class Remote:
    """A picture that is fetched: an http(s) URL, or an s3:// address with the ETag that a listing gave it."""

    url: str
    etag: str = ""


@dataclass(frozen=True, slots=True)
class PlannedItem:
    """One picture to fetch. `attributes` None leaves those of an existing image as they are."""

    external_id: str
    attributes: Attributes | None
    source: str
    place: Place | Remote


@dataclass(frozen=True, slots=True)
class PlannedDelete:
    """One image that a manifest's row asks to remove."""

    external_id: str
    source: str


Planned: TypeAlias = PlannedItem | PlannedDelete | ItemOutcome


def as_raw(item: PlannedItem) -> dict[str, Any]:
    """For the payload of a unit; `planned_item` reads it back."""
    return {**_fields(item), "place": place_as_raw(item.place)}


def place_as_raw(where: Place | Remote) -> dict[str, Any]:
    """For the payload of a unit; `place` reads it back."""
    if isinstance(where, Remote):
        return _fields(where)
    return {**_fields(where), "entry": _fields(where.entry) if where.entry else None}


def _fields(value: PlannedItem | Place | Remote | ArchiveEntry) -> dict[str, Any]:
    # `dataclasses.asdict` copies all that it finds, which made it half of the time that planning takes.
    return {name: getattr(value, name) for name in type(value).__slots__}


def planned_item(raw: dict[str, Any]) -> PlannedItem:
    """A planned item back from a unit's payload."""
    return PlannedItem(str(raw["external_id"]), raw["attributes"], str(raw["source"]), place(raw["place"]))


def place(raw: dict[str, Any]) -> Place | Remote:
    """A place back from a unit's payload."""
    if "url" in raw:
        return Remote(**raw)
    entry = raw["entry"]
    kind = Entry if entry and "method" in entry else TarEntry
    return Place(raw["key"], raw["size_bytes"], kind(**entry) if entry else None)


def failed(external_id: str, source: str, code: str, detail: str) -> ItemOutcome:
    """The outcome of an item that cannot go on."""
    return ItemOutcome(external_id=external_id, outcome=Outcome.FAILED, source=source, code=code, detail=detail)


def fetch_failed(item: PlannedItem, code: str, detail: str) -> ItemOutcome:
    """The outcome of a picture that could not be fetched or used; a retry may try it again."""
    return replace(failed(item.external_id, item.source, code, detail), planned=as_raw(item))


def superseded(external_id: str, source: str = "") -> ItemOutcome:
    """The outcome of an item that a newer job has decided already."""
    detail = "A newer import has written or removed this image meanwhile; its row stays as that import left it."
    return ItemOutcome(external_id, Outcome.UNCHANGED, source, "superseded", detail)
