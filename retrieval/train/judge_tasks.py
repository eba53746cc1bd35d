"""What the demo judge is taught: describing, comparing, and judging composed requests, as token sequences."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from retrieval.datasets.products import CATEGORIES, Product, Shot, Split, values_of
from retrieval.datasets.texts import Change, Style, relative_text, value_phrase
from retrieval.prompt import ANSWERS, INSTRUCTION
from retrieval.train.judge_words import COMPARE, DESCRIBE, DIFFERENT, SAME

_STYLES = (Style.SINGLE, Style.SINGLE, Style.DOUBLE, Style.KEEP, Style.NEGATION)
_TRIES = 20


class Task(StrEnum):
    """Kinds of examples. Only `JUDGE` asks for Yes or No about a composed request; the base model never sees it."""

    DESCRIBE = "describe"  # picture -> its attributes and scene
    ASK = "ask"  # picture, value -> Yes or No
    COMPARE = "compare"  # two pictures -> same or different, attribute by attribute
    IMAGINE = "imagine"  # reference, text -> the attributes of what is wanted
    CHECK = "check"  # the judge's prompt -> same as wanted or different, attribute by attribute
    JUDGE = "judge"  # the judge's prompt -> Yes or No


class Candidate(StrEnum):
    """What a composed request is shown as its candidate."""

    TARGET = "target"
    REFERENCE = "reference"  # the reference product again, often the very same photo
    ONE_OFF = "one_off"  # the wanted product but for one attribute
    TWO_OFF = "two_off"
    OTHER = "other"  # any product


@dataclass(frozen=True)
class Example:
    """Token ids with `image_tokens` placeholders for each picture; everything from `answer` on is to be predicted."""

    ids: list[int]
    pictures: list[int]
    answer: int


@dataclass(frozen=True)
class Request:
    """A reference picture, what is asked about it, and the product that is wanted."""

    reference: int
    text: str
    wanted: Product


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
        return numbers[int(rng.integers(len(numbers)))]

    def neighbour(self, product: Product, rng: np.random.Generator, *, changes: int = 1) -> Product | None:
        """A product of the index that differs in `changes` attributes, if a few tries find one."""
        for _ in range(_TRIES):
            found = product
            for name in rng.permutation(list(product.attributes()))[:changes]:
                if str(name) in found.attributes():
                    found = found.with_attribute(str(name), _other_value(found, str(name), rng))
            if found in self and found != product:
                return found
        return None

    def request(self, rng: np.random.Generator) -> Request:
        """A random composed request whose wanted product has pictures, in the words of the training split."""
        while True:
            reference = int(rng.integers(len(self.shots)))
            product = self.shots[reference].product
            style = _STYLES[int(rng.integers(len(_STYLES)))]
            names = [str(name) for name in rng.permutation(list(product.attributes()))]
            wanted, changes = product, []
            for name in names[: 2 if style is Style.DOUBLE else 1]:
                value = _other_value(product, name, rng, same_detail=True)
                changes.append(Change(name, product.attributes()[name], value))
                wanted = wanted.with_attribute(name, value)
            if wanted in self and all(change.old != change.new for change in changes):
                text = relative_text(changes, style=style, split=Split.TRAIN, rng=rng, kept=names[-1])
                return Request(reference, text.text, wanted)

    def candidate(self, request: Request, kind: Candidate, rng: np.random.Generator) -> int:
        """A picture of the kind, half the time in front of the reference's scene."""
        shot = self.shots[request.reference]
        if kind is Candidate.REFERENCE and rng.random() < 0.5:  # noqa: PLR2004 - a coin
            return request.reference
        product: Product | None = request.wanted
        if kind is Candidate.REFERENCE:
            product = shot.product
        elif kind is Candidate.ONE_OFF:
            product = self.neighbour(request.wanted, rng)
        elif kind is Candidate.TWO_OFF:
            product = self.neighbour(request.wanted, rng, changes=2)
        if product is None or kind is Candidate.OTHER:
            product = self.shots[int(rng.integers(len(self.shots)))].product
        return self.picture(product, rng, scene=shot.scene if rng.random() < 0.5 else None)  # noqa: PLR2004 - a coin


