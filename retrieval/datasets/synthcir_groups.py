"""Which photos SynthCIR has, in groups of six look-alikes, and which queries are asked about each group."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from retrieval.datasets.catalog import differences
from retrieval.datasets.products import SCENES, Product, Shot, Split, products_of
from retrieval.datasets.synthcir_texts import scene_text
from retrieval.datasets.texts import Change, Style, relative_text

GROUP_SIZE = 6
_SEEDS_OF_A_SPLIT = 1_000_003
_MOST_CHANGES = 2
_IN_ONE_SCENE = GROUP_SIZE // 2
SCENE_TRAP = 2
"""From this many wrong answers before the reference's scene on, a query is of the same-scene kind."""
_DOUBLE_SHARE = 1 / 3
"""Share of queries that change two attributes, where the group has such pairs."""


_STEP_WORTH = np.array([1.0, 0.3, 0.5, 1.0, 1.5, 1.5, 0.0])
"""How much a family gains by a member one step away, by attribute: the fewer values it has, the rarer the chance."""


class Kind(StrEnum):
    """How the scenes of a group are chosen."""

    SAME_SCENE = "same-scene"
    """Three photos share a scene; references are among them, targets are not."""
    MIXED = "mixed"
    """Every photo has a scene of its own choice."""
    SCENE = "scene"
    """Three products, each before the same two scenes; the text says which scene is meant."""


@dataclass(frozen=True, slots=True)
class Plan:
    """Numbers of groups of each kind, and of queries a group."""

    groups: Mapping[Kind, int]
    queries_per_group: int


PLANS: Mapping[Split, Plan] = MappingProxyType(
    {
        Split.TRAIN: Plan({Kind.SAME_SCENE: 240, Kind.MIXED: 140, Kind.SCENE: 100}, queries_per_group=6),
        Split.DEV: Plan({Kind.SAME_SCENE: 50, Kind.MIXED: 30, Kind.SCENE: 20}, queries_per_group=6),
        Split.TEST: Plan({Kind.SAME_SCENE: 200, Kind.MIXED: 120, Kind.SCENE: 90}, queries_per_group=3),
    }
)


@dataclass(frozen=True, slots=True)
class Query:
    """One query about a group: places of reference and target in it, the text, and what the text asks for.

    `style` is a `Style`, or `keep-scene`, `change-scene`, `change-both`. `kept` are attributes that the text keeps.
    """

    reference: int
    target: int
    text: str
    style: str
    changes: tuple[Change, ...]
    kept: tuple[str, ...] = ()

    @property
    def names_scene(self) -> bool:
        """Whether the text says which scene is meant."""
        return self.style not in set(Style)


@dataclass(frozen=True, slots=True)
class Group:
    """Six photos, in the order in which they are named, and the queries about them."""

    kind: Kind
    shots: tuple[Shot, ...]
    queries: tuple[Query, ...]

    def same_scene_negatives(self, query: Query) -> int:
        """Wrong answers of the group that show the reference's scene; 0 where the target does, or the text says one."""
        scene = self.shots[query.reference].scene
        if query.names_scene or self.shots[query.target].scene == scene:
            return 0
        return sum(self.shots[place].scene == scene for place in self._wrong(query))

    def near_misses(self, query: Query) -> int:
        """Wrong answers of the group that differ from the target in one attribute, or in the scene that was named."""
        target = self.shots[query.target]
        apart = [self.shots[place] for place in self._wrong(query)]
        return sum(
            _distance(shot.product, target.product) + (query.names_scene and shot.scene != target.scene) == 1
            for shot in apart
        )

    def _wrong(self, query: Query) -> Iterator[int]:
        return (place for place in range(GROUP_SIZE) if place not in {query.reference, query.target})


