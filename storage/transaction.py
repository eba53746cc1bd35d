"""One database transaction, with the driver's errors translated."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, CursorResult, Executable
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from core.errors import UnavailableError

Parameters = Mapping[str, Any] | Sequence[Mapping[str, Any]]


class Transaction:
    """What repositories run statements on. Only the unit of work can commit."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def execute(self, statement: Executable, parameters: Parameters | None = None) -> CursorResult[*tuple[Any, ...]]:
        """Run a statement. UnavailableError when Postgres is gone, overloaded or broke a deadlock."""
        with translated():
            return self._connection.execute(statement, parameters)


@contextmanager
def translated() -> Iterator[None]:
    """Turn a lost connection and everything else that may pass by itself into UnavailableError."""
    try:
        yield
    except (OperationalError, PoolTimeoutError) as error:
        raise _unavailable() from error
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise _unavailable() from error


def _unavailable() -> UnavailableError:
    return UnavailableError("The database does not answer; try again in a moment.")
