"""Stage 1: `core.ports.Composer` over the registry of strategies."""

from dataclasses import replace

from core.errors import InvalidInputError
from core.models import ConceptKind, Vector, Vectors
from core.ports import Composition, CompositionInput
from retrieval.strategies import COMPOSED, SINGLE_MODALITY, Strategy
from retrieval.strategies.centring import Centre
from retrieval.strategies.linear import inner_product
from retrieval.vocabulary import PRODUCTS, SCENES

NEGATIVE_WEIGHT = 0.5
"""How much a unit of similarity to the negative text takes from a score."""


class StrategyComposer:
    """`core.ports.Composer`: picks a strategy by name and the modalities at hand, and applies the negative text."""

    def names(self) -> tuple[str, ...]:
        """Known strategies, single modalities first."""
        return (*SINGLE_MODALITY, *COMPOSED)

    def compose(self, strategy: str, query: CompositionInput) -> Composition:
        """Compose by the strategy of that name.

        A strategy for composed queries becomes plain `text` or `image` search where the other modality is absent.
        InvalidInputError when the strategy is unknown, when it needs a modality that is absent, or when both are.
        """
        composition = self._strategy(strategy, query)(query)
        if query.negative_text is None:
            return composition
        return _avoid(composition, query.negative_text, Centre.of(query))

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
        if name not in COMPOSED:
            raise InvalidInputError(f"There is no strategy {name!r}: use one of {', '.join(self.names())}.")
        if all(present.values()):
            return COMPOSED[name]
        for modality, there in present.items():
            if there:
                return SINGLE_MODALITY[modality]
        raise InvalidInputError("The query is empty: send a text, a reference image, or both.")


_WORDS = {"text": "a text", "image": "a reference image"}


def _avoid(composition: Composition, negative: Vector, centre: Centre) -> Composition:
    """The same composition, but what looks like `negative` loses NEGATIVE_WEIGHT times its centred similarity to it."""
    direction = NEGATIVE_WEIGHT * centre.words(negative)

    def score(vectors: Vectors) -> Vector:
        return composition.score(vectors) - inner_product(direction)(centre.picture(vectors))

    return replace(composition, score=score)
