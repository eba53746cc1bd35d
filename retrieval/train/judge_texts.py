"""Relative texts for the demo judge's training: the training paraphrases, and the same phrases strung together loosely.

Shoppers put things in other words than any list of templates, so a loose text keeps only the phrases that say a value
and shuffles them among random template words: what is said must be understood without the sentence around it. The
value that is no longer wanted may stand anywhere, with or without a "not": the reference picture shows which it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from retrieval.datasets.texts import Change, pick, value_phrase
from retrieval.datasets.wording import ASPECTS
from retrieval.train.judge_words import filler_words

_DENIALS = ("not", "instead of", "no", "but not", "")
_KEEPERS = ("same", "the same", "keep the", "with the same", "the", "same")
_JOINTS = (" ", " ", " and ", ", ", " but ")
_MISLEADING = frozenset({"not", "replace", "of", "by", "scene"})
_OLD_TOLD, _KEPT_TOLD = 0.35, 0.3
_SILENCE = 0.45


@dataclass(frozen=True)
class Meaning:
    """What a text has to say: `changes`, words for a wanted place (or none), and an aspect of the reference to keep."""

    changes: Sequence[Change]
    place: str | None = None
    kept: str | None = None
    keeps_scene: bool = False


def loose_text(meaning: Meaning, rng: np.random.Generator) -> str:
    """Words that say `meaning` in no particular order."""
    pieces = [value_phrase(change.attribute, change.new, rng=rng) for change in meaning.changes]
    if meaning.changes and rng.random() < _OLD_TOLD:
        change = pick(rng, meaning.changes)
        pieces.append(f"{pick(rng, _DENIALS)} {value_phrase(change.attribute, change.old, rng=rng)}".strip())
    if meaning.place is not None:
        pieces.append(meaning.place)
    if meaning.keeps_scene:
        pieces.append(f"{pick(rng, _KEEPERS)} scene")
    elif meaning.kept is not None and rng.random() < _KEPT_TOLD:
        pieces.append(f"{pick(rng, _KEEPERS)} {pick(rng, ASPECTS[meaning.kept])}")
    said = [str(piece) for piece in rng.permutation(pieces)]
    text = _filler(rng) + said[0]
    for piece in said[1:]:
        text += pick(rng, _JOINTS) + _filler(rng) + piece
    return (text + " " + _filler(rng)).strip()


def _filler(rng: np.random.Generator) -> str:
    """No to four words of the templates, each followed by a space."""
    words = _harmless()
    count = 0 if rng.random() < _SILENCE else int(rng.integers(1, 5))
    return "".join(f"{pick(rng, words)} " for _ in range(count))


@cache
def _harmless() -> tuple[str, ...]:
    return tuple(sorted(filler_words() - _MISLEADING))
