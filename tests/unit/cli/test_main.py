import subprocess
import sys
from collections.abc import Callable

import click
import pytest
from click.testing import CliRunner, Result

from cli.main import SECTIONS, main

HEAVY = ("torch", "flask", "sqlalchemy", "celery", "minio", "numpy", "pydantic")
CLIENT_COMMANDS = ("import", "search", "jobs", "galleries")
OURS = [entry for entries in SECTIONS.values() for entry in entries.values()]


@pytest.mark.parametrize("arguments", [(), *((name,) for name in CLIENT_COMMANDS)])
def test_client_commands_load_nothing_heavy(arguments: tuple[str, ...]) -> None:
    script = (
        "import sys\nfrom cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"print('loaded:', [name for name in {HEAVY!r} if name in sys.modules])"
    )
    ran = subprocess.run(  # noqa: S603 - our own interpreter and script
        [sys.executable, "-c", script, *arguments, "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage:" in ran.stdout
    assert "loaded: []" in ran.stdout


def test_overview_lists_every_command_with_its_summary() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for entries in SECTIONS.values():
        for name, entry in entries.items():
            assert name in result.output
            assert entry.summary in result.output


@pytest.mark.parametrize("entry", OURS, ids=lambda entry: entry.target)
def test_every_command_can_be_loaded(entry: object) -> None:
    assert isinstance(entry.load(), click.Command)  # type: ignore[attr-defined]


def test_an_unknown_command_is_a_usage_error(setr: Callable[..., Result]) -> None:
    result = setr("serach")
    assert result.exit_code == 2
    assert "No such command" in result.output
