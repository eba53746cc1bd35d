"""Identifiers: UUIDv7, so that ids sort by creation time and `older job` is `smaller id`."""

from datetime import UTC, datetime
from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid_utils.compat.uuid7()


def made_at(made: UUID) -> datetime:
    """When an id of ours was made: its first 48 bits count milliseconds."""
    return datetime.fromtimestamp((made.int >> 80) / 1000, UTC)
