"""Bodies of near-duplicates."""

from uuid import UUID

from pydantic import Field

from api.schemas.common import PageOut, PageQuery, Reply
from core.duplicates import MAX_DISTANCE, MAX_SHOWN, Group


class DuplicatesQuery(PageQuery):
    """Query parameters of the listing of near-duplicates."""

    distance: int | None = Field(
        None,
        ge=0,
        le=MAX_DISTANCE,
        description="Bits of 64 that neighbours may differ in; null: the operator's.",
    )


class DuplicateOut(Reply):
    """A member of a group."""

    image_id: UUID
    external_id: str
    distance: int = Field(description="Bits of 64 that its looks differ in from the first member's.")
    identical: bool = Field(description="Whether its bytes are the first member's.")


class DuplicateGroup(Reply):
    """Images that look the same, the oldest first."""

    size: int = Field(description=f"Members; at most {MAX_SHOWN} of them are listed.")
    images: list[DuplicateOut]


class DuplicatePage(PageOut[DuplicateGroup]):
    """One page of groups, by their oldest images."""


def group_out(group: Group) -> DuplicateGroup:
    """A group as JSON."""
    members = [
        DuplicateOut(
            image_id=each.image.id,
            external_id=each.image.external_id,
            distance=each.distance,
            identical=each.identical,
        )
        for each in group.images
    ]
    return DuplicateGroup(size=group.size, images=members)
