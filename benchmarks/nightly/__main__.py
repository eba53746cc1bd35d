"""`make bench-nightly`: a manifest of 50 000 rows, again with 1 % changed: what is embedded, stored, downloaded."""

from pathlib import Path

import click
import httpx

from benchmarks.faults.watch import Sql
from benchmarks.nightly.measure import Nights, measure
from benchmarks.nightly.report import report
from benchmarks.nightly.site import shop
from benchmarks.pictures import catalog
from cli.local.services import temporary_data_dir
from cli.local.up import running_stack
from core.settings import Settings

ROWS = 50_000


@click.command()
@click.option("--rows", default=ROWS, show_default=True, help="Rows of the manifest.")
@click.option("--changed-share", default=0.01, show_default=True, type=click.FloatRange(0, 1, min_open=True))
@click.option("--no-report", is_flag=True, help="Leave docs/performance.md and benchmarks/results alone.")
def main(rows: int, changed_share: float, *, no_report: bool) -> None:
    """Measure a first night, one without changes, and a delta."""
    changed = max(1, round(rows * changed_share))
    click.echo(f"Drawing {rows + changed} photos (once) and starting the service …")
    archive = catalog(rows + changed)
    with (
        shop(archive, rows) as site,
        temporary_data_dir() as data_dir,
        running_stack(_settings(data_dir, site.port)) as stack,
        Sql(stack.settings.database_url) as sql,
        httpx.Client(base_url=stack.url, headers={"Authorization": f"Bearer {stack.api_key}"}, timeout=60.0) as http,
    ):
        nights = measure(Nights(stack, http, sql, site), changed=changed)
    command = "make bench-nightly" if rows == ROWS else f"make bench-nightly SIZE={rows}"
    click.echo(report(nights, changed=changed, command=command, write=not no_report))


def _settings(data_dir: Path, port: int) -> Settings:
    return Settings(data_dir=data_dir, api_port=0, fetch_networks="127.0.0.1", fetch_ports=str(port))


if __name__ == "__main__":
    main()
