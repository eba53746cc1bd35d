import hashlib
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

from core.errors import ConflictError
from retrieval.datasets.cirr import read_cirr
from retrieval.datasets.products import Split, split_of
from retrieval.datasets.synthcir import (
    SAME_SCENE,
    SPLITS,
    WriteOptions,
    check_synthcir,
    read_synthcir,
    style_of,
    write_synthcir,
)
from retrieval.datasets.synthcir_groups import PLANS, SCENE_TRAP, Group, Kind, Plan, Query, build_groups
from retrieval.datasets.synthcir_texts import SCENE_PARAPHRASES
from retrieval.datasets.texts import PARAPHRASES, Style
from retrieval.datasets.wording import NOUNS, SCENE_WORDS, WORDINGS

SMALL = Plan({Kind.SAME_SCENE: 2, Kind.MIXED: 1, Kind.SCENE: 1}, queries_per_group=3)
TINY = WriteOptions(seed=3, size_px=64, plans=dict.fromkeys(Split, SMALL))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthcir(tmp_path_factory.mktemp("synthcir") / "data", TINY)


@pytest.fixture(scope="module")
def groups() -> dict[Split, list[Group]]:
    return {split: build_groups(split, PLANS[split], seed=7) for split in Split}


def asked(groups: list[Group]) -> list[tuple[Group, Query]]:
    return [(group, query) for group in groups for query in group.queries]


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_however_many_processes_draw(tmp_path: Path, written: Path) -> None:
    again = write_synthcir(tmp_path / "again", WriteOptions(seed=3, size_px=64, plans=TINY.plans, workers=2))

    assert digests(again) == digests(written)


def test_a_folder_that_was_written_today_is_what_is_written_today(written: Path) -> None:
    check_synthcir(written, TINY)


@pytest.mark.parametrize("spoilt", ["synthcir/about.json", "cirr/captions/cap.rc2.val.json", "dev/dev-0-0-img0.jpg"])
def test_a_folder_of_another_day_is_told_apart(written: Path, tmp_path: Path, spoilt: str) -> None:
    other = Path(shutil.copytree(written, tmp_path / "other"))
    file = other / spoilt
    file.write_bytes(file.read_bytes() + b" ")
    with pytest.raises(ConflictError, match=f"{spoilt} is not what is drawn today: remove"):
        check_synthcir(other, TINY)
    file.unlink()
    with pytest.raises(ConflictError, match="remove"):
        check_synthcir(other, TINY)


def test_another_seed_gives_other_groups() -> None:
    one, other = (build_groups(Split.TEST, SMALL, seed=seed) for seed in (1, 2))

    assert {shot.product for group in one for shot in group.shots} != {s.product for g in other for s in g.shots}


def test_the_test_split_has_two_thousand_pictures_and_a_thousand_queries(groups: dict[Split, list[Group]]) -> None:
    test = groups[Split.TEST]

    assert sum(len(group.shots) for group in test) >= 2_000
    assert sum(len(group.queries) for group in test) >= 1_000


def test_splits_share_no_combination_no_seed_and_no_photo(groups: dict[Split, list[Group]]) -> None:
    shots = {split: [shot for group in groups[split] for shot in group.shots] for split in Split}

    for split in Split:
        assert {split_of(shot.product) for shot in shots[split]} == {split}
    seeds = [shot.seed for split in Split for shot in shots[split]]
    assert len(set(seeds)) == len(seeds)


def test_splits_share_no_paraphrase() -> None:
    for style in ("keep-scene", "change-scene", "change-both"):
        templates = [template for split in Split for template in SCENE_PARAPHRASES[split][style]]
        assert len(set(templates)) == len(templates)
    catalog = [set(PARAPHRASES[s].change + PARAPHRASES[s].negation + PARAPHRASES[s].keep) for s in Split]
    assert sum(map(len, catalog)) == len(set().union(*catalog))


def test_negations_tell_what_they_deny(written: Path) -> None:
    details = json.loads((written / "synthcir" / "queries.test1.json").read_text())
    for query in read_synthcir(written, "test").queries:
        old = [change["old"] for change in details[query.id]["changes"]]
        assert query.denied == (" ".join(old) if style_of(query) == "negation" else None)
    assert any(query.denied for query in read_synthcir(written, "test").queries)


def test_every_query_has_exactly_one_right_answer(groups: dict[Split, list[Group]]) -> None:
    for split in Split:
        gallery = Counter((shot.product, shot.scene) for group in groups[split] for shot in group.shots)
        products = Counter(shot.product for group in groups[split] for shot in group.shots)
        for group, query in asked(groups[split]):
            reference, target = group.shots[query.reference], group.shots[query.target]
            wanted = reference.product.attributes() | {change.attribute: change.new for change in query.changes}
            assert target.product.attributes() == wanted
            assert gallery[target.product, target.scene] == 1
            assert products[target.product] == (2 if query.names_scene else 1)


