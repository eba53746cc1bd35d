from pathlib import Path

import pytest

from core.errors import NotFoundError
from retrieval.datasets.fashioniq import joined, read_fashioniq
from tests.unit.retrieval.evaluate.layouts import write_fashioniq


def test_captions_are_stripped_and_joined_by_and_in_both_orders() -> None:
    assert joined(["is red., ", " has long sleeves?"]) == (
        "is red and has long sleeves",
        "has long sleeves and is red",
    )


@pytest.mark.parametrize("captions", [["is red.", ""], ["", "is red"], ["is red", " . "], ["is red"], ["is red"] * 2])
def test_an_empty_caption_leaves_no_dangling_and(captions: list[str]) -> None:
    assert joined(captions)[0].removesuffix(" and is red") == "is red"
    assert all(not text.startswith("and") and not text.endswith("and") for text in joined(captions))


def test_two_empty_captions_are_no_text_at_all() -> None:
    assert joined(["", " ? "]) == ()


def test_empty_captions_are_noted_and_their_queries_stay(tmp_path: Path) -> None:
    dress = read_fashioniq(write_fashioniq(tmp_path), "val")[0]

    assert len(dress.queries) == 2
    assert dress.queries[1].texts == ("is striped",)
    assert dress.notes == ("dress: 1 queries have an empty caption; the other one alone is their text",)


def test_each_category_has_the_gallery_of_its_own_split_file(tmp_path: Path) -> None:
    parts = read_fashioniq(write_fashioniq(tmp_path), "val")

    assert [part.part for part in parts] == ["dress", "shirt", "toptee"]
    assert list(parts[1].images) == [f"B00SHIRT{number}" for number in range(4)]  # one more than the queries name


def test_the_extension_is_whichever_the_mirror_has(tmp_path: Path) -> None:
    images = read_fashioniq(write_fashioniq(tmp_path), "val")[0].images

    assert images["B00DRESS0"] == tmp_path / "images/B00DRESS0.jpg"
    assert images["B00DRESS3"] == tmp_path / "images/B00DRESS3.png"


def test_a_picture_with_no_extension_that_exists_is_missing(tmp_path: Path) -> None:
    write_fashioniq(tmp_path)
    (tmp_path / "images/B00DRESS3.png").rename(tmp_path / "images/B00DRESS3.gif")

    with pytest.raises(NotFoundError, match=r"1 of 4 images of fashioniq dress val .*B00DRESS3"):
        read_fashioniq(tmp_path, "val")


def test_the_candidate_is_the_reference(tmp_path: Path) -> None:
    query = read_fashioniq(write_fashioniq(tmp_path), "val")[0].queries[0]

    assert (query.id, query.reference, query.targets) == ("dress-0", "B00DRESS0", ("B00DRESS1",))
