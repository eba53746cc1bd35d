"""`setr jobs`: look at jobs, wait for one, stop it, or retry what failed in it."""

import click
from rich.console import Console

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.tables import jobs_table, output, print_answer, state_markup
from cli.commands.waiting import counts_line, exit_code, report, wait
from cli.wire import TERMINAL, Job


@click.command("jobs")
@click.argument("job_id", required=False)
@click.option("--state", help="List only jobs in this state (running, failed, …).")
@click.option("--gallery", help="List only jobs of this gallery.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Number of jobs listed.")
@click.option("--wait", "waits", is_flag=True, help="Wait for the job under a progress bar.")
@click.option("--cancel", is_flag=True, help="Stop the job; what is done stays done.")
@click.option("--retry", is_flag=True, help="Import again what failed in the job: a new job.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def jobs(  # noqa: PLR0913 - a parameter for each option
    *, client: ApiClient, job_id: str | None, as_json: bool, waits: bool, cancel: bool, retry: bool, **wanted: object
) -> None:
    """List jobs, or show JOB_ID with its counters, its failed items and, for a query, its results."""
    if job_id is None:
        if waits or cancel or retry:
            raise click.UsageError("--wait, --cancel and --retry need a JOB_ID.")
        _list(client, as_json=as_json, **wanted)  # type: ignore[arg-type]
        return
    if cancel and retry:
        raise click.UsageError("--cancel and --retry exclude each other.")
    call = client.cancel if cancel else client.retry if retry else client.job
    job = call(job_id)
    if waits and job["state"] not in TERMINAL:
        job = wait(client, job)
    if as_json:
        print_json(job)
        return
    _show(client, job)
    if waits:
        raise SystemExit(exit_code(job))


def _list(client: ApiClient, *, as_json: bool, state: str | None, gallery: str | None, limit: int) -> None:
    found = client.jobs(state=state, gallery=gallery, limit=limit)
    if as_json:
        print_json(found)
    elif found:
        output().print(jobs_table(found))
    else:
        output().print("No such job.")


def _show(client: ApiClient, job: Job) -> None:
    console = output()
    if job["kind"] == "query" and job["result"] is not None:
        print_answer(console, job)
    elif job["state"] in TERMINAL:
        report(client, job, console)
    else:
        _show_running(console, job)


def _show_running(console: Console, job: Job) -> None:
    console.print(jobs_table([job]))
    eta = job["eta_seconds"]
    remaining = f", about {eta} s to go" if eta is not None else ""
    console.print(f"{state_markup(job['state'])} {counts_line(job)}{remaining}")