def build_groups(split: Split, plan: Plan, *, seed: int) -> list[Group]:
    """All groups of a split. No product is in two groups, so every query has exactly one right answer in the gallery.

    ValueError when the split has too few products for the plan.
    """
    place = list(Split).index(split)
    rng = np.random.default_rng([seed, place, 3])
    pool = _Pool(products_of(split), rng)
    kinds = [kind for kind, count in plan.groups.items() for _ in range(count)]
    voice = _Voice(split, rng)
    first_seed = (seed * len(Split) + place) * _SEEDS_OF_A_SPLIT
    groups = []
    for number, chosen in enumerate(rng.permutation(len(kinds))):
        kind = kinds[chosen]
        products = pool.take(GROUP_SIZE if kind is not Kind.SCENE else GROUP_SIZE // 2)
        if kind is Kind.SCENE:
            products *= 2
        scenes = _scenes(kind, rng)
        order = rng.permutation(GROUP_SIZE)
        seeds = range(first_seed + number * GROUP_SIZE, first_seed + (number + 1) * GROUP_SIZE)
        shots = tuple(Shot(products[i], scenes[i], shot_seed) for i, shot_seed in zip(order, seeds, strict=True))
        groups.append(Group(kind, shots, _queries(kind, shots, plan.queries_per_group, voice)))
    return groups


class _Pool:
    """Products that no group has yet."""

    def __init__(self, products: list[Product], rng: np.random.Generator) -> None:
        self._products = products
        self._rng = rng
        rows = [[*_row(product), product.detail_name] for product in products]
        self._columns = np.array(rows)
        self._free = np.ones(len(products), np.bool_)

    def take(self, count: int) -> list[Product]:
        """A product and its near relatives, each at most two changes from it, and from one another where possible."""
        for base in self._rng.permutation(np.flatnonzero(self._free)):
            family = self._family(int(base), count)
            if len(family) == count:
                self._free[family] = False
                return [self._products[index] for index in family]
        raise ValueError("the split has too few related products for so many groups: plan fewer")

    def _family(self, base: int, count: int) -> list[int]:
        apart = (self._columns != self._columns[base]).sum(axis=1)
        comparable = self._columns[:, -1] == self._columns[base, -1]
        near = np.flatnonzero(self._free & comparable & (apart >= 1) & (apart <= _MOST_CHANGES))
        near = self._rng.permutation(near)
        family = [base]
        while len(family) < count and len(near):
            differs = self._columns[near][:, None] != self._columns[family][None]
            steps = differs.sum(axis=2)
            # Who is one change away from most of the family makes the hardest negatives.
            closeness = np.where(steps == 1, differs @ _STEP_WORTH, 0.0).sum(axis=1) - (steps > _MOST_CHANGES).sum(
                axis=1
            )
            best = int(np.argmax(closeness + self._rng.random(len(near))))
            family.append(int(near[best]))
            near = np.delete(near, best)
        return family


@dataclass(frozen=True, slots=True)
class _Voice:
    """What chooses questions and words: the split's paraphrases, a generator, and which attributes were asked about."""

    split: Split
    rng: np.random.Generator
    asked: Counter[str] = field(default_factory=Counter)

    def rarest(self, queries: Sequence[Query], count: int) -> list[Query]:
        """Up to `count` of the queries, one after the other the one about what was asked least."""
        left, chosen = list(queries), list[Query]()
        while left and len(chosen) < count:
            chosen.append(left.pop(int(np.argmin([self._met(query) for query in left]))))
            self.asked.update(change.attribute for change in chosen[-1].changes)
        return chosen

    def _met(self, query: Query) -> float:
        return sum(self.asked[change.attribute] for change in query.changes) / len(query.changes)


def _scenes(kind: Kind, rng: np.random.Generator) -> list[str]:
    drawn = [SCENES[index] for index in rng.integers(len(SCENES), size=GROUP_SIZE)]
    if kind is Kind.MIXED:
        return drawn
    order = rng.permutation(len(SCENES))
    first, second = SCENES[order[0]], SCENES[order[1]]
    if kind is Kind.SCENE:
        return [first] * _IN_ONE_SCENE + [second] * _IN_ONE_SCENE
    others = [scene for scene in SCENES if scene != first]
    return [first] * _IN_ONE_SCENE + [others[index] for index in rng.integers(len(others), size=_IN_ONE_SCENE)]


def _queries(kind: Kind, shots: tuple[Shot, ...], count: int, voice: _Voice) -> tuple[Query, ...]:
    if kind is Kind.SCENE:
        return _scene_queries(shots, count, voice)
    singles: list[Query] = []
    doubles: list[Query] = []
    for reference, target in _pairs(voice.rng):
        changes = differences(shots[reference].product, shots[target].product) or ()
        query = Query(reference, target, "", Style.SINGLE if len(changes) == 1 else Style.DOUBLE, changes)
        group = Group(kind, shots, ())
        trapped = kind is not Kind.SAME_SCENE or group.same_scene_negatives(query) >= SCENE_TRAP
        if 1 <= len(changes) <= _MOST_CHANGES and trapped and group.near_misses(query):
            (singles if len(changes) == 1 else doubles).append(query)
    few = int(voice.rng.binomial(count, _DOUBLE_SHARE))
    chosen = [*voice.rarest(doubles, few), *voice.rarest(singles, count - few)] or doubles[:1]
    return tuple(_worded(query, shots, voice) for query in chosen)


def _worded(query: Query, shots: tuple[Shot, ...], voice: _Voice) -> Query:
    style = Style(query.style)
    if style is Style.SINGLE:
        style = (Style.SINGLE, Style.NEGATION, Style.KEEP)[voice.rng.integers(3)]
    names = [name for name in shots[query.reference].product.attributes() if name not in _names(query.changes)]
    kept = names[int(voice.rng.integers(len(names)))]
    said = relative_text(query.changes, style=style, split=voice.split, rng=voice.rng, kept=kept)
    return Query(query.reference, query.target, said.text, style, query.changes, said.kept)


def _scene_queries(shots: tuple[Shot, ...], count: int, voice: _Voice) -> tuple[Query, ...]:
    """A third keeps the scene and changes the product, a third the other way round, a third changes both."""
    by_style: dict[str, list[Query]] = {"keep-scene": [], "change-scene": [], "change-both": []}
    for reference, target in _pairs(voice.rng):
        changes = differences(shots[reference].product, shots[target].product) or ()
        same = shots[reference].scene == shots[target].scene
        style = "keep-scene" if same else "change-both" if changes else "change-scene"
        query = Query(reference, target, "", style, changes)
        if len(changes) <= _MOST_CHANGES and Group(Kind.SCENE, shots, ()).near_misses(query):
            by_style[style].append(query)
    turns = [query for turn in zip(*by_style.values(), strict=False) for query in turn]
    return tuple(
        Query(
            query.reference,
            query.target,
            scene_text(query.style, query.changes, shots[query.target].scene, split=voice.split, rng=voice.rng),
            query.style,
            query.changes,
        )
        for query in turns[:count]
    )


def _pairs(rng: np.random.Generator) -> list[tuple[int, int]]:
    ordered = [(a, b) for a in range(GROUP_SIZE) for b in range(GROUP_SIZE) if a != b]
    return [ordered[index] for index in rng.permutation(len(ordered))]


def _names(changes: tuple[Change, ...]) -> set[str]:
    return {change.attribute for change in changes}


def _distance(one: Product, other: Product) -> int:
    """Number of attributes in which two products differ; each has the same number of them."""
    columns: NDArray[np.bool_] = np.array([a != b for a, b in zip(_row(one), _row(other), strict=True)])
    return int(columns.sum())


def _row(product: Product) -> list[str]:
    return list(product.attributes().values())
