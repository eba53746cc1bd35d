"""`setr schedule`: what a gallery does by itself, and when."""

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import click
from rich.console import Console
from rich.markup import escape

from cli.client import ApiClient
from cli.commands.connection import print_json, with_client
from cli.commands.tables import output
from cli.transport import ApiError
from cli.wire import Json, Schedule


@click.command("schedule")
@click.argument("gallery")
@click.option("--cron", help="Minute, hour, day of month, month, day of week: '0 3 * * *' is every night at three.")
@click.option("--timezone", default="UTC", show_default=True, help="IANA name, such as Europe/Berlin.")
@click.option("--manifest-url", help="Import this manifest (.csv, .jsonl; http(s) or s3://) at each tick.")
@click.option("--s3-prefix", help="Import what is under s3://bucket/prefix/ at each tick.")
@click.option("--image-url", "urls", multiple=True, help="Import this picture at each tick; repeat it for several.")
@click.option(
    "--mode",
    type=click.Choice(["upsert", "mirror"]),
    default="upsert",
    show_default=True,
    help="mirror: then remove from the gallery what the source does not name.",
)
@click.option("--max-delete-share", type=click.FloatRange(0, 1), help="Share that a mirror may remove at most.")
@click.option("--callback-url", help="Called when a job of the schedule has ended.")
@click.option("--remove", is_flag=True, help="End the schedule.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def schedule(
    *, client: ApiClient, gallery: str, cron: str | None, remove: bool, as_json: bool, **settings: Any
) -> None:
    """Show what GALLERY does by itself; set it with --cron, end it with --remove.

    With a source each tick is an import, without one a re-index.
    """
    if remove and cron:
        raise click.UsageError("--remove and --cron exclude each other.")
    body = _body(cron, **settings)
    if remove:
        client.delete_schedule(gallery)
        output().print(f"Gallery {escape(gallery)} does nothing by itself any more.")
        return
    found = _shown(client, gallery) if body is None else client.put_schedule(gallery, body)
    if as_json:
        print_json(found)
    else:
        _print_schedule(output(), found)


def _body(
    cron: str | None, *, manifest_url: str | None, s3_prefix: str | None, urls: tuple[str, ...], **rest: Any
) -> Json | None:
    """The request's body; None when nothing is to be set."""
    named = {"manifest": manifest_url, "s3_prefix": s3_prefix, "urls": list(urls)}
    source = {name: value for name, value in named.items() if value}
    if len(source) > 1:
        raise click.UsageError("Give at most one of --manifest-url, --s3-prefix and --image-url.")
    given = {name: value for name, value in rest.items() if value is not None}
    if cron is not None:
        return {"cron": cron, **given, "source": source or None}
    if source or given != {"mode": "upsert", "timezone": "UTC"}:
        raise click.UsageError("These options set a schedule: add --cron.")
    return None


def _shown(client: ApiClient, gallery: str) -> Schedule:
    try:
        return client.schedule(gallery)
    except ApiError as error:
        if error.missing:
            error.hint = f"Set one: setr schedule {gallery} --cron '0 3 * * *' --manifest-url URL"
        raise


def _print_schedule(console: Console, schedule: Schedule) -> None:
    """What is planned, and what became of it, in the schedule's own time zone."""
    zone = schedule["timezone"]
    what = "re-index" if schedule["source"] is None else f"{schedule['mode']} import from {_source(schedule['source'])}"
    console.print(f"{escape(schedule['gallery'])}: {escape(what)}")
    console.print(f"  cron       {escape(schedule['cron'])}  ({escape(zone)})")
    console.print(f"  next tick  {_local(schedule['next_tick'], zone)}")
    if schedule["last_tick"]:
        console.print(f"  last tick  {_local(schedule['last_tick'], zone)}")
    if schedule["last_job"]:
        console.print(f"  last job   {schedule['last_job']}")
    skipped = schedule["last_skipped"]
    if skipped:
        console.print(f"  [yellow]skipped    {_local(skipped['tick'], zone)}: {escape(skipped['reason'])}[/yellow]")


def _source(source: Json) -> str:
    ((name, value),) = source.items()
    return f"{len(value)} URLs" if name == "urls" else str(value)


def _local(moment: str, zone: str) -> str:
    return datetime.fromisoformat(moment).astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M %Z")
