"""Composition in small spaces that are built by hand: one direction per value, so that each number can be checked."""

from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.models import ConceptKind, Concepts, Vector, Vectors
from core.ports import CompositionInput, Phrases
from core.queries import STRATEGIES
from retrieval.compose import StrategyComposer
from retrieval.compose import phrases as encoded
from retrieval.strategies import COMPOSED as COMPOSED_STRATEGIES
from retrieval.strategies.ablations import ABLATIONS
from retrieval.strategies.linear import unit
from retrieval.strategies.union import TEXT_SHARE

COMPOSER = StrategyComposer()
EVERYTHING = StrategyComposer({**COMPOSED_STRATEGIES, **ABLATIONS})
KINDS = ("dress", "shirt", "mug")
COLORS = ("red", "blue", "green")
WEAVES = ("tweed", "satin", "crepe")  # no word of the general vocabulary
SCENES = ("snow", "beach", "studio")
WORDS = (*KINDS, *COLORS, *WEAVES, *SCENES)
PICTURE_BIAS, TEXT_BIAS = len(WORDS), len(WORDS) + 1
ATTRIBUTES = {**dict.fromkeys(KINDS, "kind"), **dict.fromkeys(COLORS, "color"), **dict.fromkeys(WEAVES, "weave")}


def vector(*words: str, bias: int, weights: dict[str, float] | None = None) -> Vector:
    """A unit vector with one axis per word, and the axis that all vectors of its modality share."""
    raw = np.zeros(len(WORDS) + 2, np.float32)
    raw[bias] = 2.0
    for word in words:
        raw[WORDS.index(word)] = (weights or {}).get(word, 1.0)
    return unit(raw)


def text(*words: str) -> Vector:
    return vector(*words, bias=TEXT_BIAS)


@dataclass(frozen=True)
class Gallery:
    """All products before all scenes; the scene is what stands out most in a picture."""

    shots = tuple(product(KINDS, COLORS, WEAVES, SCENES))

    @property
    def vectors(self) -> Vectors:
        return np.stack([self.picture(*shot) for shot in self.shots])

    def picture(self, *shot: str) -> Vector:
        return vector(*shot, bias=PICTURE_BIAS, weights=dict.fromkeys(SCENES, 1.5))

    def ranked(self, strategy: str, query: CompositionInput) -> list[tuple[str, ...]]:
        scores = EVERYTHING.compose(strategy, query).score(self.vectors)
        return [self.shots[int(i)] for i in np.argsort(-scores, kind="stable")]


GALLERY = Gallery()
CONCEPTS = Concepts(
    terms=WORDS,
    kinds=tuple(ConceptKind.SCENE if word in SCENES else ConceptKind.PRODUCT for word in WORDS),
    vectors=np.stack([text(word) for word in WORDS]),
)


def query(*shot: str, words: tuple[str, ...]) -> CompositionInput:
    return CompositionInput(
        reference=GALLERY.picture(*shot) if shot else None,
        text=text(*words) if words else None,
        negative_text=None,
        mean=GALLERY.vectors.mean(axis=0),
        concepts=CONCEPTS,
        attributes=ATTRIBUTES,
        caption=text(*words) if shot and words else None,
    )


COMPOSED = query("dress", "red", "tweed", "snow", words=("blue",))


def test_names_are_those_that_the_api_takes() -> None:
    assert COMPOSER.names() == STRATEGIES


def test_hand_computed_single_modalities_and_sum() -> None:
    asked = CompositionInput(
        reference=np.array([1, 0, 0], np.float32),
        text=np.array([0, 1, 0], np.float32),
        negative_text=None,
        mean=None,
        concepts=None,
    )
    pictures = np.array([[1, 0, 0], [0, 1, 0], [0.6, 0.8, 0], [0, 0, 1]], np.float32)
    half = 2**-0.5
    assert TEXT_SHARE == 0.5
    for strategy, expected in {
        "text": [0, 1, 0.8, 0],
        "image": [1, 0, 0.6, 0],
        "sum": [half, half, 1.4 * half, 0],
    }.items():
        composition = COMPOSER.compose(strategy, asked)
        np.testing.assert_allclose(composition.score(pictures), expected, atol=1e-6)
        assert composition.score(pictures).dtype == np.float32
        assert composition.probes.shape == (1, 3)


