"""Search by a description of the target that a multimodal model has written: the intersection in words."""

from core.errors import InvalidInputError
from core.ports import Composition, CompositionInput
from retrieval.strategies.linear import search_for


def caption(query: CompositionInput) -> Composition:
    """Cosine with the description (as in SDR-CIR's Selective CoT, which keeps what the modification is about).

    InvalidInputError when nobody has written one.
    """
    if query.caption is None:
        raise InvalidInputError("The strategy 'caption' needs a captioner: configure one, or use another strategy.")
    return search_for(query.caption)
