"""A study in miniature: its plan, and a judge and a captioner that need no weights."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL.Image import Image as Picture

from benchmarks.quality.diary import Diary
from core.ports import JudgeIdentity
from retrieval.datasets.synthcir_groups import Kind, Plan

UNIONS = ("sum-0.50", "centred-sum-0.50", "slerp-0.70")
ABLATIONS = ("intersection-literal-0.50", "intersection-and-0.30", "intersection-and-0.50")
PLAN = Plan({Kind.SAME_SCENE: 2, Kind.MIXED: 1, Kind.SCENE: 1}, queries_per_group=3)


@dataclass
class ArbitraryJudge:
    """P(Yes) from the bytes of all that it is asked about; counts the candidates."""

    name: str = "arbitrary"
    weight: float = 0.25
    asked: list[int] = field(default_factory=list)

    @property
    def identity(self) -> JudgeIdentity:
        return JudgeIdentity(self.name, "0" * 64, 1)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        self.asked.append(len(candidates))
        question = self.name.encode() + reference.tobytes() + text.encode()
        return [hashlib.sha256(question + candidate.tobytes()).digest()[0] / 255 for candidate in candidates]


class Describer:
    def caption(self, reference: Picture, text: str) -> str:
        return f"{text} {reference.width}"


@dataclass
class Ran:
    content: dict[str, Any]
    saved: list[int]
    judge: ArbitraryJudge
    diary: Diary