def test_negative_text_takes_the_share_that_its_centred_cosine_says() -> None:
    base = CompositionInput(
        reference=None,
        text=np.array([0, 1], np.float32),
        negative_text=np.array([1, 0], np.float32),
        mean=np.array([0.2, 0], np.float32),
        concepts=None,
    )
    scores = COMPOSER.compose("text", base).score(np.array([[0.8, 0.6], [0, 1], [0.8, -0.6]], np.float32))
    p = 0.6 / (0.6**2 + 0.6**2) ** 0.5
    np.testing.assert_allclose(scores, [0.6 * (1 - p), 1, -0.6 * (1 + p)], atol=1e-6)


@pytest.mark.parametrize("strategy", sorted({*COMPOSER.names()} - {"intersection"}))
def test_negative_text_moves_pictures_down_in_any_strategy(strategy: str) -> None:
    avoiding = replace(COMPOSED, negative_text=text("beach"))
    avoided, plain = (COMPOSER.compose(strategy, asked).score(GALLERY.vectors) for asked in (avoiding, COMPOSED))
    beach = np.array([shot[3] == "beach" for shot in GALLERY.shots])
    np.testing.assert_allclose(avoided[~beach], plain[~beach], atol=1e-6)
    assert (avoided[beach] <= plain[beach]).all()
    assert (avoided < plain)[beach & (plain > 0.01)].all()


SATIN = query("dress", "red", "tweed", "snow", words=("satin",))


@pytest.mark.parametrize(
    ("denied", "colors", "scenes"),
    [
        ("red", {"blue", "green"}, set(SCENES)),  # what the reference shows has to go
        ("blue", {"red"}, set(SCENES)),  # what it does not show is no reason to change its colour
        ("beach", {"red"}, {"snow", "studio"}),
        ("satin", {"red"}, set(SCENES)),  # the text asks for it all the same
    ],
)
def test_intersection_avoids_a_negative_text_by_its_facet(denied: str, colors: set[str], scenes: set[str]) -> None:
    avoiding = replace(SATIN, negative_text=text(denied))
    best = GALLERY.ranked("intersection", avoiding)[: len(colors) * len(scenes)]
    assert set(best) == {("dress", color, "satin", scene) for color in colors for scene in scenes}


def test_intersection_tells_what_a_negative_text_drops() -> None:
    explained = COMPOSER.compose("intersection", replace(SATIN, negative_text=text("red"))).explanation
    assert "red" in dict(explained.dropped)
    assert "red" not in dict(explained.kept)
    elsewhere = COMPOSER.compose("intersection", replace(SATIN, negative_text=text("beach"))).explanation
    assert "snow" in dict(elsewhere.dropped)  # any scene but the beach will do, so the reference's is not looked for
    assert "snow" not in dict(elsewhere.kept)


@pytest.mark.parametrize("known", [(), ("dress", "shirt", "mug", "red", "blue", "green", "tweed", "satin", "crepe")])
def test_intersection_reweights_by_a_negative_text_that_no_concept_explains(known: tuple[str, ...]) -> None:
    kinds = (ConceptKind.PRODUCT,) * len(known)
    concepts = Concepts(known, kinds, np.stack([text(word) for word in known])) if known else None
    plain = replace(COMPOSED, concepts=concepts)
    avoiding = replace(plain, negative_text=text("beach"))
    avoided, scores = (COMPOSER.compose("intersection", asked).score(GALLERY.vectors) for asked in (avoiding, plain))
    beach = np.array([shot[3] == "beach" for shot in GALLERY.shots])
    np.testing.assert_allclose(avoided[~beach], scores[~beach], atol=1e-6)
    assert (avoided < scores)[beach].all()


def test_intersection_changes_what_the_text_says_and_forgets_the_scene() -> None:
    assert GALLERY.ranked("sum", COMPOSED)[0][3] == "snow"
    best = GALLERY.ranked("intersection", COMPOSED)[:3]
    assert {shot[:3] for shot in best} == {("dress", "blue", "tweed")}
    assert {shot[3] for shot in best} == set(SCENES)


def test_intersection_explains_itself() -> None:
    explanation = COMPOSER.compose("intersection", COMPOSED).explanation
    assert {term for term, _ in explanation.kept} == {"dress", "tweed"}
    assert {term for term, _ in explanation.dropped} == {"snow", "red"}
    assert explanation.dropped[0][0] == "snow"


def test_a_value_that_the_text_asks_to_keep_is_kept() -> None:
    kept = query("dress", "red", "tweed", "snow", words=("red", "satin"))
    assert {shot[:3] for shot in GALLERY.ranked("intersection", kept)[:3]} == {("dress", "red", "satin")}
    assert "red" in dict(COMPOSER.compose("intersection", kept).explanation.kept)


