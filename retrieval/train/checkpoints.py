"""What the training loops share: resumable state, learning-rate schedule, progress on the terminal and in the log."""

from pathlib import Path
from types import TracebackType
from typing import Self

import structlog
import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import nn

_LOG_EVERY = 50


def load_checkpoint(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, float]:
    """Put a saved state into model and optimizer; returns its step and seconds, (0, 0.0) where there is none."""
    if not path.exists():
        return 0, 0.0
    saved = torch.load(path, weights_only=True)
    model.load_state_dict(saved["model"])
    optimizer.load_state_dict(saved["optimizer"])
    return saved["step"], saved["seconds"]


def save_checkpoint(
    path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, *, step: int, seconds: float
) -> None:
    """Write the state so that an interrupted write leaves the previous checkpoint whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "seconds": seconds}
    partial = path.with_suffix(".part")
    torch.save(state, partial)
    partial.rename(path)


def trapezoid(step: int, *, steps: int, warmup: int, decay: float = 0.3) -> float:
    """Share of the peak learning rate: linear warm-up, flat, then linear to zero over the last `decay` of the steps."""
    down = (steps - step) / max(1.0, steps * decay)
    return min(1.0, (step + 1) / max(1, warmup), down)


class TrainingProgress:
    """A progress bar for people and a log line every 50 steps for files."""

    def __init__(self, name: str, steps: int, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._progress = Progress(*columns)
        self._task = self._progress.add_task(name, total=steps, completed=done)
        self._name = name
        self._log = structlog.get_logger(__name__)

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
        if step % _LOG_EVERY == 0:
            rounded = {name: round(value, 4) for name, value in values.items()}
            self._log.info("training_step", training=self._name, step=step, **rounded)
