"""Cutting an import into items: what counts as an item, what fails already here."""

import io
import zipfile
from contextlib import ExitStack
from dataclasses import asdict
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, BinaryIO, cast

import pytest

from core.context import Context
from core.errors import InvalidInputError
from core.imports import StoredFile
from core.items import Planned, PlannedItem, planned_item
from core.models import ItemOutcome
from core.planning import without_repeats
from core.settings import Settings
from core.sources import Sources


class Uploads:
    """An object store that only opens."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    def open(self, key: str) -> BinaryIO:
        return io.BytesIO(self.files[key])


def zipped(**entries: str) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "."), content)
    return target.getvalue()


def plan(files: dict[str, bytes]) -> list[Planned]:
    ctx = cast("Context", SimpleNamespace(objects=Uploads(files), settings=Settings(), clock=lambda: datetime.now(UTC)))
    stored = [StoredFile(name, name, len(data)) for name, data in files.items()]
    with ExitStack() as stack:
        return list(without_repeats(Sources(ctx, stack, stored).items({})))


def ids(planned: list[Planned]) -> list[str]:
    return [item.external_id for item in planned if isinstance(item, PlannedItem)]


def codes(planned: list[Planned]) -> dict[str, str]:
    return {item.external_id: item.code for item in planned if isinstance(item, ItemOutcome)}


def test_loose_pictures_are_items_by_their_names() -> None:
    planned = plan({"a.jpg": b"a", "b.png": b"b"})
    assert ids(planned) == ["a.jpg", "b.png"]
    assert [item.attributes for item in planned if isinstance(item, PlannedItem)] == [None, None]


def test_entries_of_an_archive_are_items() -> None:
    assert ids(plan({"photos.zip": zipped(a__jpg="a", b__jpg="b")})) == ["a.jpg", "b.jpg"]


def test_a_manifest_in_the_archive_rules() -> None:
    rows = "external_id,image,color\nsku-1,a.jpg,red\nsku-2,nowhere.jpg,blue\n"
    planned = plan({"catalog.zip": zipped(a__jpg="a", spare__jpg="x", catalog__csv=rows)})
    assert ids(planned) == ["sku-1"]
    assert codes(planned) == {"sku-2": "missing_file"}
    first = planned[0]
    assert isinstance(first, PlannedItem)
    assert first.attributes == {"color": "red"}
    assert first.source == "catalog.zip/catalog.csv:2"


def test_a_manifest_beside_pictures_and_archives() -> None:
    rows = '{"external_id": "1", "image": "a.jpg"}\n{"external_id": "2", "image": "b.jpg"}\n'
    planned = plan({"m.jsonl": rows.encode(), "a.jpg": b"a", "rest.zip": zipped(b__jpg="b")})
    assert ids(planned) == ["1", "2"]


def test_repeated_ids_fail_after_the_first() -> None:
    rows = "external_id,image\nx,a.jpg\nx,b.jpg\n"
    planned = plan({"m.csv": rows.encode(), "a.jpg": b"a", "b.jpg": b"b"})
    assert ids(planned) == ["x"]
    assert codes(planned) == {"x": "duplicate_external_id"}


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ("x,https://shop.example/a.jpg", "unsupported_source"),
        ("x,s3://bucket/a.jpg", "unsupported_source"),
        ("x,../a.jpg", "unsafe_path"),
    ],
)
def test_images_that_cannot_be_reached_fail_by_row(row: str, code: str) -> None:
    assert codes(plan({"m.csv": f"external_id,image\n{row}\n".encode()})) == {"x": code}


def test_two_manifests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than one manifest"):
        plan({"a.csv": b"external_id,image\n", "b.csv": b"external_id,image\n"})


def test_a_file_that_is_no_archive_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        plan({"a.zip": b"this is not a ZIP file"})


def test_items_survive_the_trip_through_a_payload() -> None:
    item = plan({"photos.zip": zipped(a__jpg="a")})[0]
    assert isinstance(item, PlannedItem)
    raw: dict[str, Any] = asdict(item)
    assert planned_item(raw) == item
