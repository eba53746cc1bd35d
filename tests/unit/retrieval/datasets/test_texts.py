import itertools

import numpy as np
import pytest

from retrieval.datasets.products import Product, Split, attribute_values
from retrieval.datasets.texts import PARAPHRASES, Change, Style, caption, relative_text
from retrieval.datasets.wording import ASPECTS, NOUNS, WORDINGS

MUG = Product("mug", "green", "striped", "square handle", "small", "matte")
TO_RED = Change("color", "green", "red")


def _words_of(value: str) -> tuple[str, ...]:
    return NOUNS[value] if value in NOUNS else (*WORDINGS[value].before, *WORDINGS[value].after)


@pytest.mark.parametrize("seed", range(20))
def test_captions_tell_what_they_are_asked_to_tell(seed: int) -> None:
    names = ["category", "color", "handle", "finish"]

    text = caption(MUG, rng=np.random.default_rng(seed), names=names)

    for name in names:
        assert any(word in text for word in _words_of(MUG.attributes()[name]))
    assert not any(word in text for word in _words_of("striped"))


def test_every_value_and_attribute_has_words() -> None:
    for name, values in attribute_values().items():
        assert ASPECTS[name]
        assert all(_words_of(value) for value in values)


def test_no_paraphrase_is_in_two_splits() -> None:
    for one, other in itertools.combinations(Split, 2):
        for field in ("change", "negation", "keep"):
            assert not set(getattr(PARAPHRASES[one], field)) & set(getattr(PARAPHRASES[other], field))


@pytest.mark.parametrize("split", list(Split))
@pytest.mark.parametrize("style", list(Style))
def test_relative_texts_name_the_wanted_value(split: Split, style: Style) -> None:
    found = relative_text([TO_RED], style=style, split=split, rng=np.random.default_rng(3), kept="pattern")

    assert any(word in found.text for word in _words_of("red"))
    assert any(word in found.text for word in _words_of("green")) is (style is Style.NEGATION)
    assert found.kept == (("pattern",) if style is Style.KEEP else ())


def test_keeping_needs_to_know_what() -> None:
    with pytest.raises(ValueError, match="kept="):
        relative_text([TO_RED], style=Style.KEEP, split=Split.TEST, rng=np.random.default_rng(0))
