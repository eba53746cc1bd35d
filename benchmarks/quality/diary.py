"""What a long command is doing: a progress bar for each part, and how long each took."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console

from cli.commands.progress import count_bar
from retrieval.evaluate.embeddings import Progress


class Diary:
    """`seconds` by part, in their order."""

    def __init__(self, console: Console) -> None:
        self.seconds: dict[str, float] = {}
        self._console = console

    @contextmanager
    def part(self, name: str) -> Iterator[Progress]:
        """A part of the work; yields what shows its progress."""
        began_s = time.perf_counter()

        def progress(label: str, total: int) -> AbstractContextManager[Callable[[int], None]]:
            return count_bar(self._console, f"{name}: {label}", total)

        yield progress
        self.seconds[name] = round(time.perf_counter() - began_s, 1)
        self._console.print(f"{name}: {self.seconds[name]:.1f} s", style="dim")
