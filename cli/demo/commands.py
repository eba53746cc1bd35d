"""The two demo commands: start the service, be its client over HTTP, stop it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click
from rich.console import Console

from cli.client import ApiClient
from cli.commands.connection import fail
from cli.commands.progress import count_bar
from cli.commands.tables import output
from cli.demo.catalog import cached_catalog, demo_items
from cli.demo.check import print_check, score, write_json
from cli.demo.memory import MemoryMeter
from cli.demo.queries import DemoQuery, check_queries, showcase
from cli.demo.report import Stopwatch, print_answers, print_summary, verdict, write_sheet
from cli.demo.session import Asked, ask_all, import_catalog
from cli.demo.tending import tended
from cli.local.errors import StartError
from cli.local.supervisor import sigterm_as_interrupt
from cli.local.up import Stack, running_stack
from cli.transport import ClientError
from core.settings import Settings, load_settings

T = TypeVar("T")

_SHOWN = 10
_CHECK_DEPTH = 50

_out_option = click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default="out/demo",
    show_default=True,
    help="Folder for what is written.",
)


@click.command("demo")
@_out_option
def demo(*, out: Path) -> None:
    """Start everything here, import 600 drawn photos, run eight queries, draw a contact sheet, stop."""
    console, watch = output(), Stopwatch()
    sheet = out / "contact_sheet.png"
    with _failures_as_messages(), MemoryMeter() as meter:
        with _imported_gallery(console, watch) as service:
            asked = _ask(service, showcase(demo_items(), picture=out / "new_photo.jpg"), top_k=_SHOWN)
            print_answers(console, asked)
            with watch.phase("contact sheet"):
                service.run(lambda: write_sheet(service.client, asked, sheet))
        print_summary(console, watch, meter)
        console.print(f"Contact sheet: {sheet.resolve()}", soft_wrap=True, markup=False)
        problem = verdict(asked)
        if problem:
            raise ClientError(problem, hint="`setr demo-check` measures 50 queries.")


@click.command("demo-check")
@_out_option
def demo_check(*, out: Path) -> None:
    """Run 50 composed queries on the demo gallery and count the intended products in the top 5, by stage.

    Exit code 0: at least 45 of 50 after re-ranking, and re-ranking is not worse than the coarse order.
    """
    console, watch = output(), Stopwatch()
    details = out / "check.json"
    with _failures_as_messages(), MemoryMeter() as meter:
        with _imported_gallery(console, watch) as service:
            asked = _ask(service, check_queries(), top_k=_CHECK_DEPTH)
        check = score(asked)
        print_check(console, check)
        write_json(details, check, asked)
        print_summary(console, watch, meter)
        console.print(f"Details: {details.resolve()}", soft_wrap=True, markup=False)
        if check.failures:
            raise ClientError("; ".join(check.failures) + ".")


@dataclass(frozen=True, kw_only=True)
class _Service:
    """The running service, and what we need as its client."""

    client: ApiClient
    stack: Stack
    console: Console
    watch: Stopwatch

    def run(self, work: Callable[[], T]) -> T:
        """Do client work while dead children are restarted."""
        return tended(work, poll=self.stack.supervisor.poll)


@contextmanager
def _imported_gallery(console: Console, watch: Stopwatch) -> Iterator[_Service]:
    """A running service whose demo gallery is imported; it stops at the end."""
    settings = _demo_settings()
    with watch.phase("catalog"):
        catalog = cached_catalog(settings.data_dir, demo_items(), console=console)
    console.print("Starting Postgres, Redis, S3, the workers and the API …")
    with ExitStack() as running:
        with watch.phase("start"):
            stack = running.enter_context(running_stack(settings))
            client = running.enter_context(ApiClient(stack.url, stack.api_key))
        service = _Service(client=client, stack=stack, console=console, watch=watch)
        with watch.phase("import"):
            service.run(lambda: import_catalog(client, catalog, console=console))
        yield service
        with watch.phase("stop"):
            running.close()


def _ask(service: _Service, queries: Sequence[DemoQuery], *, top_k: int) -> list[Asked]:
    with service.watch.phase("queries"), count_bar(service.console, "searching", len(queries)) as on_done:
        return service.run(lambda: ask_all(service.client, queries, top_k=top_k, on_done=on_done))


def _demo_settings() -> Settings:
    """Settings of the environment, on a free port unless one is set: the demo must not mind what else runs here."""
    settings = load_settings()
    if "api_port" in settings.model_fields_set:
        return settings
    return settings.model_copy(update={"api_port": 0})


@contextmanager
def _failures_as_messages() -> Iterator[None]:
    """One clean message for what a person can mend; SIGTERM stops everything as Ctrl-C does."""
    try:
        with sigterm_as_interrupt():
            yield
    except StartError as error:
        raise click.ClickException(str(error)) from error
    except ClientError as error:
        fail(error)
