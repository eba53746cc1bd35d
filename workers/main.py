"""Start a worker: `python -m workers.main --queues embed,embed.gpu`. Also the entry point in containers."""

import os
import socket
from uuid import uuid4

import click

from core import logs
from core.models import Queue, WorkerBeat
from core.settings import Settings, load_settings
from workers.app import create_celery, register
from workers.heartbeat import Heartbeat
from workers.wiring import EMBED_QUEUES, build_adapters, build_context, build_handlers

INPUT_OUTPUT_QUEUES = frozenset({Queue.INGEST, Queue.MAINTENANCE})


@click.command()
@click.option("--queues", required=True, help="Comma-separated queues to take from.")
def main(queues: str) -> None:
    """Run one worker process until SIGTERM."""
    settings = load_settings()
    taken = tuple(Queue(name) for name in queues.split(","))
    logs.configure(settings, process=f"worker:{queues}")
    run(settings, taken)


def run(settings: Settings, queues: tuple[Queue, ...]) -> None:
    """Consume the queues until asked to stop. Models are loaded before the first message is taken."""
    ctx = build_context(settings)
    app = create_celery(settings)
    name = f"{'+'.join(queues)}@{socket.gethostname()}:{uuid4().hex[:8]}"
    beat = WorkerBeat(name=name, queues=queues, device=settings.device, pid=os.getpid(), host=socket.gethostname())
    register(app, ctx, build_handlers(ctx, queues), Heartbeat(ctx, beat), build_adapters(settings))
    app.worker_main(
        [
            "--quiet",
            "worker",
            f"--queues={','.join(queues)}",
            f"--hostname={name.replace('@', '-').replace(':', '-')}@{socket.gethostname()}",
            *_pool(settings, queues),
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
            "--loglevel=WARNING",
        ]
    )


def _pool(settings: Settings, queues: tuple[Queue, ...]) -> list[str]:
    """Threads where units wait for input and output. Other models run `solo`: one unit at a time. Never a fork."""
    if INPUT_OUTPUT_QUEUES.issuperset(queues):
        return ["--pool=threads", f"--concurrency={settings.ingest_threads}"]
    if EMBED_QUEUES.issuperset(queues):
        return ["--pool=threads", f"--concurrency={settings.embed_units}"]
    return ["--pool=solo"]


if __name__ == "__main__":
    main()
