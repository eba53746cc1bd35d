from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from core.errors import InvalidInputError
from retrieval.datasets.composed import CirDataset
from retrieval.datasets.triplets import Triplet, TripletSet
from retrieval.train.judgments import Judgment, JudgmentSource, epochs

GALLERY = {f"p{number:02d}": Path(f"p{number:02d}.jpg") for number in range(30)}
P = list(GALLERY.values())


def triplet(number: int, *, text: str, right: tuple[Path, ...] = (), wrong: tuple[Path, ...] = ()) -> Triplet:
    target = P[number + 1]
    return Triplet(P[number], text, target, wrong, (target, *right), group=str(number), gallery=0)


def source(*triplets: Triplet, images: dict[str, Path] | None = None) -> JudgmentSource:
    gallery = CirDataset(name="feedback", split="x", images=GALLERY if images is None else images, queries=())
    return JudgmentSource(TripletSet(triplets, (gallery,)), None)


def test_one_right_answer_and_as_many_different_wrong_ones_as_asked_for() -> None:
    one = triplet(0, text="in red", right=(P[5],), wrong=(P[7], P[8]))
    drawn = source(one, triplet(10, text="in blue"))

    for seed in range(50):
        first, *others = drawn.draw(one, 6, np.random.default_rng(seed))
        assert first == Judgment(P[0], "in red", P[1], right=True)
        assert len(set(others)) == len(others) == 6
        assert not any(other.right for other in others)
        assert all(other.candidate not in one.right for other in others if other.text == "in red")


def test_every_kind_of_negative_is_drawn_and_known_ones_often() -> None:
    one = triplet(0, text="in red", wrong=(P[7],))
    drawn = source(one, triplet(10, text="in blue"))

    wrong = [drawn.draw(one, 1, np.random.default_rng(seed))[1] for seed in range(300)]

    known = sum(each.candidate == P[7] for each in wrong)
    reference = sum(each.candidate == P[0] for each in wrong)
    swapped = [each for each in wrong if each.text == "in blue"]
    assert 90 < known < 170
    assert 10 < reference < 60
    assert 10 < len(swapped) < 60
    assert {each.candidate for each in swapped} == {one.target}


def test_a_text_that_asks_for_the_same_target_is_no_swap() -> None:
    one = triplet(0, text="in red")
    same = triplet(10, text="crimson", right=(P[1],))
    louder = triplet(12, text="IN RED")

    texts = {j.text for seed in range(40) for j in source(one, same, louder).draw(one, 4, np.random.default_rng(seed))}

    assert texts == {"in red"}


def test_few_pictures_are_used_again() -> None:
    one = triplet(0, text="in red")

    _, *others = source(one, images={"a": P[0], "b": P[1]}).draw(one, 3, np.random.default_rng(0))

    assert [other.candidate for other in others] == [P[0]] * 3


def test_no_wrong_answer_at_all_is_an_error() -> None:
    one = triplet(0, text="in red", right=(P[0],))

    with pytest.raises(InvalidInputError, match="add pictures"):
        source(one, images={"a": P[0], "b": P[1]}).draw(one, 1, np.random.default_rng(0))


def test_each_pass_shows_each_triplet_once_in_another_order() -> None:
    triplets = [triplet(number, text="in red") for number in range(7)]

    shown = [each for batch in islice(epochs(triplets, size=2, seed=1, start=0), 7) for each in batch]

    assert sorted(shown[:7], key=triplets.index) == sorted(shown[7:], key=triplets.index) == triplets
    assert shown[:7] != shown[7:]


def test_batches_go_on_where_they_stopped() -> None:
    triplets = [triplet(number, text="in red") for number in range(5)]

    whole = list(islice(epochs(triplets, size=3, seed=1, start=0), 6))

    assert list(islice(epochs(triplets, size=3, seed=1, start=4), 2)) == whole[4:]
