"""What the Yes/No judge is asked: one place, so that training and serving can never ask differently. No torch here."""

import math
from typing import Any

from PIL import ImageOps
from PIL.Image import Image as Picture

PROMPT_VERSION = 1
"""Changes with the order or the wording below; stored with every adapter."""

INSTRUCTION = "Answer Yes or No: does the second picture show the first product with the requested change?"
ANSWERS = ("Yes", "No")
"""The judgement is the difference of their logits, so each must be one token of the model."""

MAX_RATIO = 100
"""Longer side of a picture to its shorter one; processors of the Qwen-VL families refuse more than 200."""

Message = dict[str, Any]


def judge_messages(relative_text: str) -> list[Message]:
    """One judgement as chat messages with image placeholders, in the form that transformers' processors take.

    Order: instruction, reference picture, relative text, and the candidate picture **last**, so that all candidates of
    a query share everything before it. Pass the pictures as [reference, candidate].
    """
    content: list[Message] = [
        {"type": "text", "text": INSTRUCTION},
        {"type": "image"},
        {"type": "text", "text": relative_text.strip()},
        {"type": "image"},
    ]
    return [{"role": "user", "content": content}]


def within_ratio(picture: Picture) -> Picture:
    """The picture itself, or, when it is slimmer than `MAX_RATIO`, with margins that make it less slim."""
    shortest = math.ceil(max(picture.size) / MAX_RATIO)
    if min(picture.size) >= shortest:
        return picture
    return ImageOps.pad(picture, (max(picture.width, shortest), max(picture.height, shortest)))
