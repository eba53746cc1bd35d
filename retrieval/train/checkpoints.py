"""What the training loops share: resumable state, learning-rate schedule, progress for people and for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

from core.errors import ConflictError

_LOG_EVERY = 50


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a training by `recipe` (anything that its `repr` tells apart), kept in the file `path`."""

    path: Path
    recipe: object

    def load(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
        """Put the saved state into model and optimizer; returns its step and seconds, (0, 0.0) where there is none.

        ConflictError when it is of another recipe: its weights would pass for those of this one.
        """
        saved = read_state(self.path)
        if saved is None:
            return 0, 0.0
        if saved.get("recipe") != repr(self.recipe):
            raise ConflictError(
                f"{self.path} is of a training by another recipe or seed: give the same ones to go on with it, or "
                "another work folder to begin anew."
            )
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        return saved["step"], saved["seconds"]

    def save(self, model: nn.Module, optimizer: torch.optim.Optimizer, *, step: int, seconds: float) -> None:
        """Write the state of model and optimizer, for `load`."""
        states = {"model": model.state_dict(), "optimizer": optimizer.state_dict()}
        write_state(self.path, {**states, "recipe": repr(self.recipe), "step": step, "seconds": seconds})


def read_state(path: Path) -> dict[str, Any] | None:
    """What `write_state` wrote, its tensors on the CPU; None where there is no file."""
    if not path.exists():
        return None
    saved: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    return saved


def write_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write tensors and plain values so that an interrupted write leaves the previous file whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".part")
    torch.save(dict(state), partial)
    partial.rename(path)


def trapezoid(step: int, *, steps: int, warmup: int, decay: float = 0.3) -> float:
    """Share of the peak learning rate: linear warm-up, flat, then linear to zero over the last `decay` of the steps."""
    down = (steps - step) / max(1.0, steps * decay)
    return min(1.0, (step + 1) / max(1, warmup), down)


class TrainingProgress:
    """On standard error: a progress bar for people; where nobody watches (a file, a pipe), a line every 50 steps."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._console = Console(stderr=True)
        self._progress = Progress(*columns, console=self._console)
        self._task = self._progress.add_task(name, total=steps, completed=done)
        self._name = name
        self._steps = steps

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def report(self, step: int, **values: float) -> None:
        """Show that `step` steps are done, with the latest values (losses, rates)."""
        shown = ", ".join(f"{name} {value:.3f}" for name, value in values.items())
        self._progress.update(self._task, completed=step, description=f"{self._name}, {shown}")
        if step % _LOG_EVERY == 0 and not self._console.is_terminal:
            self._console.print(f"{self._name}: step {step} of {self._steps}, {shown}")
