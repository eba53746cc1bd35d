from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from core.models import ConceptKind, Concepts, Vectors
from core.space import REMEMBERED, Space, Spaces, told_apart
from retrieval.compose import StrategyComposer
from retrieval.datasets.products import Split, attribute_values, products_of
from retrieval.evaluate.space import AttributeUse, build_space, unknown_words, use_attributes
from tests.unit.retrieval.evaluate.scripted import DIM, ScriptedComposer, ScriptedEncoder

ATTRIBUTES = {
    "p1": {"color": "Navy  Blue", "category": "shirt", "sku": "1234"},
    "p2": {"color": "red", "category": "shirt", "care": "do not wash it at all"},
}
CATALOG = {str(number): product.attributes() for number, product in enumerate(products_of(Split.DEV))}


def vectors() -> Vectors:
    return np.random.default_rng(0).standard_normal((2, DIM)).astype(np.float32)


def unit_of_work(terms: Mapping[str, Sequence[str]]) -> AbstractContextManager[Any]:
    """As much of Postgres as `core.space` reads."""
    return nullcontext(
        SimpleNamespace(
            images=SimpleNamespace(terms=lambda *_, **__: terms),
            vectors=SimpleNamespace(mean=lambda *_, **__: (vectors().mean(axis=0), 2)),
            indexes=SimpleNamespace(set_mean=lambda *_: None),
            concepts=SimpleNamespace(load=lambda *_: None, replace=lambda *_: None),
            commit=lambda: None,
        )
    )


def test_it_is_the_space_that_the_service_builds() -> None:
    encoder = ScriptedEncoder()
    composer = ScriptedComposer(encoder, {})
    terms = {"category": ("shirt",), "color": ("Navy Blue", "red"), "sku": ("1234",)}
    ctx: Any = SimpleNamespace(uow=lambda: unit_of_work(terms))
    index: Any = SimpleNamespace(id="i", mean=None, mean_count=0)
    theirs = Spaces(ctx, composer).get(cast(Any, SimpleNamespace(id="g", image_count=2)), index, encoder)
    ours = build_space(vectors(), ATTRIBUTES, encoder=encoder, composer=composer)

    assert dict(ours.attributes) == dict(theirs.attributes)
    assert (ours.concepts.terms, ours.concepts.kinds) == (theirs.concepts.terms, theirs.concepts.kinds)
    assert np.array_equal(ours.concepts.vectors, theirs.concepts.vectors)
    assert theirs.mean is not None
    assert ours.mean is not None
    assert np.allclose(ours.mean, theirs.mean)


def test_without_attributes_the_general_vocabulary_takes_their_place() -> None:
    encoder = ScriptedEncoder()
    space = build_space(vectors(), {}, encoder=encoder, composer=ScriptedComposer(encoder, {}))

    assert dict(zip(space.concepts.terms, space.concepts.kinds, strict=True)) == {
        "snow": ConceptKind.SCENE,
        "beach": ConceptKind.SCENE,
        "shirt": ConceptKind.PRODUCT,
        "mug": ConceptKind.PRODUCT,
    }
    assert space.attributes == {}


def test_use_of_attributes() -> None:
    assert use_attributes(CATALOG, AttributeUse.OWN) == CATALOG
    for use in (AttributeUse.NONE, AttributeUse.UNNAMED, AttributeUse.UNKNOWN):
        assert use_attributes(CATALOG, use) == {}


def test_words_that_nobody_taught_composition_are_not_in_its_general_vocabulary_either() -> None:
    """Else "no attributes" would be as good as all of them: the general vocabulary has the benchmark's own words."""
    values = {value for values in attribute_values().values() for value in values}
    general = {term for terms in StrategyComposer({}).general_vocabulary().values() for term in terms}
    assert values <= general
    assert unknown_words(CATALOG, AttributeUse.OWN) == unknown_words(CATALOG, AttributeUse.NONE) == frozenset()
    assert unknown_words(CATALOG, AttributeUse.UNKNOWN) == values
    unnamed = unknown_words(CATALOG, AttributeUse.UNNAMED)
    assert {"ankle high", "large", "glossy"} < unnamed < values
    assert unnamed.isdisjoint({"red", "striped", "dress"})

    encoder = ScriptedEncoder()
    composer = ScriptedComposer(encoder, {})
    space = build_space(vectors(), {}, encoder=encoder, composer=composer, unknown=frozenset({"mug"}))
    assert set(space.concepts.terms) == {"snow", "beach", "shirt"}


def test_degraded_attributes_miss_values_or_say_them_otherwise() -> None:
    degraded = use_attributes(CATALOG, AttributeUse.DEGRADED)
    known = {value for values in attribute_values().values() for value in values}
    seen = {value for each in degraded.values() for value in each.values()}

    assert 0.65 < len(seen & known) / len(known) < 0.75
    assert 3 <= len(seen - known) < len(known - seen)
    assert degraded == use_attributes(CATALOG, AttributeUse.DEGRADED)
    assert degraded.keys() == CATALOG.keys()


def test_spaces_that_were_not_asked_for_longest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def prepare(*given: Any) -> Space:
        asked.append(given[3].id)
        return Space(
            mean=np.zeros(1, np.float32), concepts=Concepts((), (), np.zeros((0, 1), np.float32)), attributes={}
        )

    monkeypatch.setattr("core.space.prepare", prepare)
    spaces = Spaces(cast(Any, None), cast(Any, None))
    names = [f"index-{number}" for number in range(REMEMBERED + 1)]
    for name in [*names[:-1], names[0], names[-1], names[0], names[1]]:
        spaces.get(cast(Any, None), cast(Any, SimpleNamespace(id=name)), cast(Any, None))
    assert asked == [*names, names[1]]


def test_the_catalog_s_own_words_join_the_general_ones() -> None:
    encoder = ScriptedEncoder()
    space = build_space(vectors(), ATTRIBUTES, encoder=encoder, composer=ScriptedComposer(encoder, {}))

    products = [t for t, kind in zip(space.concepts.terms, space.concepts.kinds, strict=True) if kind == "product"]
    assert products == ["shirt", "mug", "navy blue", "red"]


def test_words_that_an_encoder_never_met_are_left_out() -> None:
    """It gives all of them the same vector."""
    kinds = (ConceptKind.PRODUCT,) * 4
    rows = np.array([[1, 0], [0.6, 0.8], [0, 1], [0.6, 0.8]], np.float32)
    known = told_apart(Concepts(("red", "turquoise", "blue", "beige"), kinds, rows))

    assert (known.terms, known.kinds) == (("red", "blue"), kinds[:2])
    assert np.array_equal(known.vectors, rows[[0, 2]])
    assert told_apart(Concepts((), (), rows[:0])).terms == ()
