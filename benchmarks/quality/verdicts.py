"""A judge's answers, kept: strategies share most of their shortlists, and an interrupted run goes on where it was."""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL.Image import Image as Picture

from core.ports import Judge, JudgeIdentity
from core.settings import Settings
from retrieval.prompt import PROMPT_VERSION
from retrieval.specs import JudgeSource

_KEY_BYTES = 16


class Verdicts:
    """P(Yes) by question, kept in a file of one judge; `asked` counts those that were not known yet."""

    def __init__(self, path: Path) -> None:
        self.known: dict[bytes, float] = {}
        self.asked = 0
        self.path = path
        self._saved = 0
        if path.is_file():
            with np.load(path) as content:
                joined, values = content["keys"].tobytes(), content["values"].tolist()
            keys = [joined[start : start + _KEY_BYTES] for start in range(0, len(joined), _KEY_BYTES)]
            self.known = dict(zip(keys, values, strict=True))
            self._saved = len(self.known)

    def save(self) -> None:
        """Write what is new, whole or not at all."""
        if len(self.known) == self._saved:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".new.npz")
        keys = np.frombuffer(b"".join(self.known), np.uint8)
        np.savez(unfinished, keys=keys, values=np.fromiter(self.known.values(), np.float64))
        unfinished.replace(self.path)
        self._saved = len(self.known)


class RememberingJudge:
    """`core.ports.Judge` that asks another one each question once.

    A verdict depends on reference, text and candidate only, so whatever finds a candidate shares it. `weight` replaces
    the judge's own share of the final order: 1 is the judge alone.
    """

    def __init__(self, judge: Judge, verdicts: Verdicts, *, weight: float | None = None) -> None:
        self._judge = judge
        self._verdicts = verdicts
        self._weight = weight

    @property
    def identity(self) -> JudgeIdentity:
        """Of the judge that is asked."""
        return self._judge.identity

    @property
    def weight(self) -> float:
        """Share of the final order."""
        return self._judge.weight if self._weight is None else self._weight

    def weighing(self, weight: float) -> "RememberingJudge":
        """The same judge and verdicts with another share of the final order."""
        return RememberingJudge(self._judge, self._verdicts, weight=weight)

    def score(self, reference: Picture, text: str, candidates: Sequence[Picture]) -> list[float]:
        """P(Yes) per candidate, in order."""
        known = self._verdicts.known
        query = _digest(_pixels(reference), text.encode())
        keys = [_digest(query, _pixels(candidate)) for candidate in candidates]
        new = {key: candidate for key, candidate in zip(keys, candidates, strict=True) if key not in known}
        if new:
            known.update(zip(new, self._judge.score(reference, text, list(new.values())), strict=True))
            self._verdicts.asked += len(new)
        return [known[key] for key in keys]


def verdicts_of(source: JudgeSource, settings: Settings, folder: Path) -> Verdicts:
    """The file in `folder` for a judge as it is now: weights, templates, prompt and calibration decide the name."""
    content = hashlib.sha256(f"{source} {settings.device} {settings.dtype} {PROMPT_VERSION}".encode())
    for part in (source.base, source.lora):
        if part is not None and Path(part).is_dir():
            for path in sorted(path for path in Path(part).rglob("*") if path.is_file()):
                content.update(path.name.encode() + hashlib.sha256(path.read_bytes()).digest())
    return Verdicts(folder / f"verdicts-{content.hexdigest()[:16]}.npz")


def _pixels(picture: Picture) -> bytes:
    return _digest(f"{picture.mode} {picture.size}".encode(), picture.tobytes())


def _digest(*parts: bytes) -> bytes:
    content = hashlib.blake2b(digest_size=_KEY_BYTES)
    for part in parts:
        content.update(part)
    return content.digest()
