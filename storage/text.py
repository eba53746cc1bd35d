"""What Postgres can hold as text."""

import re

_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def storable(text: str) -> bool:
    """Whether Postgres can hold the text: no NUL, no lone surrogate. Nothing stored equals a text that it cannot."""
    return _UNSTORABLE.search(text) is None


def made_storable(text: str) -> str:
    """The text with each character that Postgres cannot hold replaced by U+FFFD."""
    return _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)
