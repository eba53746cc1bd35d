"""Facets of a few concepts with an axis each."""

import numpy as np
import pytest

from core.models import ConceptKind, Concepts, Vector, Vectors
from retrieval.strategies.centring import Centre
from retrieval.strategies.facets import SHARPNESS, Facets

TERMS = ("red", "snow", "tweed", "blue", "dress", "crimson", "satin")
ATTRIBUTES = {"red": "farbe", "blue": "farbe", "tweed": "weave", "satin": "weave"}


def facets(attributes: dict[str, str] = ATTRIBUTES) -> Facets:
    kinds = tuple(ConceptKind.SCENE if term == "snow" else ConceptKind.PRODUCT for term in TERMS)
    concepts = Concepts(TERMS, kinds, np.eye(len(TERMS), dtype=np.float32))
    zero = np.zeros(len(TERMS), np.float32)
    return Facets.of(concepts, Centre(zero, zero), attributes)


def grouped(found: Facets) -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for term, facet in zip(found.terms, found.facet_of, strict=True):
        groups.setdefault(found.names[facet], set()).add(term)
    return groups


def similarities(found: Facets, **given: float) -> Vectors:
    return np.array([given.get(term, 0.0) for term in found.terms], np.float32)


def test_the_catalog_names_facets_and_the_general_vocabulary_the_rest() -> None:
    assert grouped(facets()) == {
        "farbe": {"red", "blue"}, "weave": {"tweed", "satin"}, "kind": {"dress"}, "": {"snow"}, "crimson": {"crimson"},
    }  # fmt: skip
    assert grouped(facets({}))["colour"] == {"red", "blue"}
    assert grouped(facets({"red": "farbe"}))["farbe"] == {"red", "blue"}, "blue is a colour as red is"


def test_scene_and_subject_are_known() -> None:
    found = facets()
    assert [name for name, scene in zip(found.names, found.scenes, strict=True) if scene] == [""]
    assert [name for name, subject in zip(found.names, found.subjects, strict=True) if subject] == ["kind"]


def test_shares_are_a_softmax_within_each_facet() -> None:
    found = facets()
    given = similarities(found, red=2.0, blue=1.0, snow=5.0)
    shares = dict(zip(found.terms, found.shares(given, np.ones(1, np.float32)), strict=True))
    assert shares["red"] == pytest.approx(1 / (1 + np.exp(-SHARPNESS)))
    assert shares["red"] + shares["blue"] == pytest.approx(1)
    assert shares["tweed"] == shares["satin"] == pytest.approx(0.5)
    assert shares["snow"] == shares["dress"] == 1


def test_shares_do_not_depend_on_the_scale_of_similarities() -> None:
    found = facets()
    given = similarities(found, red=2.0, blue=1.0, tweed=3.0)
    small = given * np.float32(0.01)
    large_shares, small_shares = (found.shares(each, found.spread(each)).tolist() for each in (given, small))
    assert large_shares == pytest.approx(small_shares, rel=1e-5)


def test_some_facets_keep_their_concepts() -> None:
    found = facets()
    some = found.only(np.array([name in {"weave", "kind"} for name in found.names]))
    assert grouped(some) == {"weave": {"tweed", "satin"}, "kind": {"dress"}}
    none = found.only(np.zeros(len(found.names), np.bool_))
    assert none.total(np.ones((2, 0), np.float32)).shape == (2, 0)


def phrase(**weights: float) -> Vector:
    return np.array([weights.get(term, 0.0) for term in TERMS], np.float32)


def named(found: Facets, phrase: Vector, *, most: int = 3) -> list[str]:
    return [found.names[facet] for facet in found.named(phrase, most=most, least=0.5)]


def test_a_phrase_names_the_facets_that_explain_it() -> None:
    found = facets()
    assert named(found, phrase(red=0.7, tweed=0.6, dress=0.1)) == ["farbe", "weave"]
    assert named(found, phrase(red=0.9, tweed=0.5), most=1) == ["farbe"]
    assert named(found, -phrase(red=0.7) - 1) == []


def test_a_phrase_that_is_explained_in_part_only_names_nothing() -> None:
    """0.84 squared is 0.71, 0.83 squared is 0.69."""
    concepts = Concepts(("red", "dress"), (ConceptKind.PRODUCT,) * 2, np.eye(2, 3, dtype=np.float32))
    found = Facets.of(concepts, Centre(np.zeros(3, np.float32), np.zeros(3, np.float32)), {})
    told, untold = (np.array([cosine, 0, np.sqrt(1 - cosine**2)], np.float32) for cosine in (0.84, 0.83))
    assert named(found, told) == ["colour"]
    assert named(found, untold) == []


def test_a_phrase_names_the_concept_that_stands_out_among_many() -> None:
    """By (m - 1) / sqrt(m - 1) deviations, where all others have a cosine of 0: 4.1 for 18 concepts, 3.9 for 16."""
    for m, expected in ((18, ["0"]), (16, [])):
        terms = tuple(str(place) for place in range(m))
        concepts = Concepts(terms, (ConceptKind.PRODUCT,) * m, np.eye(m, m + 1, dtype=np.float32))
        found = Facets.of(concepts, Centre(np.zeros(m + 1, np.float32), np.zeros(m + 1, np.float32)), {})
        half = np.zeros(m + 1, np.float32)
        half[[0, -1]] = np.sqrt([0.25, 0.75])
        assert named(found, half) == expected