def test_every_group_has_hard_negatives(groups: dict[Split, list[Group]]) -> None:
    for group, query in asked([group for split in Split for group in groups[split]]):
        assert len({(shot.product, shot.scene) for shot in group.shots}) == 6
        assert group.near_misses(query) >= 1
        if group.kind is Kind.SAME_SCENE:
            assert group.same_scene_negatives(query) >= SCENE_TRAP


def test_queries_are_of_every_style_and_about_every_attribute(groups: dict[Split, list[Group]]) -> None:
    queries = [query for _, query in asked(groups[Split.TEST])]
    styles = Counter(query.style for query in queries)
    attributes = Counter(change.attribute for query in queries for change in query.changes)

    assert min(styles[style] for style in (*Style, "keep-scene", "change-scene", "change-both")) >= 50
    assert len(attributes) == 14
    assert max(attributes.values()) < 0.3 * attributes.total()


def test_texts_say_what_changes_and_only_scene_texts_say_where(groups: dict[Split, list[Group]]) -> None:
    for group, query in asked(groups[Split.TEST]):
        for change in query.changes:
            words = NOUNS[change.new] if change.attribute == "category" else ()
            wording = WORDINGS.get(change.new)
            words += (*wording.before, *wording.after) if wording else ()
            assert any(word in query.text for word in words)
        if query.style.startswith("change-"):
            assert any(word in query.text for word in SCENE_WORDS[group.shots[query.target].scene])


def test_it_is_cirr_with_targets(written: Path) -> None:
    for split in SPLITS:
        dataset = read_cirr(written, split)
        assert len(dataset.images) == 24
        assert all(len(query.targets) == 1 and len(query.members) == 5 for query in dataset.queries)


def test_names_and_folders_are_those_of_cirr(written: Path) -> None:
    images = read_cirr(written, "val").images
    assert images["dev-0-0-img0"] == written / "dev/dev-0-0-img0.jpg"
    assert read_cirr(written, "train").images["train-1-0-img5"] == written / "train/1/train-1-0-img5.jpg"
    assert read_cirr(written, "test1").images["test1-1-0-img5"] == written / "test1/test1-1-0-img5.jpg"


def test_soft_scores_mark_the_four_wrong_answers(written: Path) -> None:
    entries = json.loads((written / "cirr/captions/cap.rc2.test1.json").read_text())

    for entry in entries:
        assert sorted(entry["target_soft"].values()) == [-1.0] * 4 + [1.0]
        assert entry["target_soft"][entry["target_hard"]] == 1.0
        assert entry["reference"] not in entry["target_soft"]


@pytest.mark.parametrize(("ours", "cirrs"), [("train", "train"), ("dev", "val"), ("test", "test1")])
def test_both_names_of_a_split_are_understood(written: Path, ours: str, cirrs: str) -> None:
    assert read_synthcir(written, ours) == read_synthcir(written, cirrs)


def test_details_tell_attributes_scenes_and_slices(written: Path) -> None:
    dataset = read_synthcir(written, "test")

    assert dataset.attributes.keys() == dataset.scenes.keys() == dataset.images.keys()
    for query in dataset.queries:
        old, new = (dataset.attributes[name] for name in (query.reference, query.targets[0]))
        assert f"changes:{sum(old[name] != new[name] for name in old)}" in query.labels
        same = dataset.scenes[query.reference] == dataset.scenes[query.targets[0]]
        assert same or style_of(query) != "keep-scene"
        assert not (same and SAME_SCENE in query.labels)


def test_an_existing_folder_is_never_overwritten(written: Path) -> None:
    before = digests(written)

    with pytest.raises(ConflictError, match="exists already"):
        write_synthcir(written, TINY)
    assert digests(written) == before


def test_a_plan_that_is_too_large_leaves_nothing_behind(tmp_path: Path) -> None:
    huge = Plan({Kind.MIXED: 1_000}, queries_per_group=1)

    with pytest.raises(ValueError, match="plan fewer"):
        write_synthcir(tmp_path / "out", WriteOptions(plans=dict.fromkeys(Split, huge)))
    assert list(tmp_path.iterdir()) == []


def test_progress_counts_every_picture(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    write_synthcir(tmp_path / "out", TINY, progress=lambda done, total: seen.append((done, total)))

    assert seen == [(number, 72) for number in range(1, 73)]
