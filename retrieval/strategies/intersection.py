"""The intersection: what the text asks for, and of the reference what the text leaves alone, all of it at once.

An independent reconstruction of SETR's stage 1 (arXiv 2509.26012), whose internals are not public. Reference, text and
candidates are read by the same facets (kind, colour, pattern, …). In each facet a target shows what the text names, or
else what the reference shows; the scene is a facet that counts only if the text speaks of it. What no concept names is
compared as vectors. docs/method.md has the formulas, and what else was tried.
"""

from dataclasses import dataclass

import numpy as np

from core.models import Explanation, Vector, Vectors
from core.ports import Composition, CompositionInput, Phrases
from retrieval.decomposition import decompose
from retrieval.strategies.centring import Centre
from retrieval.strategies.facets import Facets, Mask
from retrieval.strategies.linear import unit
from retrieval.strategies.reading import speaks_of
from retrieval.strategies.softening import soften
from retrieval.strategies.sparse import sparse_intersection
from retrieval.strategies.union import present

SPARSITY = 0.07
"""Of the reference's decomposition, relative to its largest similarity: what would leave no concept at all is 1."""
NAMED_FROM = 0.5
"""A phrase names concepts that explain at least this much of it, relative to the one that explains most."""
MAX_NAMED = 3
"""Facets that one phrase names at most."""
NEWS_FROM = 0.25
"""Share of what a text says of a facet that must be news to matter: the rest repeats what the reference shows."""
SHOWN_FROM = 0.5
"""Share of what is denied that the reference shows, from which on it has to go."""
CLEAR_FROM = 0.5
"""Clarity from which on the reference is taken to show something of a facet."""
FLOOR = 1e-3
"""How likely a reading is to be plainly wrong: no facet rules a picture out alone."""
GIST_WEIGHT = 0.5
"""Weight of what the text says as a whole, concepts or not. A facet that the text names has 1."""
UNNAMED_WEIGHT = 8.0
"""Added to it for each wanted phrase that no concept names: nothing else speaks for that one."""
REST_WEIGHT = 0.5
"""Weight of having as much as the reference of what no concept says of it."""
LIKENESS_WEIGHT = 8.0
"""Weight of looking like the reference in what no concept says of it."""
MAX_TERMS = 10
"""Terms that an explanation lists at most, kept and dropped each."""
LISTED_FROM = 0.05
"""Concepts that are less likely than this in their facet are not listed."""


def intersection(query: CompositionInput) -> Composition:
    """Score x -> geometric mean, in 0..1, of how likely x is what is wanted in each facet; needs both modalities.

    ANN probes are the text, what is kept of the reference, and their sum. Without concepts nothing can be told apart:
    the whole centred reference is kept, as `sparse_intersection` has it. A negative text that no concept explains
    re-weights the scores, as it does for other strategies.
    """
    reference, text, centre = present(query.reference), present(query.text), Centre.of(query)
    if query.concepts is None or not query.concepts.terms:
        return soften(sparse_intersection(query), centre, avoid=query.negative_text)
    facets = Facets.of(query.concepts, centre, query.attributes)
    seen = Seen.of(centre.picture(reference), facets)
    negative = text[None][:0] if query.negative_text is None else query.negative_text[None]
    denied, unnamed = _said_of(centre.words(negative), facets)
    phrases = query.phrases or Phrases(text[None], text[None][:0])
    wanted = Wanted.of(phrases, seen.denied_here(denied, facets), seen, facets, centre)
    found = Composition(
        probes=_probes(centre.words(text), seen, wanted, facets),
        score=_Score(seen, wanted, facets, centre),
        explanation=_explain(seen, wanted, facets),
    )
    return soften(found, centre, avoid=query.negative_text) if unnamed else found