def test_a_value_that_the_text_names_only_to_replace_it_is_dropped() -> None:
    """As in "blue rather than red": the encoder hears both colours."""
    both = query("dress", "red", "tweed", "snow", words=("red", "blue"))
    assert {shot[:3] for shot in GALLERY.ranked("intersection", both)[:3]} == {("dress", "blue", "tweed")}


def test_attributes_of_the_general_vocabulary_help_where_the_catalog_names_none() -> None:
    unnamed = replace(COMPOSED, attributes={})
    assert "red" in dict(COMPOSER.compose("intersection", unnamed).explanation.dropped)
    weave = replace(query("dress", "red", "tweed", "snow", words=("satin",)), attributes={})
    assert "tweed" in dict(COMPOSER.compose("intersection", weave).explanation.kept)


@pytest.mark.parametrize("concepts", [None, Concepts(terms=(), kinds=(), vectors=np.zeros((0, 14), np.float32))])
def test_without_concepts_the_whole_reference_is_kept(concepts: Concepts | None) -> None:
    composition = COMPOSER.compose("intersection", replace(COMPOSED, concepts=concepts, mean=None))
    assert composition.explanation.kept == composition.explanation.dropped == ()
    np.testing.assert_allclose(composition.probes[2], GALLERY.picture("dress", "red", "tweed", "snow"), atol=1e-6)


def test_a_reference_without_any_known_product_loses_its_scene() -> None:
    stranger = vector("snow", bias=PICTURE_BIAS)
    composition = COMPOSER.compose("intersection", replace(COMPOSED, reference=stranger))
    assert dict(composition.explanation.dropped).keys() == {"snow"}
    assert np.isfinite(composition.score(GALLERY.vectors)).all()


def test_scene_words_that_the_encoder_never_met_explain_nothing() -> None:
    """It gives them all one vector, here by chance that of the studio which the picture shows."""
    strangers = tuple(f"strange place {i}" for i in range(30))
    concepts = Concepts(
        terms=(*CONCEPTS.terms, *strangers),
        kinds=(*CONCEPTS.kinds, *[ConceptKind.SCENE] * len(strangers)),
        vectors=np.concatenate([CONCEPTS.vectors, np.tile(text("studio"), (len(strangers), 1))]),
    )
    studio = replace(query("dress", "red", "tweed", "studio", words=("blue",)), concepts=concepts)
    assert not set(strangers) & dict(COMPOSER.compose("intersection", studio).explanation.dropped).keys()


@pytest.mark.parametrize("strategy", COMPOSED_STRATEGIES)
def test_one_modality_makes_it_a_plain_search(strategy: str) -> None:
    for name, alone in {
        "text": query(words=("blue",)),
        "image": query("dress", "red", "tweed", "snow", words=()),
    }.items():
        expected = COMPOSER.compose(name, alone).score(GALLERY.vectors)
        np.testing.assert_array_equal(COMPOSER.compose(strategy, alone).score(GALLERY.vectors), expected)


