import pytest
from click.testing import CliRunner

from cli.offline.keys import keys


def test_without_a_database_it_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SETR_DATABASE_URL", raising=False)
    result = CliRunner().invoke(keys, ["create", "--label", "first"])
    assert result.exit_code == 1
    assert "SETR_DATABASE_URL is not set" in result.output


def test_a_scope_that_does_not_exist_is_refused() -> None:
    result = CliRunner().invoke(keys, ["create", "--label", "first", "--scope", "everything"])
    assert result.exit_code == 2
    assert "'read', 'write', 'query', 'admin'" in result.output
