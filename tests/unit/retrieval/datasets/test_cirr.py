from pathlib import Path

import pytest

from core.errors import InvalidInputError, NotFoundError
from retrieval.datasets.cirr import read_cirr
from tests.unit.retrieval.evaluate.layouts import CIRR_NAMES, GROUP, cirr_entry, write_cirr, write_json

CAPTIONS = "cirr/captions/cap.rc2.val.json"


def test_val_lies_in_the_folder_dev(tmp_path: Path) -> None:
    dataset = read_cirr(write_cirr(tmp_path), "val")

    assert dataset.images["dev-2-0-img1"] == tmp_path / "dev/dev-2-0-img1.png"


def test_the_gallery_is_every_picture_of_the_split_in_order_of_names(tmp_path: Path) -> None:
    assert list(read_cirr(write_cirr(tmp_path), "val").images) == sorted(CIRR_NAMES)


def test_members_are_the_five_others_of_the_group(tmp_path: Path) -> None:
    query = read_cirr(write_cirr(tmp_path), "val").queries[0]

    assert (query.id, query.reference, query.texts, query.targets) == ("12", GROUP[0], ("in red",), (GROUP[1],))
    assert query.members == tuple(GROUP[1:])


def test_test1_has_no_targets(tmp_path: Path) -> None:
    query = read_cirr(write_cirr(tmp_path), "test1").queries[0]

    assert query.targets == ()
    assert len(query.members) == 5


def test_missing_images_are_listed_and_never_skipped(tmp_path: Path) -> None:
    write_cirr(tmp_path)
    for name in ("dev-2-0-img0", "dev-2-0-img1"):
        (tmp_path / f"dev/{name}.png").unlink()

    with pytest.raises(NotFoundError, match=r"2 of 8 images .*dev-2-0-img0\.png, .*dev-2-0-img1\.png"):
        read_cirr(tmp_path, "val")


def test_a_missing_file_of_annotations_says_which(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"cap\.rc2\.val\.json"):
        read_cirr(tmp_path, "val")


def test_an_unknown_split_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="train, val, test1"):
        read_cirr(write_cirr(tmp_path), "dev")


def test_annotations_of_another_shape_are_refused(tmp_path: Path) -> None:
    write_cirr(tmp_path)
    write_json(tmp_path / CAPTIONS, [{"pairid": 1}])

    with pytest.raises(InvalidInputError, match="img_set"):
        read_cirr(tmp_path, "val")


def test_a_group_without_the_target_is_refused(tmp_path: Path) -> None:
    write_cirr(tmp_path)
    entry = cirr_entry(5, reference=GROUP[0], target=GROUP[1]) | {"target_hard": "dev-2-0-img0"}
    write_json(tmp_path / CAPTIONS, [entry])

    with pytest.raises(InvalidInputError, match="CIRR pair 5"):
        read_cirr(tmp_path, "val")


def test_names_outside_the_gallery_are_listed(tmp_path: Path) -> None:
    write_cirr(tmp_path)
    entry = cirr_entry(5, reference=GROUP[0], target=GROUP[1])
    entry["img_set"]["members"] = [*GROUP[:5], "dev-9-0-img9"]
    write_json(tmp_path / CAPTIONS, [entry])

    with pytest.raises(InvalidInputError, match="dev-9-0-img9"):
        read_cirr(tmp_path, "val")


def test_a_blank_caption_is_no_text(tmp_path: Path) -> None:
    write_cirr(tmp_path)
    write_json(tmp_path / CAPTIONS, [cirr_entry(5, reference=GROUP[0], target=GROUP[1], caption=" ")])

    assert read_cirr(tmp_path, "val").queries[0].texts == ()