class TaskWriter:
    """Writes examples as token ids, exactly as the judge's chat template would."""

    def __init__(self, tokenizer: Any, index: PictureIndex, *, image_tokens: int) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._index = index
        start, image, answer, end = tokenizer.convert_tokens_to_ids(["<s>", "<image>", "<answer>", "</s>"])
        self._start, self._answer, self._end = [start], [answer], [end]
        self._image = [image] * image_tokens

    def example(
        self, task: Task, rng: np.random.Generator, kinds: Sequence[Candidate] = (Candidate.TARGET,)
    ) -> Example:
        """A random example of a task; composed ones show a candidate of one of `kinds`."""
        if task is Task.DESCRIBE:
            return self._describe(rng)
        if task is Task.ASK:
            return self._ask(rng)
        if task is Task.COMPARE:
            return self._compare(rng)
        request = self._index.request(rng)
        if task is Task.IMAGINE:
            words = " ".join(_described(request.wanted))
            return self._write([self._image, self._words(f"{request.text} {DESCRIBE}")], [request.reference], words)
        candidate = self._index.candidate(request, kinds[int(rng.integers(len(kinds)))], rng)
        shown = self._index.shots[candidate].product
        if task is Task.CHECK:
            answer = " ".join(_verdicts(request.wanted, shown))
        else:
            answer = ANSWERS[0] if shown == request.wanted else ANSWERS[1]
        return self.judgement(request.text, request.reference, candidate, answer)

    def judgement(self, text: str, reference: int, candidate: int, answer: str = "") -> Example:
        """The judge's prompt for a pair of pictures, with an answer to learn."""
        parts = [self._words(INSTRUCTION), self._image, self._words(text.strip()), self._image]
        return self._write(parts, [reference, candidate], answer)

    def _describe(self, rng: np.random.Generator) -> Example:
        number = int(rng.integers(len(self._index.shots)))
        shot = self._index.shots[number]
        return self._write(
            [self._image, self._words(DESCRIBE)], [number], " ".join([*_described(shot.product), shot.scene])
        )

    def _ask(self, rng: np.random.Generator) -> Example:
        number = int(rng.integers(len(self._index.shots)))
        product = self._index.shots[number].product
        name = str(rng.choice(list(product.attributes())))
        truth = rng.random() < 0.5  # noqa: PLR2004 - a coin
        value = product.attributes()[name] if truth else _other_value(product, name, rng)
        question = f"is it {value_phrase(name, value, rng=rng)}"
        return self._write([self._image, self._words(question)], [number], ANSWERS[0] if truth else ANSWERS[1])

    def _compare(self, rng: np.random.Generator) -> Example:
        first = int(rng.integers(len(self._index.shots)))
        shot = self._index.shots[first]
        distance = int(rng.integers(0, 4))
        product = self._index.neighbour(shot.product, rng, changes=distance) if distance else shot.product
        if product is None:
            product = self._index.shots[int(rng.integers(len(self._index.shots)))].product
        second = self._index.picture(product, rng, scene=shot.scene if rng.random() < 0.4 else None)  # noqa: PLR2004
        scene = SAME if self._index.shots[second].scene == shot.scene else DIFFERENT
        answer = " ".join([*_verdicts(shot.product, product), scene])
        return self._write([self._image, self._image, self._words(COMPARE)], [first, second], answer)

    def _words(self, text: str) -> list[int]:
        return list(self._encode(text, add_special_tokens=False).ids)

    def _write(self, parts: Sequence[list[int]], pictures: list[int], answer: str) -> Example:
        prompt = [*self._start, *(token for part in parts for token in part), *self._answer]
        return Example([*prompt, *self._words(answer), *self._end], pictures, len(prompt))


def _described(product: Product) -> list[str]:
    return [product.size, product.finish, product.color, product.pattern, product.category, product.detail]


def _verdicts(wanted: Product, shown: Product) -> list[str]:
    pairs = zip(_described(wanted), _described(shown), strict=True)
    return [SAME if one == other else DIFFERENT for one, other in pairs]


def _other_value(product: Product, name: str, rng: np.random.Generator, *, same_detail: bool = False) -> str:
    """Another value of an attribute; `same_detail` keeps the category unless another one has the same detail."""
    current = product.attributes()[name]
    options = [value for value in values_of(product, name) if value != current]
    if name == "category" and same_detail:
        alike = [value for value in options if CATEGORIES[value].detail == product.detail_name]
        options = alike or [current]
    return options[int(rng.integers(len(options)))]
