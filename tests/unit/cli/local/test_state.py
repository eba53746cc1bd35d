"""What a data folder remembers. Ports are given here; choosing free ones needs sockets (integration tests)."""

from dataclasses import replace
from pathlib import Path

import pytest

from cli.local.errors import StartError
from cli.local.state import Ports, identity, locked

PORTS = Ports(postgres=5001, redis=5002, s3=5003)


def test_secrets_are_made_once_and_kept_from_others(tmp_path: Path) -> None:
    first = identity(tmp_path, PORTS)
    assert identity(tmp_path, Ports()) == first
    assert first.postgres_password != first.redis_password
    assert (tmp_path / "services.json").stat().st_mode & 0o777 == 0o600


def test_a_named_port_replaces_the_remembered_one(tmp_path: Path) -> None:
    first = identity(tmp_path, PORTS)
    expected = replace(first, ports=replace(PORTS, redis=6000))
    assert identity(tmp_path, Ports(redis=6000)) == expected
    assert identity(tmp_path, Ports()) == expected


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"ports": {"mysql": 1}}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "services.json").write_text(text)
    with pytest.raises(StartError, match=r"services\.json is damaged"):
        identity(tmp_path, PORTS)


def test_a_folder_serves_one_at_a_time(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    with (
        locked(folder),
        pytest.raises(StartError, match=r"Another setr \(process \d+\) uses the data folder"),
        locked(folder),
    ):
        pass
    with locked(folder):
        assert folder.is_dir()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StartError, match="Cannot write to the data folder"), locked(tmp_path / "file" / "data"):
        pass
