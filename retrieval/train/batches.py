"""Texts for training pictures, with the exact answer to which picture fits which text."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from retrieval.datasets.products import SCENES, Product, Shot, Split, attribute_values, values_of
from retrieval.datasets.texts import Change, Style, caption, relative_text, value_phrase
from retrieval.datasets.wording import SCENE_WORDS

Codes = NDArray[np.int64]

VOCABULARY: dict[str, tuple[str, ...]] = {**attribute_values(), "scene": SCENES}
"""Attribute (and `scene`) -> values; a picture's code in a column is the index of its value here."""

_COLUMN = {name: index for index, name in enumerate(VOCABULARY)}
_STYLES = (Style.SINGLE, Style.SINGLE, Style.DOUBLE, Style.KEEP, Style.NEGATION)


@dataclass(frozen=True)
class TextBatch:
    """Texts and what each demands of a picture: int64 [texts, columns], -1 where it demands nothing."""

    texts: list[str]
    demands: Codes

    def matches(self, codes: Codes) -> NDArray[np.bool_]:
        """Which picture fulfils which text: bool [texts, pictures]."""
        fits = (self.demands[:, None, :] < 0) | (self.demands[:, None, :] == codes[None, :, :])
        answer: NDArray[np.bool_] = fits.all(axis=2)
        return answer


def codes_of(shots: Sequence[Shot]) -> Codes:
    """Attribute and scene codes of pictures: int64 [shots, columns], -1 for an attribute the product does not have."""
    return np.stack([_codes({**shot.product.attributes(), "scene": shot.scene}) for shot in shots])


def picture_texts(shots: Sequence[Shot], rng: np.random.Generator, *, relative_share: float = 0.25) -> TextBatch:
    """A caption of a random part of the attributes for each shot, and relative texts that some of them answer."""
    texts, demands = [], []
    for shot in shots:
        text, asked = _random_caption(shot, rng)
        texts.append(text)
        demands.append(_codes(asked))
    for index in rng.permutation(len(shots))[: int(len(shots) * relative_share)]:
        text, asked = random_relative_text(shots[int(index)].product, rng)
        texts.append(text)
        demands.append(_codes(asked))
    return TextBatch(texts, np.stack(demands))


def value_texts(rng: np.random.Generator) -> TextBatch:
    """One short text for every value of every attribute, in the order of `VOCABULARY`: a bare word or a phrase."""
    texts, demands = [], []
    for name, values in VOCABULARY.items():
        for value in values:
            texts.append(_value_text(name, value, rng))
            demands.append(_codes({name: value}))
    return TextBatch(texts, np.stack(demands))


def random_relative_text(product: Product, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    """A relative text (training paraphrases) whose wanted values `product` has, and those values by attribute."""
    style = _STYLES[int(rng.integers(len(_STYLES)))]
    names = [str(name) for name in rng.permutation(list(product.attributes()))]
    values = product.attributes()
    changes = []
    for name in names[: 2 if style is Style.DOUBLE else 1]:
        others = [value for value in values_of(product, name) if value != values[name]]
        changes.append(Change(name, others[int(rng.integers(len(others)))], values[name]))
    text = relative_text(changes, style=style, split=Split.TRAIN, rng=rng, kept=names[-1])
    return text.text, {change.attribute: change.new for change in changes}


def _random_caption(shot: Shot, rng: np.random.Generator) -> tuple[str, dict[str, str]]:
    values = shot.product.attributes()
    count = int(rng.integers(1, len(values) + 1))
    names = [str(name) for name in rng.permutation(list(values))[:count]]
    scene = shot.scene if rng.random() < 0.4 else None  # noqa: PLR2004 - less often than not
    asked = {name: values[name] for name in names}
    if scene is not None:
        asked["scene"] = scene
    return caption(shot.product, rng=rng, names=names, scene=scene), asked


def _value_text(name: str, value: str, rng: np.random.Generator) -> str:
    if name == "scene":
        return SCENE_WORDS[value][int(rng.integers(len(SCENE_WORDS[value])))]
    if rng.random() < 0.3:  # noqa: PLR2004 - catalogs hold the bare value
        return value
    return value_phrase(name, value, rng=rng)


def _codes(values: dict[str, str]) -> Codes:
    codes = np.full(len(_COLUMN), -1, dtype=np.int64)
    for name, value in values.items():
        codes[_COLUMN[name]] = VOCABULARY[name].index(value)
    return codes
