"""Cutting an import into items: what counts as an item, what fails already here."""

import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest

from core.addresses import bucket_items
from core.buckets import ImportPrefixes, S3Address
from core.context import Context
from core.errors import InvalidInputError
from core.imports import StoredFile
from core.items import Planned, PlannedItem, Remote, as_raw, planned_item
from core.models import BucketObject, ItemOutcome
from core.planning import without_repeats
from core.ports import SourceBuckets
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


OPEN = ImportPrefixes((S3Address("catalog", "shop/"),))


def plan(files: Mapping[str, bytes] | Sequence[tuple[str, bytes]]) -> list[Planned]:
    sent = list(files.items()) if isinstance(files, Mapping) else files
    uploads = Uploads({str(number): data for number, (_, data) in enumerate(sent)})
    ctx = cast("Context", SimpleNamespace(objects=uploads, settings=Settings(), clock=lambda: datetime.now(UTC)))
    stored = [StoredFile(name, str(number), len(data)) for number, (name, data) in enumerate(sent)]
    with ExitStack() as stack:
        return list(without_repeats(Sources(ctx, stack, stored, prefixes=OPEN).items({})))


def ids(planned: list[Planned]) -> list[str]:
    return [item.external_id for item in planned if isinstance(item, PlannedItem)]


def codes(planned: list[Planned]) -> dict[str, str]:
    return {item.external_id: item.code for item in planned if isinstance(item, ItemOutcome)}


def test_loose_pictures_are_items_by_their_names() -> None:
    planned = plan({"a.jpg": b"a", "b.png": b"b"})
    assert ids(planned) == ["a.jpg", "b.png"]
    assert [item.attributes for item in planned if isinstance(item, PlannedItem)] == [None, None]


def test_of_two_loose_pictures_with_one_name_the_second_fails_alone() -> None:
    planned = plan([("a.jpg", b"first"), ("b.jpg", b"b"), ("./a.jpg", b"second")])
    assert ids(planned) == ["a.jpg", "b.jpg"]
    assert codes(planned) == {"a.jpg": "duplicate_external_id"}


def test_beside_a_manifest_two_pictures_with_one_name_are_refused() -> None:
    """Nobody could tell which of them a row means."""
    with pytest.raises(InvalidInputError, match="same name"):
        plan([("m.csv", b"external_id,image\nx,a.jpg\n"), ("a.jpg", b"first"), ("a.jpg", b"second")])


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
        ("x,http://user:pw@shop.example/a.jpg", "url_refused"),
        ("x,http:///a.jpg", "bad_url"),
        ("x,s3://bucket/a.jpg", "bucket_refused"),
        ("x,s3://catalog/shop-secrets/a.jpg", "bucket_refused"),
        ("x,s3://catalog/shop/../secrets/a.jpg", "bad_url"),
        ("x,s3://", "bad_url"),
        ("x,../a.jpg", "unsafe_path"),
    ],
)
def test_images_that_cannot_be_reached_fail_by_row(row: str, code: str) -> None:
    assert codes(plan({"m.csv": f"external_id,image\n{row}\n".encode()})) == {"x": code}


def test_rows_may_name_addresses() -> None:
    rows = "external_id,image,color\n1,https://cdn.example/1.jpg?v=2,red\n2,s3://catalog/shop/2 b.jpg,\n3,HTTP://A/,\n"
    planned = plan({"m.csv": rows.encode()})
    places = {item.external_id: item.place for item in planned if isinstance(item, PlannedItem)}
    assert places == {
        "1": Remote("https://cdn.example/1.jpg?v=2"),
        "2": Remote("s3://catalog/shop/2 b.jpg"),
        "3": Remote("HTTP://A/"),
    }
    first = planned[0]
    assert isinstance(first, PlannedItem)
    assert planned_item(as_raw(first)) == first


