"""Waiting for a job with a progress bar made of the job's own counters."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from cli.client import ApiClient
from cli.commands.connection import INTERRUPTED
from cli.commands.tables import counters_table, failed_table, messages, print_warnings, state_markup
from cli.wire import OUTCOMES, Job

_EXIT_CODES = {"succeeded": 0, "partially_succeeded": 3}
_SHOWN_ERRORS = 10


def wait(client: ApiClient, job: Job, *, console: Console | None = None) -> Job:
    """Wait for a job under a progress bar. Ctrl-C leaves the job running and says how to come back."""
    console = console or messages()
    with resumable(job["id"]), _counters_bar(console) as show:
        show(job)
        return client.wait_for_job(job["id"], on_progress=show, poll_s=1.0)


@contextmanager
def resumable(job_id: str) -> Iterator[None]:
    """On Ctrl-C, say that the job goes on without us, and exit with 130."""
    try:
        yield
    except KeyboardInterrupt:
        click.echo(
            f"\nThe job goes on without this terminal. Come back with: setr jobs {job_id} --wait\n"
            f"Stop it with: setr jobs {job_id} --cancel",
            err=True,
        )
        raise SystemExit(INTERRUPTED) from None


@contextmanager
def _counters_bar(console: Console) -> Iterator[Callable[[Job], None]]:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[counts]}"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task("queued", total=None, counts="")
        yield lambda job: _show(progress, task, job)


def _show(progress: Progress, task: TaskID, job: Job) -> None:
    counters = job["progress"]
    total = counters["total"]
    done = 0 if total is None else total - counters["pending"]
    label = job["stage"] if job["state"] == "running" else job["state"]
    progress.update(task, description=label, total=total, completed=done, counts=counts_line(job))


def counts_line(job: Job) -> str:
    """`created 12  unchanged 3`, and why nothing moves, if the server says so."""
    counters = dict(job["progress"])
    parts = [f"{outcome} {counters[outcome]}" for outcome in OUTCOMES if counters[outcome]]
    waiting = job.get("waiting_for")
    if waiting is not None and not waiting["consumers"]:
        parts.append(f"[yellow]no worker takes from queue {escape(waiting['queue'])}[/yellow]")
    elif waiting is not None and waiting["until"] is not None:
        until = datetime.fromisoformat(waiting["until"]).astimezone()
        parts.append(f"[yellow]tried again at {until:%H:%M:%S}[/yellow]")
    return "  ".join(parts)


def exit_code(job: Job) -> int:
    """0 succeeded, 3 partially, 1 anything else."""
    return _EXIT_CODES.get(job["state"], 1)


def report(client: ApiClient, job: Job, console: Console) -> None:
    """Print how a job ended, with the first failed items."""
    console.print(f"{job['kind']} job {job['id']}")
    console.print(counters_table(job))
    failed = job["progress"]["failed"]
    if failed:
        console.print(failed_table(client.failed_items(job["id"], limit=_SHOWN_ERRORS), failed))
    print_warnings(console, job)
    error = job["error"]
    reason = f": {escape(error['detail'])} ({escape(error['code'])})" if error else ""
    console.print(f"{state_markup(job['state'])}{reason}")
