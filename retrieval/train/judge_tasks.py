"""What the demo judge is taught: reading pictures, composing requests, and judging, as token sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np

from retrieval.datasets.texts import value_phrase
from retrieval.prompt import ANSWERS, INSTRUCTION
from retrieval.train.judge_requests import Candidate, PictureIndex, Request, other_value
from retrieval.train.judge_words import (
    ANY_SCENE,
    DESCRIBE,
    NOT_SAME,
    SAME,
    SEE,
    WANT,
    YES_SAME,
    filler_words,
    notes_of,
)

SMALL_DETAILS = frozenset({"handle", "strap", "brim"})
"""Details of a few pixels: read last, and least surely."""
_SMALL = 0.5
_BLANKED = 0.4
"""Share of filler words that a training text loses: shoppers' own are unknown to the tokenizer."""


class Task(StrEnum):
    """Kinds of examples. None asks for Yes or No about a composed request: that is the adapter's part."""

    READ = "read"  # picture -> what it shows
    READ_SMALL = "read_small"  # the same, half of the products with a small detail
    ASK = "ask"  # picture, value -> Yes or No
    DESCRIBE = "describe"  # reference, text -> the wanted product in words
    COMPOSE = "compose"  # the judge's prompt -> what is wanted, what is shown, and whether they agree


@dataclass(frozen=True)
class Example:
    """Token ids with `image_tokens` placeholders for each picture.

    `notes` maps positions of slot tokens to the token that the slot should hold; everything from `answer` on is to be
    predicted word by word.
    """

    ids: list[int]
    pictures: list[int]
    answer: int
    notes: dict[int, int] = field(default_factory=dict)


class TaskWriter:
    """Writes examples as token ids, exactly as the judge's chat template would."""

    def __init__(self, tokenizer: Any, index: PictureIndex, *, image_tokens: int) -> None:
        self._encode = tokenizer.backend_tokenizer.encode
        self._id = tokenizer.convert_tokens_to_ids
        self._index = index
        self._image = [self._id("<image>")] * image_tokens
        self._fillers = frozenset(self._id(sorted(filler_words())))
        self._want, self._see, self._same = (self._id(list(slots)) for slots in (WANT, SEE, SAME))
        self._small = [n for n, shot in enumerate(index.shots) if shot.product.detail_name in SMALL_DETAILS]

    def example(
        self, task: Task, rng: np.random.Generator, kinds: Sequence[Candidate] = (Candidate.TARGET,)
    ) -> Example:
        """A random example of a task; composed ones show a candidate of one of `kinds`."""
        if task in {Task.READ, Task.READ_SMALL}:
            return self._read(rng, small=task is Task.READ_SMALL and rng.random() < _SMALL)
        if task is Task.ASK:
            return self._ask(rng)
        request = self._index.request(rng)
        if task is Task.DESCRIBE:
            return self._describe(request, rng)
        candidate = self._index.candidate(request, kinds[int(rng.integers(len(kinds)))], rng)
        return self._compose(request, candidate, rng)

    def judgement(self, text: str, reference: int, candidate: int) -> Example:
        """The judge's prompt for a pair of pictures."""
        return self._judgement(self._words(text.strip()), [reference, candidate], {})

    def description(self, text: str, reference: int, answer: str = "") -> Example:
        """The captioner's prompt for a reference, with a description to learn."""
        return self._description(self._words(text.strip()), reference, answer)

    def _read(self, rng: np.random.Generator, *, small: bool) -> Example:
        number = int(rng.choice(self._small) if small else rng.integers(len(self._index.shots)))
        shot = self._index.shots[number]
        notes = dict(zip(SEE, notes_of(shot.product, shot.scene), strict=True))
        return self._write([self._image], [number], notes=notes)

    def _ask(self, rng: np.random.Generator) -> Example:
        number = int(rng.integers(len(self._index.shots)))
        product = self._index.shots[number].product
        name = str(rng.choice(list(product.attributes())))
        truth = rng.random() < 0.5  # noqa: PLR2004 - a coin
        value = product.attributes()[name] if truth else other_value(product, name, rng)
        question = self._words(f"is it {value_phrase(name, value, rng=rng)}")
        return self._write([self._image, question, self._want], [number], answer=ANSWERS[0] if truth else ANSWERS[1])

    def _describe(self, request: Request, rng: np.random.Generator) -> Example:
        wanted = request.wanted
        words = (wanted.size, wanted.finish, wanted.color, wanted.pattern, wanted.category, wanted.detail)
        return self._description(self._asked(request.text, rng), request.reference, " ".join(words))

    def _compose(self, request: Request, candidate: int, rng: np.random.Generator) -> Example:
        shot = self._index.shots[candidate]
        wanted = notes_of(request.wanted, request.scene or "")
        shown = notes_of(shot.product, shot.scene)
        agree = [YES_SAME if one == other else NOT_SAME for one, other in zip(wanted, shown, strict=True)]
        if request.scene is None:
            wanted[-1], agree[-1] = ANY_SCENE, YES_SAME
        notes = {**dict(zip(WANT, wanted, strict=True)), **dict(zip(SEE, shown, strict=True))}
        notes |= dict(zip(SAME, agree, strict=True))
        return self._judgement(self._asked(request.text, rng), [request.reference, candidate], notes)

    def _judgement(self, text: list[int], pictures: list[int], notes: Mapping[str, str]) -> Example:
        return self._write(
            [self._words(INSTRUCTION), self._image, text, self._want, self._image], pictures, notes=notes
        )

    def _description(self, text: list[int], reference: int, answer: str) -> Example:
        return self._write([self._image, text, self._want, self._words(DESCRIBE)], [reference], answer=answer)

    def _words(self, text: str) -> list[int]:
        return list(self._encode(text, add_special_tokens=False).ids)

    def _asked(self, text: str, rng: np.random.Generator) -> list[int]:
        unknown = self._id("<unk>")
        return [unknown if token in self._fillers and rng.random() < _BLANKED else token for token in self._words(text)]

    def _write(
        self,
        parts: Sequence[list[int]],
        pictures: list[int],
        *,
        answer: str = "",
        notes: Mapping[str, str] | None = None,
    ) -> Example:
        prompt = [self._id("<s>"), *(token for part in parts for token in part)]
        prompt += [*self._see, *self._same, self._id("<answer>")]
        places = {prompt.index(self._id(slot)): self._id(held) for slot, held in (notes or {}).items()}
        words = [*self._words(answer), self._id("</s>")] if answer else []
        return Example([*prompt, *words], pictures, len(prompt), places)
