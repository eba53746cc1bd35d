"""Random composed requests over training pictures, and candidates that answer them more or less."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from retrieval.datasets.products import CATEGORIES, SCENES, Product, Shot, Split, values_of
from retrieval.datasets.synthcir_texts import SCENE_PARAPHRASES, places_of, scene_text
from retrieval.datasets.texts import Change, Style, pick, relative_text
from retrieval.train.judge_texts import Meaning, loose_text

_STYLES = (Style.SINGLE, Style.DOUBLE, Style.DOUBLE, Style.KEEP, Style.NEGATION, Style.NEGATION)
_SCENE_STYLES = tuple(SCENE_PARAPHRASES[Split.TRAIN])
_ABOUT_THE_SCENE = 0.25
_LOOSE = 0.6
"""Share of the texts that follow no template."""
_IN_THE_SAME_SCENE = 0.5
_VERY_SAME_PHOTO = 0.5
_TRIES = 20


class Candidate(StrEnum):
    """What a composed request is shown as its candidate."""

    TARGET = "target"
    REFERENCE = "reference"  # the reference product again, often the very same photo
    ONE_OFF = "one_off"  # the wanted product but for one attribute
    TWO_OFF = "two_off"
    OTHER = "other"  # any product
    ELSEWHERE = "elsewhere"  # the wanted product before any scene: wrong where the text says which


@dataclass(frozen=True)
class Request:
    """A reference picture, what is asked about it, the product that is wanted, and its scene if the text says one."""

    reference: int
    text: str
    wanted: Product
    scene: str | None = None


class PictureIndex:
    """Training pictures by the product that they show."""

    def __init__(self, shots: Sequence[Shot]) -> None:
        self.shots = shots
        self._by_product: dict[Product, list[int]] = defaultdict(list)
        for number, shot in enumerate(shots):
            self._by_product[shot.product].append(number)

    def __contains__(self, product: Product) -> bool:
        return product in self._by_product

    def picture(self, product: Product, rng: np.random.Generator, *, scene: str | None = None) -> int:
        """A picture of `product`, in front of `scene` where there is one."""
        numbers = self._by_product[product]
        if scene is not None:
            numbers = [number for number in numbers if self.shots[number].scene == scene] or numbers
        return pick(rng, numbers)

    def neighbour(self, product: Product, rng: np.random.Generator, *, changes: int = 1) -> Product | None:
        """A product of the index that differs in `changes` attributes, if a few tries find one."""
        for _ in range(_TRIES):
            found = product
            for name in rng.permutation(list(product.attributes()))[:changes]:
                if str(name) in found.attributes():
                    found = found.with_attribute(str(name), other_value(found, str(name), rng))
            if found in self and found != product:
                return found
        return None

    def request(self, rng: np.random.Generator) -> Request:
        """A random composed request whose wanted product has pictures, in the words of the training split."""
        while True:
            reference = int(rng.integers(len(self.shots)))
            product = self.shots[reference].product
            if rng.random() < _ABOUT_THE_SCENE:
                found = self._about_the_scene(reference, rng)
            else:
                style = pick(rng, _STYLES)
                changes = _changes(product, rng, count=2 if style is Style.DOUBLE else 1)
                kept = [name for name in product.attributes() if name not in {change.attribute for change in changes}]
                text = _worded(changes, style, pick(rng, kept), rng)
                found = Request(reference, text, _changed(product, changes))
            if found.wanted in self:
                return found

    def candidate(self, request: Request, kind: Candidate, rng: np.random.Generator) -> int:
        """A picture of the kind; most are before the wanted scene, or half the time before the reference's."""
        shot = self.shots[request.reference]
        if kind is Candidate.REFERENCE and rng.random() < _VERY_SAME_PHOTO:
            return request.reference
        product: Product | None = request.wanted
        if kind is Candidate.REFERENCE:
            product = shot.product
        elif kind is Candidate.ONE_OFF:
            product = self.neighbour(request.wanted, rng)
        elif kind is Candidate.TWO_OFF:
            product = self.neighbour(request.wanted, rng, changes=2)
        if product is None or kind is Candidate.OTHER:
            product = pick(rng, self.shots).product
        if kind is Candidate.ELSEWHERE:
            return self.picture(product, rng)
        scene = request.scene or (shot.scene if rng.random() < _IN_THE_SAME_SCENE else None)
        return self.picture(product, rng, scene=scene)

    def _about_the_scene(self, reference: int, rng: np.random.Generator) -> Request:
        shot = self.shots[reference]
        style = pick(rng, _SCENE_STYLES)
        changes = [] if style == "change-scene" else _changes(shot.product, rng, count=1)
        scene = shot.scene
        if style != "keep-scene":
            others = [other for other in SCENES if other != shot.scene]
            scene = pick(rng, others)
        if rng.random() < _LOOSE:
            place = pick(rng, places_of(scene)) if style != "keep-scene" else None
            text = loose_text(Meaning(changes, place=place, keeps_scene=place is None), rng)
        else:
            text = scene_text(style, changes, scene, split=Split.TRAIN, rng=rng)
        return Request(reference, text, _changed(shot.product, changes), scene)


def other_value(product: Product, name: str, rng: np.random.Generator, *, same_detail: bool = False) -> str:
    """Another value of an attribute; `same_detail` keeps the category unless another one has the same detail."""
    current = product.attributes()[name]
    options = [value for value in values_of(product, name) if value != current]
    if name == "category" and same_detail:
        alike = [value for value in options if CATEGORIES[value].detail == product.detail_name]
        options = alike or [current]
    return pick(rng, options)


def _worded(changes: Sequence[Change], style: Style, kept: str, rng: np.random.Generator) -> str:
    if rng.random() < _LOOSE:
        return loose_text(Meaning(changes, kept=kept), rng)
    return relative_text(changes, style=style, split=Split.TRAIN, rng=rng, kept=kept).text


def _changes(product: Product, rng: np.random.Generator, *, count: int) -> list[Change]:
    """`count` changes of different attributes, each to another value."""
    changes: list[Change] = []
    for name in map(str, rng.permutation(list(product.attributes()))):
        old = product.attributes()[name]
        new = other_value(product, name, rng, same_detail=True)
        if new != old and len(changes) < count:
            changes.append(Change(name, old, new))
    return changes


def _changed(product: Product, changes: Sequence[Change]) -> Product:
    for change in changes:
        product = product.with_attribute(change.attribute, change.new)
    return product
