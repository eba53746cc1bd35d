"""Identifiers: UUIDv7, so that ids sort by creation time and `older job` is `smaller id`."""

from uuid import UUID

import uuid_utils.compat


def new_id() -> UUID:
    """A fresh UUIDv7."""
    return uuid_utils.compat.uuid7()