def test_errors_say_what_to_send() -> None:
    with pytest.raises(InvalidInputError, match=r"'slurp': use one of text, image, sum, slerp"):
        COMPOSER.compose("slurp", COMPOSED)
    with pytest.raises(InvalidInputError, match="'text' needs a text: send one"):
        COMPOSER.compose("text", query("dress", "red", "tweed", "snow", words=()))
    with pytest.raises(InvalidInputError, match="'image' needs a reference image"):
        COMPOSER.compose("image", query(words=("blue",)))
    with pytest.raises(InvalidInputError, match="send a text, a reference image, or both"):
        COMPOSER.compose("intersection", query(words=()))


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), concepts=st.integers(0, 12), gallery=st.integers(0, 5))
def test_any_vectors_give_finite_scores_and_sorted_shares(seed: int, concepts: int, gallery: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = unit(rng.normal(size=(gallery + concepts + 3, 8)).astype(np.float32))
    pictures, words, given_ = vectors[:gallery], vectors[gallery:-3], vectors[-3:]
    kinds = tuple(ConceptKind.SCENE if i % 3 == 0 else ConceptKind.PRODUCT for i in range(concepts))
    asked = CompositionInput(
        reference=given_[0],
        text=given_[1],
        negative_text=given_[2] if seed % 2 else None,
        mean=pictures.mean(axis=0) if gallery else None,
        concepts=Concepts(tuple(f"term {i}" for i in range(concepts)), kinds, words),
        attributes={f"term {i}": f"attribute {i % 2}" for i in range(concepts)},
        caption=given_[1],
    )
    for strategy in EVERYTHING.names():
        composition = EVERYTHING.compose(strategy, asked)
        scores = composition.score(pictures)
        assert scores.shape == (gallery,)
        assert scores.dtype == np.float32
        assert np.isfinite(scores).all()
        lengths = np.linalg.norm(composition.probes, axis=1)
        assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()
        for side in (composition.explanation.kept, composition.explanation.dropped):
            shares = [share for _, share in side]
            assert shares == sorted(shares, reverse=True)
            assert all(0 < share <= 1 for share in shares)
            assert len(side) <= 10


def phrases(*, wanted: tuple[str, ...] = (), avoided: tuple[str, ...] = (), kept: tuple[str, ...] = ()) -> Phrases:
    return Phrases(wanted=rows(wanted), avoided=rows(avoided), kept=kept)


def rows(words: tuple[str, ...]) -> Vectors:
    return np.array([text(word) for word in words], np.float32).reshape(len(words), len(WORDS) + 2)


def test_a_scene_that_the_text_keeps_is_kept() -> None:
    keeping = replace(COMPOSED, phrases=phrases(wanted=("blue",), kept=("background",)))
    assert GALLERY.ranked("intersection", keeping)[0] == ("dress", "blue", "tweed", "snow")
    explanation = COMPOSER.compose("intersection", keeping).explanation
    assert "snow" in dict(explanation.kept)
    assert set(dict(explanation.dropped)) == {"red"}


def test_a_scene_that_the_text_names_replaces_the_reference_s() -> None:
    moved = replace(COMPOSED, phrases=phrases(wanted=("beach",)))
    assert GALLERY.ranked("intersection", moved)[0] == ("dress", "red", "tweed", "beach")
    assert "snow" in dict(COMPOSER.compose("intersection", moved).explanation.dropped)


def test_what_the_text_avoids_without_naming_another_is_any_other() -> None:
    avoiding = replace(COMPOSED, phrases=phrases(avoided=("red",)))
    best = {shot[:3] for shot in GALLERY.ranked("intersection", avoiding)[:6]}
    assert best == {("dress", "blue", "tweed"), ("dress", "green", "tweed")}


def without(*words: str) -> Concepts:
    """The concepts, but for some that only the encoder knows."""
    left = [place for place, term in enumerate(CONCEPTS.terms) if term not in words]
    return Concepts(
        terms=tuple(CONCEPTS.terms[place] for place in left),
        kinds=tuple(CONCEPTS.kinds[place] for place in left),
        vectors=CONCEPTS.vectors[left],
    )


def test_what_no_concept_names_can_be_asked_for() -> None:
    asked = query("dress", "red", "tweed", "snow", words=("satin",))
    unnamed = replace(asked, concepts=without(*WEAVES), phrases=phrases(wanted=("satin",)))
    assert {shot[:3] for shot in GALLERY.ranked("intersection", unnamed)[:3]} == {("dress", "red", "satin")}


def test_of_the_reference_stays_what_no_concept_names() -> None:
    unnamed = replace(COMPOSED, concepts=without(*WEAVES), phrases=phrases(wanted=("blue",)))
    assert {shot[:3] for shot in GALLERY.ranked("intersection", unnamed)[:3]} == {("dress", "blue", "tweed")}


def test_a_text_of_empty_words_asks_for_the_same_product() -> None:
    same = replace(COMPOSED, phrases=phrases())
    assert {shot[:3] for shot in GALLERY.ranked("intersection", same)[:3]} == {("dress", "red", "tweed")}


def test_phrases_are_encoded_in_order() -> None:
    class Encoder:
        def encode_texts(self, texts: list[str]) -> Vectors:
            return np.stack([text(word) for word in texts])

    said = encoded(COMPOSER.read("blue and satin, not red; keep the background"), Encoder())  # type: ignore[arg-type]
    np.testing.assert_array_equal(said.wanted, np.stack([text("blue"), text("satin")]))
    np.testing.assert_array_equal(said.avoided, text("red")[None])
    assert said.kept == ("background",)


def test_intersection_scores_are_shares_that_all_conditions_bound() -> None:
    scores = COMPOSER.compose("intersection", COMPOSED).score(GALLERY.vectors)
    assert ((scores > 0) & (scores <= 1)).all()
