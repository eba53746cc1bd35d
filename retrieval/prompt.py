"""What the Yes/No judge is asked: one place, so that training and serving can never ask differently. No torch here."""

from typing import Any

PROMPT_VERSION = 1
"""Changes with the order or the wording below; stored with every adapter."""

INSTRUCTION = "Answer Yes or No: does the second picture show the first product with the requested change?"
ANSWERS = ("Yes", "No")
"""The judgement is the difference of their logits, so each must be one token of the model."""

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
