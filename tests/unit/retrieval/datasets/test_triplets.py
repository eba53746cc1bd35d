import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from core.errors import InvalidInputError, NotFoundError
from retrieval.datasets.products import Split
from retrieval.datasets.synthcir import WriteOptions, write_synthcir
from retrieval.datasets.synthcir_groups import Kind, Plan
from retrieval.datasets.triplets import Triplet, hold_out, read_triplets, share_galleries
from tests.unit.retrieval.evaluate.layouts import GROUP, write_cirr, write_fashioniq

NAMES = ("a.jpg", "b.jpg", "c.jpg", "d.jpg")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of files by these names; readers do not open them."""
    for name in NAMES:
        (tmp_path / name).write_bytes(b"a picture")
    return tmp_path


@pytest.fixture
def feedback(photos: Path) -> Callable[..., str]:
    def write(*rows: Any) -> str:
        text = "\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows)
        (photos / "rows.jsonl").write_text(text + "\n")
        return f"feedback:{photos / 'rows.jsonl'}"

    return write


def judged(image: str, *, relevant: bool, text: str = "in red", reference: str = "a.jpg") -> dict[str, Any]:
    return {"reference": reference, "text": text, "image": image, "relevant": relevant}


def names(triplet: Triplet) -> tuple[str, str, list[str], list[str]]:
    wrong, right = (sorted(path.name for path in paths) for paths in (triplet.wrong, triplet.right))
    return triplet.reference.name, triplet.target.name, wrong, right


def test_cirr_gives_the_other_members_as_known_negatives(tmp_path: Path) -> None:
    data = read_triplets([f"cirr:{write_cirr(tmp_path)}@val"])

    first = data.triplets[0]
    assert (len(data.triplets), first.text) == (2, "in red")
    assert names(first) == (
        "dev-1-0-img0.png",
        "dev-1-0-img1.png",
        [f"{name}.png" for name in GROUP[2:]],
        [f"{GROUP[1]}.png"],
    )
    assert {triplet.group for triplet in data.triplets} == {first.group}  # both are about the same six pictures


def test_what_cirrs_annotators_called_right_as_well_is_no_negative(tmp_path: Path) -> None:
    captions = write_cirr(tmp_path) / "cirr/captions/cap.rc2.val.json"
    entries = json.loads(captions.read_text())
    entries[0]["target_soft"] = {GROUP[1]: 1.0, GROUP[4]: 0.5, GROUP[5]: -1.0}
    captions.write_text(json.dumps(entries))

    triplet = read_triplets([f"cirr:{tmp_path}@val"]).triplets[0]

    assert {path.stem for path in triplet.right} == {GROUP[1], GROUP[4]}
    assert {path.stem for path in triplet.wrong} == {GROUP[2], GROUP[3], GROUP[5]}


def test_fashioniq_gives_a_gallery_for_each_category(tmp_path: Path) -> None:
    data = read_triplets([f"fashioniq:{write_fashioniq(tmp_path)}@val"])

    assert [triplet.gallery for triplet in data.triplets] == [0, 0, 1, 1, 2, 2]
    assert data.triplets[0].text == "is red and has long sleeves"
    assert any("empty caption" in note for note in data.notes)


def test_synthcir_trains_on_its_own_train_split(tmp_path: Path) -> None:
    plans = dict.fromkeys(Split, Plan({Kind.SAME_SCENE: 1}, queries_per_group=2))
    folder = write_synthcir(tmp_path / "synthcir", WriteOptions(seed=3, size_px=64, plans=plans))

    data = read_triplets([f"synthcir:{folder}"])

    assert len(data.triplets) == 2
    assert all(len(triplet.wrong) == 4 for triplet in data.triplets)
    assert data.galleries[0].attributes


def test_lasco_takes_pairs_and_bare_paths(photos: Path, tmp_path: Path) -> None:
    rows = [
        {"qid": 1, "query-image": [7, "a.jpg"], "query-text": " in red ", "target-image": [8, "b.jpg"]},
        {"query-image": "./c.jpg", "query-text": "striped", "target-image": "d.jpg"},
    ]
    file = tmp_path / "elsewhere" / "train.json"
    file.parent.mkdir()
    file.write_text(json.dumps(rows))

    data = read_triplets([f"lasco:{file}"], images=photos)

    assert [names(triplet)[:2] for triplet in data.triplets] == [("a.jpg", "b.jpg"), ("c.jpg", "d.jpg")]
    assert data.triplets[0].text == "in red"
    assert list(data.galleries[0].images) == list(NAMES)


def test_bad_rows_of_lasco_are_listed_by_number(photos: Path) -> None:
    file = photos / "train.json"
    good = {"query-image": [7, "a.jpg"], "query-text": "in red", "target-image": [8, "b.jpg"]}
    file.write_text(json.dumps([good, {**good, "query-text": " "}, {**good, "target-image": [7, "a.jpg"]}, 5]))

    with pytest.raises(InvalidInputError) as raised:
        read_triplets([f"lasco:{file}"])

    for said in ("3 rows of", "row 2: query-text", "row 3: target-image is query-image", "row 4: "):
        assert said in raised.value.detail
    assert "row 1" not in raised.value.detail


def test_missing_pictures_are_all_listed(photos: Path) -> None:
    file = photos / "train.json"
    file.write_text(json.dumps([{"query-image": "x.jpg", "query-text": "in red", "target-image": "y.jpg"}]))

    with pytest.raises(NotFoundError, match=r"2 of 2 images of lasco train.json are missing: .*x.jpg, .*y.jpg"):
        read_triplets([f"lasco:{file}"])


def test_judgements_of_one_request_belong_together(feedback: Callable[..., str]) -> None:
    source = feedback(
        judged("b.jpg", relevant=True),
        judged("c.jpg", relevant=True, text=" in  red"),
        {"reference": "a.jpg", "text": "in red", "external_id": "d.jpg", "relevant": False},
        judged("a.jpg", relevant=True),  # of the reference itself: not counted
        "",
        judged("b.jpg", relevant=False, text="striped"),
    )

    data = read_triplets([source])

    right = ["b.jpg", "c.jpg"]
    assert [names(triplet) for triplet in data.triplets] == [
        ("a.jpg", "b.jpg", ["d.jpg"], right),
        ("a.jpg", "c.jpg", ["d.jpg"], right),
    ]
    assert data.notes == ("1 of 2 requests have no relevant picture and are left out",)


def test_the_later_judgement_counts(feedback: Callable[..., str]) -> None:
    source = feedback(
        judged("b.jpg", relevant=False), judged("c.jpg", relevant=True), judged("b.jpg", relevant=True),
        judged("c.jpg", relevant=False),
    )  # fmt: skip

    assert [names(triplet) for triplet in read_triplets([source]).triplets] == [
        ("a.jpg", "b.jpg", ["c.jpg"], ["b.jpg"])
    ]


def test_bad_rows_of_feedback_are_listed_by_number(feedback: Callable[..., str]) -> None:
    source = feedback(
        judged("b.jpg", relevant=True),
        "{broken",
        {"reference": "a.jpg", "text": "in red", "relevant": True},
        {**judged("b.jpg", relevant=True), "relevant": "yes"},
    )

    with pytest.raises(InvalidInputError) as raised:
        read_triplets([source])

    for said in ("3 rows of", "row 2: ", "row 3: image or external_id must name", "row 4: relevant: "):
        assert said in raised.value.detail


def test_feedback_without_a_right_answer_teaches_nothing(feedback: Callable[..., str]) -> None:
    with pytest.raises(InvalidInputError, match="no relevant picture"):
        read_triplets([feedback(judged("b.jpg", relevant=False))])


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("parquet:x", "use one of cirr:FOLDER"),
        ("cirr", "is no source of triplets"),
        ("feedback:rows.jsonl@train", "has no splits"),
        ("cirr:nowhere@train", "There is no file"),
        ("feedback:nowhere.jsonl", "There is no file"),
    ],
)
def test_sources_that_cannot_be_read_say_why(source: str, said: str) -> None:
    with pytest.raises((InvalidInputError, NotFoundError), match=said):
        read_triplets([source])


def test_a_split_without_targets_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="no query with a text and a target"):
        read_triplets([f"cirr:{write_cirr(tmp_path)}@test1"])


def test_groups_are_held_out_whole(tmp_path: Path) -> None:
    data = read_triplets([f"fashioniq:{write_fashioniq(tmp_path)}@val"])

    kept, held = hold_out(data, share=0.3, seed=1)

    assert (len(kept.triplets), len(held.triplets)) == (4, 2)
    assert not {triplet.group for triplet in kept.triplets} & {triplet.group for triplet in held.triplets}
    assert hold_out(data, share=0.3, seed=1) == (kept, held)
    assert {hold_out(data, share=0.3, seed=seed)[1].triplets for seed in range(5)} != {held.triplets}


def test_one_group_cannot_be_divided(feedback: Callable[..., str]) -> None:
    with pytest.raises(InvalidInputError, match="about the same pictures"):
        hold_out(read_triplets([feedback(judged("b.jpg", relevant=True))]), share=0.5, seed=1)


def test_shared_galleries_keep_each_triplet_with_its_own(feedback: Callable[..., str], tmp_path: Path) -> None:
    fashion = read_triplets([f"fashioniq:{write_fashioniq(tmp_path / 'fashion')}@val"])
    shop = read_triplets([feedback(judged("b.jpg", relevant=True))])

    first, second = share_galleries(fashion, shop)

    assert first.galleries == second.galleries == (*fashion.galleries, *shop.galleries)
    assert first.triplets == fashion.triplets
    assert second.galleries[second.triplets[0].gallery].name == "feedback"


def test_the_digest_tells_data_apart(feedback: Callable[..., str]) -> None:
    one = read_triplets([feedback(judged("b.jpg", relevant=True))]).digest()

    assert read_triplets([feedback(judged("b.jpg", relevant=True))]).digest() == one
    assert read_triplets([feedback(judged("b.jpg", relevant=True, text="in blue"))]).digest() != one
