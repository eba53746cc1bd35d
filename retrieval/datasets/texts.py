"""Captions and relative texts of the synthetic catalog. Paraphrase sets are disjoint between splits."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TypeVar

import numpy as np

from retrieval.datasets.products import Product, Split
from retrieval.datasets.wording import ANY_PRODUCT, ASPECTS, NOUNS, SCENE_WORDS, WORDINGS

Option = TypeVar("Option")


class Style(StrEnum):
    """How a relative text asks for its change."""

    SINGLE = "single"
    DOUBLE = "double"
    KEEP = "keep"
    NEGATION = "negation"


@dataclass(frozen=True)
class Change:
    """One attribute of the reference that the target has otherwise."""

    attribute: str
    old: str
    new: str


@dataclass(frozen=True)
class RelativeText:
    """What the shopper writes, and what it asks for (`kept` names an attribute that the text says to keep)."""

    text: str
    changes: tuple[Change, ...]
    style: Style
    kept: tuple[str, ...] = field(default=())


@dataclass(frozen=True)
class _Paraphrases:
    """Templates: `{new}` the wanted values, `{old}` the unwanted one, `{aspect}` the attribute to keep."""

    change: tuple[str, ...]
    negation: tuple[str, ...]
    keep: tuple[str, ...]


PARAPHRASES: Mapping[Split, _Paraphrases] = MappingProxyType(
    {
        Split.TRAIN: _Paraphrases(
            change=(
                "{new}", "{new}", "make it {new}", "the same but {new}", "same one {new}", "is {new}",
                "I want it {new}", "change it to {new}", "this {new}", "show it {new}", "the same product, {new}",
                "it should be {new}", "find me this {new}", "as this one but {new}", "same style but {new}",
            ),
            negation=("{new} instead of {old}", "not {old} but {new}", "{new}, not {old}", "replace {old} by {new}"),
            keep=(
                "keep the {aspect} but {new}", "same {aspect}, {new}", "{new}, keep the {aspect}",
                "with the same {aspect} but {new}",
            ),
        ),
        Split.DEV: _Paraphrases(
            change=("exactly this, but {new}", "do you have this {new}", "the same thing {new}"),
            negation=("I don't want {old}, I want {new}", "{new} and no longer {old}"),
            keep=("don't change the {aspect}, but make it {new}", "{new} and the same {aspect}"),
        ),
        Split.TEST: _Paraphrases(
            change=(
                "like this, but {new}", "could I get this {new}?", "{new} instead, please",
                "similar to this one, only {new}", "I'd like this {new}",
            ),
            negation=("{new} rather than {old}", "should not be {old}, but {new}", "it is {new} and not {old}"),
            keep=("{new}, with the {aspect} unchanged", "leave the {aspect} as it is, only {new}"),
        ),
    }
)  # fmt: skip

_OPENINGS = ("", "", "a ", "a ", "a photo of a ", "the ", "product photo of a ")


def caption(product: Product, *, rng: np.random.Generator, names: Sequence[str], scene: str | None = None) -> str:
    """A caption that tells exactly the attributes in `names` (and the scene, if given), in varied order and words."""
    values = product.attributes()
    noun = pick(rng, NOUNS[product.category] if "category" in names else ANY_PRODUCT)
    before: list[str] = []
    after: list[str] = []
    for name in rng.permutation([name for name in names if name != "category"]):
        wording = WORDINGS[values[str(name)]]
        if wording.before and (not wording.after or rng.random() < 0.6):  # noqa: PLR2004 - mostly adjectives
            before.append(pick(rng, wording.before))
        else:
            after.append(pick(rng, wording.after))
    if scene is not None:
        after.append(pick(rng, SCENE_WORDS[scene]))
    return pick(rng, _OPENINGS) + " ".join([*before, noun, *after])


def value_phrase(attribute: str, value: str, *, rng: np.random.Generator) -> str:
    """A short phrase for one value as a relative text would use it: "red", "in red", "with long sleeves", "a mug"."""
    if attribute == "category":
        return pick(rng, ("a ", "")) + pick(rng, NOUNS[value])
    wording = WORDINGS[value]
    return pick(rng, (*wording.before, *wording.after))


def relative_text(
    changes: Sequence[Change], *, style: Style, split: Split, rng: np.random.Generator, kept: str | None = None
) -> RelativeText:
    """Words for `changes` with a paraphrase of `split`; `kept` (an attribute name) is needed for the keep style."""
    new = " and ".join(value_phrase(change.attribute, change.new, rng=rng) for change in changes)
    templates = PARAPHRASES[split]
    if style is Style.NEGATION:
        old = value_phrase(changes[0].attribute, changes[0].old, rng=rng)
        text = pick(rng, templates.negation).format(new=new, old=old)
    elif style is Style.KEEP:
        if kept is None:
            raise ValueError("style keep needs the name of the attribute to keep: pass kept=")
        text = pick(rng, templates.keep).format(new=new, aspect=pick(rng, ASPECTS[kept]))
    else:
        text = pick(rng, templates.change).format(new=new)
    return RelativeText(text, tuple(changes), style, (kept,) if kept and style is Style.KEEP else ())


def pick(rng: np.random.Generator, options: Sequence[Option]) -> Option:
    """One of the options, each as likely as the others."""
    return options[int(rng.integers(len(options)))]
