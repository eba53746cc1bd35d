"""The whole service on one machine: embedded services, migrations, workers and the API under one supervisor."""

import json
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from tenacity import RetryError, Retrying, retry_if_result, stop_after_delay, wait_fixed

from cli.local.child import Child
from cli.local.errors import StartError
from cli.local.services import embedded_services
from cli.local.supervisor import Supervisor, sigterm_as_interrupt
from core.access import authenticate, issue_key
from core.errors import UnauthenticatedError
from core.ports import UnitOfWorkFactory
from core.settings import Settings, inherited_environment, load_settings, settings_environment
from storage.migrate import upgrade
from storage.uow import brief_uow_factory

CLIENT_FILE = "client.json"
READY_TIMEOUT_S = 180.0
TENANT = "default"
WORKERS = "workers"
WORKER_QUEUES = ("ingest", "embed", "query", "rerank", "maintenance", "reconcile")
GPU_QUEUES = {"embed": "embed,embed.gpu"}
# Composing multiplies small matrices, where OpenBLAS's threads wait for each other: on a busy machine 6.2 s instead of
# 0.7 s for 100 queries. It reads the variable when numpy is loaded, so a setting would come too late.
QUEUE_VARIABLES = {"query": {"OPENBLAS_NUM_THREADS": "1"}}


@dataclass(frozen=True, slots=True)
class Stack:
    """A running service: where it answers, the API key, its settings, and the supervisor that holds its processes."""

    url: str
    api_key: str
    settings: Settings
    supervisor: Supervisor


@contextmanager
def running_stack(settings: Settings) -> Iterator[Stack]:
    """Start everything, wait until every queue has a consumer, stop everything at the end.

    Services whose URL the settings name are the operator's and are not started. StartError says what did not come up.
    """
    with embedded_services(settings) as services:
        settings = _with_port(services.settings)
        with Supervisor(services.children, log_dir=services.log_dir) as supervisor:
            api_key = _prepare(settings)
            for child in _processes(settings):
                supervisor.add(child)
            url = f"http://{settings.api_host}:{settings.api_port}"
            _wait_until_ready(url, supervisor)
            _write_client_file(settings.data_dir, url, api_key)
            yield Stack(url=url, api_key=api_key, settings=settings, supervisor=supervisor)


def _with_port(settings: Settings) -> Settings:
    """Port 0 becomes a free one; a port that is taken is an error now, not a crash loop later."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((settings.api_host, settings.api_port))
        except OSError as error:
            raise StartError(
                f"Port {settings.api_port} of {settings.api_host} is taken; stop what uses it, or set SETR_API_PORT."
            ) from error
        return settings.model_copy(update={"api_port": probe.getsockname()[1]})


def _prepare(settings: Settings) -> str:
    """Migrate the schema and make sure that the client file's key works; returns the key."""
    upgrade(settings.database_url)
    known = _read_client_key(settings.data_dir)
    with brief_uow_factory(settings, application_name="setr-up") as uow_factory:
        if known is not None and _is_known(uow_factory, known):
            return known
        return issue_key(uow_factory, tenant=TENANT, label="setr up")


def _is_known(uow_factory: UnitOfWorkFactory, key: str) -> bool:
    try:
        authenticate(uow_factory, key)
    except UnauthenticatedError:
        return False
    return True


def _processes(settings: Settings) -> list[Child]:
    """The same entry commands and variables as docker-compose.yml."""
    env = inherited_environment() | settings_environment(settings)
    gpu = settings.device == "cuda"
    workers = [
        Child(
            name=f"worker-{queues}",
            argv=(sys.executable, "-m", "workers.main", "--queues", GPU_QUEUES.get(queues, queues) if gpu else queues),
            env=env | QUEUE_VARIABLES.get(queues, {}),
            group=WORKERS,
        )
        for queues in WORKER_QUEUES
    ]
    beat = Child(name="beat", argv=(sys.executable, "-m", "workers.beat"), env=env, group=WORKERS)
    url = f"http://{settings.api_host}:{settings.api_port}/healthz"
    api = Child(
        name="api",
        argv=(sys.executable, "-m", "api.server"),
        env=env,
        ready=lambda: _answers(url),
        ready_timeout_s=READY_TIMEOUT_S,
    )
    return [*workers, beat, api]


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=1.0).is_success
    except httpx.HTTPError:
        return False


def _wait_until_ready(url: str, supervisor: Supervisor) -> None:
    def ready() -> bool:
        supervisor.poll()
        return _answers(f"{url}/readyz")

    retrying = Retrying(
        retry=retry_if_result(lambda answer: not answer), stop=stop_after_delay(READY_TIMEOUT_S), wait=wait_fixed(0.25)
    )
    try:
        retrying(ready)
    except RetryError as error:
        raise StartError(
            f"The workers were not ready within {READY_TIMEOUT_S:.0f} s; {url}/readyz names what is missing, and the"
            " logs folder of the data directory says why."
        ) from error


def _write_client_file(data_dir: Path, url: str, api_key: str) -> None:
    path = data_dir / CLIENT_FILE
    path.touch(mode=0o600)
    path.chmod(0o600)
    path.write_text(json.dumps({"url": url, "api_key": api_key}))


def _read_client_key(data_dir: Path) -> str | None:
    path = data_dir / CLIENT_FILE
    if not path.exists():
        return None
    key = json.loads(path.read_text()).get("api_key")
    return key if isinstance(key, str) else None


@click.command()
def up() -> None:
    """Start the whole service on this machine and stay until Ctrl-C.

    Postgres, Redis and an S3 server are started too, unless SETR_DATABASE_URL, SETR_REDIS_URL or SETR_S3_ENDPOINT name
    the operator's own. Data, logs and the API key are kept in SETR_DATA_DIR (default: .setr in this folder).
    """
    settings = load_settings()
    click.echo(f"Starting; data and logs are in {settings.data_dir} …")
    try:
        with suppress(KeyboardInterrupt), sigterm_as_interrupt(), running_stack(settings) as stack:
            click.echo(f"\n  API      {stack.url}")
            click.echo(f"  Docs     {stack.url}/docs")
            click.echo(f"  API key  {stack.api_key}")
            click.echo("\nCommands run in this folder use them by themselves. Ctrl-C stops everything.")
            stack.supervisor.run_forever()
    except StartError as error:
        raise click.ClickException(str(error)) from error
    click.echo("Stopped; the data stays.")