def test_a_list_of_urls() -> None:
    lines = "# spring\n\nhttps://a.example/p/1.jpg\r\n  https://b.example/gr%C3%BCn.jpg?s=1 \ns3://catalog/shop/3.jpg\n"
    planned = plan({"urls.txt": lines.encode(), "loose.jpg": b"x"})
    assert ids(planned) == ["loose.jpg", "p/1.jpg", "grün.jpg?s=1", "shop/3.jpg"]
    assert all(item.attributes is None for item in planned if isinstance(item, PlannedItem))
    assert isinstance(planned[1], PlannedItem)
    assert planned[1].source == "https://a.example/p/1.jpg"


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("nonsense", "url_refused"),
        ("ftp://a.example/1.jpg", "url_refused"),
        ("http://a b/", "bad_url"),
        ("http://a.example/", "bad_external_id"),
        ("http://a.example/" + "x" * 600, "bad_external_id"),
        ("s3://elsewhere/1.jpg", "bucket_refused"),
        ("x" * 1_000_001, "bad_url"),
    ],
)
def test_lines_of_a_list_that_cannot_be_used(line: str, code: str) -> None:
    planned = plan({"urls.txt": f"https://a.example/1.jpg\n{line}\nhttps://a.example/2.jpg\n".encode()})
    assert ids(planned) == ["1.jpg", "2.jpg"]
    assert [item.code for item in planned if isinstance(item, ItemOutcome)] == [code]


def test_two_urls_of_one_path_are_one_image() -> None:
    planned = plan({"urls.txt": b"https://a.example/1.jpg\nhttps://b.example/1.jpg\n"})
    assert codes(planned) == {"1.jpg": "duplicate_external_id"}


class Bucket:
    """A bucket that lists, and notes what it was asked."""

    def __init__(self, *keys: str) -> None:
        self.keys = keys

    def objects(self, bucket: str, prefix: str, *, after: str = "") -> Iterator[BucketObject]:
        assert (bucket, after) == ("catalog", "")
        yield from (BucketObject(key, 1, f"etag of {key}") for key in self.keys if key.startswith(prefix))


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("shop/", ["1.jpg", "sub/2.jpg"]),
        ("shop", ["shop/1.jpg", "shop/sub/2.jpg", "shop-b/3.jpg"]),
        ("shop/s", ["sub/2.jpg"]),
        ("", ["shop/1.jpg", "shop/sub/2.jpg", "shop-b/3.jpg"]),
        ("nothing/", []),
    ],
)
def test_objects_under_a_prefix(prefix: str, names: list[str]) -> None:
    bucket = Bucket("shop/", "shop/1.jpg", "shop/.DS_Store", "shop/sub/2.jpg", "shop-b/3.jpg")
    planned = list(bucket_items(cast("SourceBuckets", bucket), S3Address("catalog", prefix)))
    assert ids(planned) == names
    assert all(
        isinstance(item, PlannedItem)
        and isinstance(item.place, Remote)
        and item.place == Remote(item.source, f"etag of {item.source.removeprefix('s3://catalog/')}")
        for item in planned
    )


def test_keys_that_no_item_can_have() -> None:
    long = f"shop/{'x' * 600}"
    planned = list(bucket_items(cast("SourceBuckets", Bucket("shop/a\nb", long)), S3Address("catalog", "shop/")))
    assert [item.code for item in planned if isinstance(item, ItemOutcome)] == ["bad_url", "bad_external_id"]


def test_two_manifests_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="more than one manifest"):
        plan({"a.csv": b"external_id,image\n", "b.csv": b"external_id,image\n"})


def test_a_file_that_is_no_archive_is_refused() -> None:
    with pytest.raises(InvalidInputError):
        plan({"a.zip": b"this is not a ZIP file"})


def test_items_survive_the_trip_through_a_payload() -> None:
    item = plan({"photos.zip": zipped(a__jpg="a")})[0]
    assert isinstance(item, PlannedItem)
    assert planned_item(as_raw(item)) == item
