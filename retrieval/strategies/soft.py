"""Soft filtering on top of the intersection (SoFT, arXiv 2512.20781)."""

from dataclasses import replace

from core.ports import Composition, CompositionInput
from retrieval.strategies.centring import Centre
from retrieval.strategies.intersection import intersection
from retrieval.strategies.softening import soften


def soft(query: CompositionInput) -> Composition:
    """The intersection, where the relative text must be had and the negative text, if any, be avoided."""
    found = intersection(replace(query, negative_text=None))
    return soften(found, Centre.of(query), have=query.text, avoid=query.negative_text)
