import json
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInputError, NotFoundError
from retrieval.datasets.circo import read_circo
from tests.unit.retrieval.evaluate.layouts import write_circo, write_json


def changed(folder: Path, **fields: Any) -> Path:
    path = write_circo(folder) / "annotations/val.json"
    entries = json.loads(path.read_text())
    write_json(path, [entries[0] | fields])
    return folder


@pytest.mark.parametrize("split", ["val", "test"])
def test_the_gallery_of_both_splits_is_all_of_coco(tmp_path: Path, split: str) -> None:
    images = read_circo(write_circo(tmp_path), split).images

    assert list(images) == [f"{number:012d}" for number in (11, 12, 13, 200, 1000)]
    assert images["000000000200"] == tmp_path / "COCO2017_unlabeled/unlabeled2017/000000000200.jpg"


def test_all_ground_truths_count_and_the_target_is_the_first(tmp_path: Path) -> None:
    query = read_circo(write_circo(tmp_path), "val").queries[0]

    assert query.targets == ("000000000200", "000000000012")
    assert query.labels == ("aspect:addition", "aspect:negation")


def test_the_shared_concept_is_no_part_of_the_query(tmp_path: Path) -> None:
    assert read_circo(write_circo(tmp_path), "val").queries[0].texts == ("is red",)


def test_test_has_no_ground_truth(tmp_path: Path) -> None:
    assert [query.targets for query in read_circo(write_circo(tmp_path), "test").queries] == [()]


def test_missing_images_are_listed(tmp_path: Path) -> None:
    write_circo(tmp_path)
    (tmp_path / "COCO2017_unlabeled/unlabeled2017/000000000013.jpg").unlink()

    with pytest.raises(NotFoundError, match=r"1 of 5 images .*000000000013\.jpg"):
        read_circo(tmp_path, "val")


@pytest.mark.parametrize("ids", [[12, 200], [200, 12, 12], [200, 11]])
def test_ground_truths_that_cannot_be_are_refused(tmp_path: Path, ids: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="CIRCO query 0"):
        read_circo(changed(tmp_path, gt_img_ids=ids), "val")
