import numpy as np
import pytest

from retrieval.datasets.texts import Change
from retrieval.datasets.wording import ASPECTS, WORDINGS
from retrieval.train.judge_texts import Meaning, loose_text
from retrieval.train.judge_words import filler_words, split_words

RED = Change("color", "blue", "red")
MATTE = Change("finish", "glossy", "matte")


def _texts(meaning: Meaning, count: int = 200) -> list[str]:
    rng = np.random.default_rng(5)
    return [loose_text(meaning, rng) for _ in range(count)]


def _says(text: str, value: str) -> bool:
    wording = WORDINGS[value]
    return any(phrase in text for phrase in (*wording.before, *wording.after))


@pytest.mark.parametrize("changes", [(RED,), (RED, MATTE)])
def test_every_wanted_value_is_said(changes: tuple[Change, ...]) -> None:
    for text in _texts(Meaning(changes)):
        assert all(_says(text, change.new) for change in changes), text


def test_the_value_that_goes_stands_anywhere_and_not_always() -> None:
    texts = _texts(Meaning((RED,)))
    told = [text for text in texts if _says(text, "blue")]

    assert 0 < len(told) < len(texts)
    first = [min(text.find(word) for word in ("blue", "navy") if word in text) for text in told]
    wanted = [min(text.find(word) for word in ("red", "crimson") if word in text) for text in told]
    assert {old < new for old, new in zip(first, wanted, strict=True)} == {True, False}


def test_a_place_is_said_word_for_word() -> None:
    assert all("on the beach" in text for text in _texts(Meaning((MATTE,), place="on the beach")))
    assert all("at night" in text for text in _texts(Meaning((), place="at night")))


def test_the_scene_is_named_only_where_it_must_stay() -> None:
    assert all("scene" in text for text in _texts(Meaning((RED,), keeps_scene=True)))
    assert not any("scene" in text for text in _texts(Meaning((RED,), kept="finish")))


def test_what_stays_may_be_named() -> None:
    named = [text for text in _texts(Meaning((RED,), kept="finish")) if any(word in text for word in ASPECTS["finish"])]

    assert 0 < len(named) < 200


def test_no_word_is_from_outside_the_training_texts() -> None:
    known = {word for phrase in ("red", "blue") for word in _words_of(phrase)} | filler_words()
    known |= {"not", "instead", "of", "but", "with", "no", "the", "and", "a", "keep", "scene", *_words_of_aspects()}

    for text in _texts(Meaning((RED,), kept="finish")):
        assert set(split_words(text)) <= known, text


def _words_of(value: str) -> set[str]:
    wording = WORDINGS[value]
    return {word for phrase in (*wording.before, *wording.after) for word in split_words(phrase)}


def _words_of_aspects() -> set[str]:
    return {word for phrase in ASPECTS["finish"] for word in split_words(phrase)}
