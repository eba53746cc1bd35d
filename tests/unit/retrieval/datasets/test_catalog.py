import csv
import io
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from retrieval.datasets.catalog import COLUMNS, build_gallery, demo_queries, manifest_csv, write_demo_catalog
from retrieval.datasets.products import SCENES, Split, split_of
from retrieval.datasets.texts import Style


def test_same_seed_same_zip(tmp_path: Path) -> None:
    for name in ("a.zip", "b.zip"):
        write_demo_catalog(tmp_path / name, count=6, seed=3, size_px=64)

    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


def test_the_zip_holds_a_manifest_and_its_photos(tmp_path: Path) -> None:
    drawn: list[int] = []
    items = write_demo_catalog(tmp_path / "catalog.zip", count=8, seed=3, size_px=96, progress=drawn.append)

    with zipfile.ZipFile(tmp_path / "catalog.zip") as archive:
        rows = list(csv.DictReader(io.StringIO(archive.read("catalog.csv").decode())))
        assert [row["external_id"] for row in rows] == [item.external_id for item in items]
        for row in rows:
            with Image.open(io.BytesIO(archive.read(row["image"]))) as photo:
                assert photo.size == (96, 96)
    assert drawn == list(range(1, 9))


def test_the_manifest_parses_and_never_names_the_scene() -> None:
    rows = list(csv.DictReader(io.StringIO(manifest_csv(build_gallery(count=100, seed=5)))))

    assert tuple(rows[0]) == COLUMNS
    for row in rows:
        assert float(row["price"]) > 0
        assert row["in_stock"] in {"true", "false"}
        assert not set(row.values()) & set(SCENES)


def test_no_combination_is_in_the_gallery_twice_and_all_are_of_the_split() -> None:
    products = [item.shot.product for item in build_gallery(count=600, seed=7)]

    assert len(set(products)) == len(products) == 600
    assert {split_of(product) for product in products} == {Split.TEST}


def test_a_split_that_is_too_small_says_so() -> None:
    with pytest.raises(ValueError, match="combinations"):
        build_gallery(count=5_000, seed=1, split=Split.DEV)


def test_each_query_means_exactly_one_product() -> None:
    gallery = {item.external_id: item.shot.product.attributes() for item in build_gallery(count=600, seed=7)}

    for query in demo_queries(count=50, seed=7):
        wanted = gallery[query.reference] | {change.attribute: change.new for change in query.changes}
        assert [key for key, attributes in gallery.items() if attributes == wanted] == [query.target]
        assert all(gallery[query.reference][change.attribute] == change.old for change in query.changes)


def test_queries_are_varied_and_repeatable() -> None:
    queries = demo_queries(count=50, seed=7)

    assert queries == demo_queries(count=50, seed=7)
    assert queries != demo_queries(count=50, seed=8)
    assert set(Counter(query.style for query in queries)) == set(Style)
    assert len({change.attribute for query in queries for change in query.changes}) >= 10
    assert len({(query.reference, query.target) for query in queries}) == 50
