"""Progress bars over bytes and items."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)

Update = Callable[[int], None]


@contextmanager
def bytes_bar(console: Console, label: str, total: int) -> Iterator[Update]:
    """A bar over bytes; yields the function that takes the number of bytes done."""
    with _bar(console, label, total, DownloadColumn()) as update:
        yield update


@contextmanager
def count_bar(console: Console, label: str, total: int) -> Iterator[Update]:
    """A bar over items; yields the function that takes the number of items done."""
    with _bar(console, label, total, MofNCompleteColumn()) as update:
        yield update


@contextmanager
def _bar(console: Console, label: str, total: int, amount: ProgressColumn) -> Iterator[Update]:
    columns = (TextColumn("{task.description:<10}"), BarColumn(), amount, TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(label, total=total)
        yield lambda done: progress.update(task, completed=done)
