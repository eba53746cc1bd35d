"""The strategies of stage 1: pure functions from a query's vectors to what to search for, by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core.ports import Composition, CompositionInput
from retrieval.strategies.described import caption
from retrieval.strategies.intersection import intersection
from retrieval.strategies.product import product
from retrieval.strategies.soft import soft
from retrieval.strategies.union import image, slerp, text, weighted_sum

Strategy = Callable[[CompositionInput], Composition]

SINGLE_MODALITY: Mapping[str, Strategy] = MappingProxyType({"text": text, "image": image})
"""Need their own modality only, and ignore the other one."""

COMPOSED: Mapping[str, Strategy] = MappingProxyType(
    {
        "sum": weighted_sum,
        "slerp": slerp,
        "product": product,
        "intersection": intersection,
        "soft": soft,
        "caption": caption,
    }
)
"""Are called with a reference and a text, always both. `core.queries.STRATEGIES` lists the same names for the API."""
