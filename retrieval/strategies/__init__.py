"""The strategies of stage 1: pure functions from a query's vectors to what to search for, by name."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from core.ports import Composition, CompositionInput
from retrieval.strategies.intersection import intersection
from retrieval.strategies.union import image, text, weighted_sum

Strategy = Callable[[CompositionInput], Composition]

SINGLE_MODALITY: Mapping[str, Strategy] = MappingProxyType({"text": text, "image": image})
"""Need their own modality only, and ignore the other one."""

COMPOSED: Mapping[str, Strategy] = MappingProxyType({"sum": weighted_sum, "intersection": intersection})
"""Are called with a reference and a text, always both."""
