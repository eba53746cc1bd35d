"""Whether explanations tell what they should: scenery dropped, the kind of product kept. Needs SynthCIR's details."""

from collections.abc import Iterable, Sequence

from core.models import Explanation
from retrieval.datasets.composed import CirDataset
from retrieval.datasets.synthcir import SAME_SCENE
from retrieval.datasets.wording import NOUNS, SCENE_WORDS
from retrieval.evaluate.run import Answer

_FILLERS = frozenset(["a", "an", "and", "at", "by", "front", "in", "of", "on", "the"])


def names_scene(term: str, scene: str) -> bool:
    """Whether a concept's term is (part of) what people call a scene of the synthetic catalog."""
    content = set(term.split()) - _FILLERS
    return bool(content) and any(content <= set(words.split()) for words in (scene, *SCENE_WORDS[scene]))


def names_category(term: str, category: str) -> bool:
    """Whether a concept's term is what people call a category of the synthetic catalog."""
    return term in (category, *NOUNS[category])


def explanation_shares(dataset: CirDataset, answers: Sequence[Answer]) -> dict[str, float]:
    """Shares of queries in 0..1, for the slices that the answers have; none where the strategy explains nothing.

    `scene_dropped` and `category_kept`: same-scene queries whose explanation drops the reference's scene, or keeps its
    category. `scene_kept`: keep-the-scene queries whose explanation keeps the scene.
    """
    if not any(answer.explanation.kept or answer.explanation.dropped for answer in answers):
        return {}
    trapped = [answer for answer in answers if SAME_SCENE in answer.query.labels]
    keeping = [answer for answer in answers if "style:keep-scene" in answer.query.labels]
    shares = {}
    if trapped:
        shares["scene_dropped"] = _share(_says_scene(dataset, each, each.explanation.dropped) for each in trapped)
        shares["category_kept"] = _share(_says_category(dataset, each) for each in trapped)
    if keeping:
        shares["scene_kept"] = _share(_says_scene(dataset, each, each.explanation.kept) for each in keeping)
    return shares


def _says_scene(dataset: CirDataset, answer: Answer, concepts: Sequence[tuple[str, float]]) -> bool:
    return any(names_scene(term, dataset.scenes[answer.query.reference]) for term, _ in concepts)


def _says_category(dataset: CirDataset, answer: Answer) -> bool:
    explanation: Explanation = answer.explanation
    category = dataset.attributes[answer.query.reference]["category"]
    return any(names_category(term, category) for term, _ in explanation.kept)


def _share(outcomes: Iterable[bool]) -> float:
    found = list(outcomes)
    return sum(found) / len(found)
