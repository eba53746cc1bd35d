"""A scripted server, and the `setr` command on top of it."""

from collections.abc import Callable
from pathlib import Path

import click.testing
import pytest

from cli.main import main
from tests.unit.cli.scripted import KEY, URL, Pauses, ScriptedServer


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def setr(server: ScriptedServer, tmp_path: Path) -> Callable[..., click.testing.Result]:
    """Run `setr …` against the scripted server, away from this machine's own data folder and environment."""

    def run(*arguments: str, env: dict[str, str | None] | None = None) -> click.testing.Result:
        clean = {"SETR_URL": URL, "SETR_API_KEY": KEY, "SETR_DATA_DIR": str(tmp_path / ".setr"), "COLUMNS": "160"}
        return click.testing.CliRunner().invoke(main, list(arguments), env={**clean, **(env or {})}, obj=server)

    return run
