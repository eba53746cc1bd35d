"""Start the scheduler: `python -m workers.beat`. One process; its ticks are idempotent, so a second does no harm."""

import click

from core import logs
from core.settings import load_settings
from workers.app import create_celery


@click.command()
def main() -> None:
    """Send the periodic ticks until SIGTERM. The schedule is fixed, so no state is kept on disk."""
    settings = load_settings()
    logs.configure(settings, process="beat")
    app = create_celery(settings)
    app.Beat(loglevel="WARNING", scheduler="celery.beat:Scheduler", redirect_stdouts=False).run()


if __name__ == "__main__":
    main()
