"""What a data folder remembers: who uses it now, and the ports and secrets of its services."""

import fcntl
import json
import os
import secrets
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cli.local.errors import StartError

_LOCK = "lock"
_IDENTITY = "services.json"


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Loopback ports of the embedded services; 0: the one used before in this data folder, else a free one."""

    postgres: int = 0
    redis: int = 0
    s3: int = 0


@dataclass(frozen=True, kw_only=True)
class Identity:
    """Ports and secrets, the same at every start on one data folder."""

    ports: Ports
    postgres_password: str
    redis_password: str
    s3_access_key: str
    s3_secret_key: str


@contextmanager
def locked(data_dir: Path) -> Iterator[None]:
    """Make the data folder and hold it for this process. Raises StartError when another process holds it."""
    try:
        # Others may pass through (Postgres runs as another user when we are root) but not look around.
        data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
        descriptor = os.open(data_dir / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise StartError(
            f"Cannot write to the data folder {data_dir} ({error.strerror}). Choose another one (SETR_DATA_DIR)."
        ) from error
    try:
        _lock(descriptor, data_dir)
        yield
    finally:
        os.close(descriptor)  # which also unlocks


def _lock(descriptor: int, data_dir: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        owner = os.pread(descriptor, 20, 0).decode() or "unknown"
        raise StartError(
            f"Another setr (process {owner}) uses the data folder {data_dir}. "
            "Stop it, or choose another folder (SETR_DATA_DIR)."
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)


def identity(data_dir: Path, wanted: Ports) -> Identity:
    """Ports and secrets of the data folder, made at the first start; ports named in `wanted` replace the remembered.

    Raises StartError when the file that keeps them is unreadable.
    """
    path = data_dir / _IDENTITY
    known = _read(path)
    ports = _with_free_ports(_merged(wanted, known.ports if known else Ports()))
    new = replace(known, ports=ports) if known else _fresh(ports)
    if new != known:
        _write(path, new)
    return new


def _fresh(ports: Ports) -> Identity:
    return Identity(
        ports=ports,
        postgres_password=secrets.token_hex(16),
        redis_password=secrets.token_hex(16),
        s3_access_key=secrets.token_hex(10),
        s3_secret_key=secrets.token_hex(20),
    )


def _merged(wanted: Ports, known: Ports) -> Ports:
    return Ports(
        postgres=wanted.postgres or known.postgres, redis=wanted.redis or known.redis, s3=wanted.s3 or known.s3
    )


def _with_free_ports(ports: Ports) -> Ports:
    missing = [name for name, port in asdict(ports).items() if port == 0]
    with ExitStack() as held:  # all at once, so that no port is given twice
        sockets = [held.enter_context(socket.socket()) for _ in missing]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return replace(ports, **{name: each.getsockname()[1] for name, each in zip(missing, sockets, strict=True)})


def _read(path: Path) -> Identity | None:
    if not path.exists():
        return None
    try:
        values = json.loads(path.read_text())
        return Identity(ports=Ports(**values.pop("ports")), **values)
    except (ValueError, TypeError, KeyError) as error:
        raise StartError(
            f"{path} is damaged. Restore it, or remove {path.parent} to start afresh without its data."
        ) from error


def _write(path: Path, value: Identity) -> None:
    scratch = path.with_suffix(".new")
    scratch.unlink(missing_ok=True)
    with os.fdopen(os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        json.dump(asdict(value), stream, indent=2)
        stream.flush()
        os.fsync(stream.fileno())
    scratch.replace(path)
