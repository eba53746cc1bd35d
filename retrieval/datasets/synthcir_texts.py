"""Relative texts about the scene, which the catalog's own texts never mention. Paraphrases are disjoint by split."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

import numpy as np

from retrieval.datasets.products import Split
from retrieval.datasets.texts import Change, pick, value_phrase
from retrieval.datasets.wording import SCENE_WORDS

_PLACED = ("in ", "on ", "at ", "by ", "among ")

SCENE_PARAPHRASES: Mapping[Split, Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        Split.TRAIN: {
            "keep-scene": ("{new}, keep the scene", "keep the same scene but {new}", "{new} with the same scene"),
            "change-scene": ("the same but {scene}", "show it {scene}", "the same product {scene}"),
            "change-both": ("{new} and {scene}", "make it {new} and show it {scene}", "change it to {new}, {scene}"),
        },
        Split.DEV: {
            "keep-scene": ("don't change the scene, but make it {new}", "{new} and the same scene"),
            "change-scene": ("exactly this, but {scene}", "do you have this {scene}"),
            "change-both": ("the same thing {new} and {scene}", "I want {new}, and {scene}"),
        },
        Split.TEST: {
            "keep-scene": (
                "{new}, with the scene unchanged", "leave the background as it is, only {new}",
                "{new} in front of this same background",
            ),
            "change-scene": ("like this, but {scene}", "could I see this {scene}?", "{scene} instead, please"),
            "change-both": ("I'd like this {new} and {scene}", "like this, only {new} and {scene}"),
        },
    }
)  # fmt: skip
"""Templates by split and style: `{new}` the wanted values, `{scene}` the wanted scene."""


def scene_text(style: str, changes: Sequence[Change], scene: str, *, split: Split, rng: np.random.Generator) -> str:
    """Words of one of the styles of `SCENE_PARAPHRASES`, for `changes` and the target's `scene`."""
    new = " and ".join(value_phrase(change.attribute, change.new, rng=rng) for change in changes)
    template = pick(rng, SCENE_PARAPHRASES[split][style])
    return template.format(new=new, scene=pick(rng, places_of(scene)))


def places_of(scene: str) -> list[str]:
    """Words for `scene` that say where a product is ("on the beach")."""
    return [words for words in SCENE_WORDS[scene] if words.startswith(_PLACED)]