@dataclass(frozen=True, slots=True)
class Seen:
    """What a centred picture `vector` [d] shows: `shares` [m] of each facet's concepts, and how clearly [k], 0..1.

    What kind of thing it is, is always clear. `spread` [1] is the deviation of its similarities, and their unit.
    """

    vector: Vector
    shares: Vector
    clarity: Vector
    spread: Vector

    @staticmethod
    def of(vector: Vector, facets: Facets) -> "Seen":
        """Read one picture."""
        similarities = facets.directions @ vector
        spread = facets.spread(similarities)
        # Sleeves look a little like lampshades: what other concepts explain better does not belong to the reference.
        scale = np.maximum(np.linalg.norm(vector), np.float32(1e-9))
        sparsity = SPARSITY * max(float(similarities.max() / scale), 0.0)
        parts = facets.total(decompose(vector / scale, facets.directions, sparsity=sparsity))
        largest = np.max(parts, where=~facets.scenes, initial=1e-6)
        clarity = np.where(facets.subjects, np.float32(1), np.minimum(parts / largest, np.float32(1)))
        return Seen(vector, facets.shares(similarities, spread), clarity, spread)

    def denied_here(self, denied: Vector, facets: Facets) -> Vector:
        """Of what is denied [m] that of facets in which the reference shows it, or shows nothing clearly; and scenes.

        Elsewhere what the reference shows is something else, and to keep that denies enough.
        """
        shown = facets.total(denied * self.shares) >= SHOWN_FROM
        return np.where(facets.spread_over(shown | (self.clarity < CLEAR_FROM) | facets.scenes), denied, 0.0)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the target is to show: how right each concept is for its facet [m], and how much each facet counts [k].

    `changed` [k] are the facets of which the text speaks, `freed` [k] those in which anything but something will do,
    `gist` [d] is the direction of all that the text wants (or zero), and `gist_weight` how much that counts: a lot,
    where it wants what no concept names.
    """

    right: Vector
    weights: Vector
    changed: Mask
    freed: Mask
    gist: Vector
    gist_weight: float

    @staticmethod
    def of(phrases: Phrases, denied: Vector, seen: Seen, facets: Facets, centre: Centre) -> "Wanted":
        """In each facet what the text wants; else anything but what it avoids or what is `denied` [m]; else as seen."""
        wanted, avoided = centre.words(phrases.wanted), centre.words(phrases.avoided)
        (said, unnamed), (refused, _) = _said_of(wanted, facets), _said_of(avoided, facets)
        refused = refused + denied
        asked = facets.total(said) > 0
        changed = asked | (facets.total(refused) > 0)
        right = np.where(facets.spread_over(asked), _news(said, seen, facets), 1.0 - np.minimum(refused, 1.0))
        kept = np.array([speaks_of(phrases.kept, words) for words in facets.words()])
        weights = np.where(facets.scenes, 0.0, seen.clarity)
        return Wanted(
            right=np.where(facets.spread_over(changed), right, seen.shares).astype(np.float32),
            weights=np.where(changed | kept, 1.0, weights).astype(np.float32),
            changed=changed,
            freed=changed & ~asked,
            gist=unit(wanted.sum(axis=0)),
            gist_weight=GIST_WEIGHT + UNNAMED_WEIGHT * unnamed,
        )


def _said_of(phrases: Vectors, facets: Facets) -> tuple[Vector, int]:
    """What phrases, unit vectors [p, d] from the texts' centre, say of the facets that they name: shares, added [m].

    Also how many of them name none.
    """
    said, unnamed = np.zeros(len(facets.terms), np.float32), 0
    for phrase in phrases:
        similarities = facets.directions @ phrase
        shares = facets.shares(similarities, facets.spread(similarities))
        named = np.zeros(len(facets.starts), np.bool_)
        named[facets.named(phrase, most=MAX_NAMED, least=NAMED_FROM)] = True
        said += np.where(facets.spread_over(named), shares, np.float32(0))
        unnamed += not named.any()
    return said, unnamed


def _news(said: Vector, seen: Seen, facets: Facets) -> Vector:
    """Shares [m] of what is said; without what the reference shows, if much else is said of the facet.

    A text that names two colours, one of them the reference's, wants the other: "blue rather than red".
    """
    news = said * (1.0 - seen.shares)
    told = facets.spread_over(facets.total(news) >= NEWS_FROM * facets.total(said))
    chosen = np.where(told, news, said)
    shares: Vector = chosen / np.maximum(facets.spread_over(facets.total(chosen)), np.float32(1e-9))
    return shares


@dataclass(frozen=True, slots=True)
class _Score:
    """Scores stored vectors [n, d] -> [n]; only facets that count are looked at."""

    seen: Seen
    wanted: Wanted
    facets: Facets
    centre: Centre

    def __call__(self, vectors: Vectors) -> Vector:
        pictures = self.centre.picture(vectors)
        counts = self.wanted.weights > 0
        facets, right = self.facets.only(counts), self.wanted.right[self.facets.spread_over(counts)]
        shares = facets.shares(pictures @ facets.directions.T, self.seen.spread)
        likely = FLOOR + (1.0 - FLOOR) * facets.total(shares * right)
        weights = self.wanted.weights[counts]
        logs: Vector = np.log(likely) @ weights
        gist, gist_weight = self.wanted.gist, self.wanted.gist_weight
        logs += gist_weight * _log_sigmoid(pictures @ gist / self.seen.spread)
        rest = _rest(self.seen, self.wanted, self.facets)
        logs += LIKENESS_WEIGHT * _log_sigmoid(pictures @ unit(rest) / self.seen.spread)
        logs += REST_WEIGHT * np.minimum(pictures @ rest / np.maximum(rest @ rest, 1e-9) - 1.0, 0.0)
        whole = weights.sum() + gist_weight + LIKENESS_WEIGHT + REST_WEIGHT
        scores: Vector = np.exp(logs / whole).astype(np.float32)
        return scores


def _log_sigmoid(values: Vector) -> Vector:
    logs: Vector = -np.logaddexp(0.0, -values)
    return logs


def _rest(seen: Seen, wanted: Wanted, facets: Facets) -> Vector:
    """The reference [d] without the directions of all that goes: what no concept says, and what stays anyway."""
    ignored = facets.scenes & (wanted.weights == 0)
    goes = facets.spread_over(wanted.changed | ignored) & (seen.shares >= LISTED_FROM)
    if not goes.any():
        return seen.vector
    basis: Vectors = np.linalg.svd(facets.directions[goes], full_matrices=False)[2]
    rest: Vector = seen.vector - basis.T @ (basis @ seen.vector)
    return rest


def _probes(text: Vector, seen: Seen, wanted: Wanted, facets: Facets) -> Vectors:
    stays = facets.spread_over(np.where(wanted.changed, np.float32(0), wanted.weights))
    words = unit((seen.shares * stays) @ facets.directions)
    kept = unit(words + REST_WEIGHT * unit(_rest(seen, wanted, facets)))
    asked = wanted.gist if wanted.gist.any() else text
    return unit(np.stack([asked + kept, asked, kept]))


def _explain(seen: Seen, wanted: Wanted, facets: Facets) -> Explanation:
    """Concepts that the reference shows, as shares of all that it shows clearly; heaviest first."""
    counts = facets.spread_over(np.where(wanted.changed, seen.clarity, np.maximum(seen.clarity, wanted.weights)))
    shown = np.where(seen.shares >= LISTED_FROM, seen.shares, 0.0) * counts
    best = facets.spread_over(np.maximum(facets.best(wanted.right), np.float32(1e-9)))
    repeated = np.where(facets.spread_over(wanted.changed), wanted.right / best, 1.0)
    stays = np.where(facets.spread_over((wanted.weights > 0) & ~wanted.freed), repeated, 0.0)
    whole = max(float(shown.sum()), 1e-9)
    return Explanation(
        kept=_listed(shown * stays / whole, facets), dropped=_listed(shown * (1 - stays) / whole, facets)
    )


def _listed(weights: Vector, facets: Facets) -> tuple[tuple[str, float], ...]:
    order = np.argsort(-weights, kind="stable")[:MAX_TERMS]
    return tuple((facets.terms[i], float(weights[i])) for i in order if weights[i] > LISTED_FROM * weights[order[0]])
