"""Stage 1: `core.ports.Composer` over the registry of strategies."""

from collections.abc import Mapping

from core.errors import InvalidInputError
from core.models import ConceptKind
from core.ports import Composition, CompositionInput, Encoder, Phrases, RelativeText
from retrieval.strategies import COMPOSED, SINGLE_MODALITY, Strategy
from retrieval.strategies.centring import Centre
from retrieval.strategies.intersection import intersection
from retrieval.strategies.reading import read
from retrieval.strategies.soft import soft
from retrieval.strategies.softening import soften
from retrieval.vocabulary import PRODUCTS, SCENES


def phrases(said: RelativeText, encoder: Encoder) -> Phrases:
    """The phrases of one text as vectors. The service encodes those of many queries at once instead."""
    vectors = encoder.encode_texts([*said.wanted, *said.avoided])
    wanted = len(said.wanted)
    return Phrases(wanted=vectors[:wanted], avoided=vectors[wanted:], kept=said.kept)


class StrategyComposer:
    """`core.ports.Composer`: picks a strategy by name and the modalities at hand, and applies the negative text.

    `composed` are the strategies for reference and text together; an evaluator adds its own, such as
    `COMPOSED | retrieval.strategies.ablations.ABLATIONS`.
    """

    def __init__(self, composed: Mapping[str, Strategy] = COMPOSED) -> None:
        self._composed = composed

    def names(self) -> tuple[str, ...]:
        """Known strategies, single modalities first."""
        return (*SINGLE_MODALITY, *self._composed)

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        """Compose by the strategy of that name.

        A strategy for composed queries becomes plain `text` or `image` search where the other modality is absent.
        InvalidInputError when the strategy is unknown, when it needs a modality that is absent, or when both are.
        """
        compose = self._strategy(strategy, query)
        composition = compose(query)
        if query.negative_text is None or compose in _AVOIDING:
            return composition
        return soften(composition, Centre.of(query), avoid=query.negative_text)

    def read(self, text: str) -> RelativeText:
        """Take a relative text apart into phrases."""
        return read(text)

    def general_vocabulary(self) -> dict[str, tuple[str, ...]]:
        """Terms that need no catalog: keys `product` and `scene`."""
        return {ConceptKind.PRODUCT: PRODUCTS, ConceptKind.SCENE: SCENES}

    def _strategy(self, name: str, query: CompositionInput) -> Strategy:
        present = {"text": query.text is not None, "image": query.reference is not None}
        if name in SINGLE_MODALITY:
            if not present[name]:
                raise InvalidInputError(
                    f"The strategy {name!r} needs {_WORDS[name]}: send one, or use another strategy."
                )
            return SINGLE_MODALITY[name]
        if name not in self._composed:
            raise InvalidInputError(f"There is no strategy {name!r}: use one of {', '.join(self.names())}.")
        if all(present.values()):
            return self._composed[name]
        for modality, there in present.items():
            if there:
                return SINGLE_MODALITY[modality]
        raise InvalidInputError("The query is empty: send a text, a reference image, or both.")


_AVOIDING = frozenset([intersection, soft])
"""Strategies that read the negative text themselves."""
_WORDS = {"text": "a text", "image": "a reference image"}
