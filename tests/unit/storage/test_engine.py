import pytest

from core.errors import InvalidInputError
from storage.engine import postgres_url


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_spelling_of_a_postgres_url_is_for_psycopg_3(scheme: str) -> None:
    url = postgres_url(f"{scheme}://shop:p%40ss@db:5433/setr?sslmode=require")
    assert url.drivername == "postgresql+psycopg"
    assert (url.username, url.password, url.host, url.port, url.database) == ("shop", "p@ss", "db", 5433, "setr")
    assert url.query == {"sslmode": "require"}


@pytest.mark.parametrize("text", ["", "mysql://db/setr", "db:5432"])
def test_a_url_of_something_else_names_the_setting(text: str) -> None:
    with pytest.raises(InvalidInputError, match="SETR_DATABASE_URL"):
        postgres_url(text)
