"""Connections to Postgres."""

import select
from typing import Any

from sqlalchemy import Engine, event, make_url
from sqlalchemy import create_engine as sqlalchemy_engine
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DisconnectionError

from core.errors import InvalidInputError
from core.settings import Settings

CONNECT_TIMEOUT_S = 5
POOL_TIMEOUT_S = 10
# A peer that vanished without a word is noticed after about 20 s, also in the middle of a statement.
_SILENCE = {
    "keepalives": 1,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,
}


def create_engine(
    settings: Settings, *, application_name: str = "setr", statement_timeout_s: float | None = None
) -> Engine:
    """A lazy pool of at most `database_pool_size` connections. InvalidInputError when the URL is none of Postgres's."""
    options = {} if statement_timeout_s is None else {"options": f"-c statement_timeout={statement_timeout_s:g}s"}
    engine = sqlalchemy_engine(
        postgres_url(settings.database_url),
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=POOL_TIMEOUT_S,
        pool_use_lifo=True,  # under light load few connections stay busy, so their caches stay warm
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_S,
            "application_name": application_name,
            **_SILENCE,
            **options,
        },
    )
    event.listen(engine, "checkout", _refuse_closed)
    return engine


def postgres_url(text: str) -> URL:
    """The URL for psycopg 3, from any of the usual spellings. InvalidInputError when it is not Postgres's."""
    try:
        url = make_url(text)
    except ArgumentError as error:
        raise InvalidInputError(
            "SETR_DATABASE_URL is not a URL; write postgresql://user:password@host:port/database."
        ) from error
    if url.get_backend_name() not in {"postgresql", "postgres"}:
        raise InvalidInputError("SETR_DATABASE_URL must name a Postgres server (postgresql://…).")
    return url.set(drivername="postgresql+psycopg")


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:  # noqa: ARG001 - SQLAlchemy's signature
    """Refuse a pooled connection whose server has hung up.

    A pre-ping costs a round trip at each checkout. An idle connection has nothing to read unless the server closed it
    or said goodbye, so asking the socket is enough, and takes microseconds.
    """
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN)
    if poll.poll(0):
        raise DisconnectionError("The server closed this connection.")
