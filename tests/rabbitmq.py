"""A RabbitMQ of our own for tests, when the machine has one: in a temporary folder, on loopback, with its own epmd."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cli.local.child import Child
from cli.local.supervisor import Supervisor
from core.settings import inherited_environment

# Debian's script on PATH insists on its own user and folders; the program behind it does not.
_PROGRAMS = ("/usr/lib/rabbitmq/bin/rabbitmq-server", "rabbitmq-server")
# One scheduler that sleeps when there is nothing to do: the broker shares its cores with everything else in the test.
_MODEST = "+S 1:1 +sbwt none +sbwtdcpu none +sbwtdio none"
_READY_TIMEOUT_S = 240.0


def program() -> str | None:
    """The server's program; None when there is none, or no epmd for it."""
    found = next((path for name in _PROGRAMS if (path := shutil.which(name))), None)
    return found if shutil.which("epmd") else None


@dataclass(frozen=True)
class RabbitMQ:
    """A running broker."""

    url: str
    supervisor: Supervisor

    def restart(self) -> None:
        """Kill it and start it again."""
        self.supervisor.kill("rabbitmq")
        self.supervisor.resume("rabbitmq")


@contextmanager
def running_rabbitmq(folder: Path) -> Iterator[RabbitMQ]:
    """Start it, stop it at the end. StartError says why it did not come up."""
    server, epmd = program(), shutil.which("epmd")
    if server is None or epmd is None:
        raise LookupError("There is no rabbitmq-server here.")
    port, epmd_port = _free_port(), _free_port()
    env = inherited_environment() | _environment(folder, port, epmd_port)
    children = [
        Child(name="epmd", argv=(epmd, "-port", str(epmd_port), "-address", "127.0.0.1"), env=env),
        Child(
            name="rabbitmq",
            argv=(server,),
            env=env,
            ready=lambda: _answers(port),
            ready_timeout_s=_READY_TIMEOUT_S,
        ),
    ]
    with Supervisor(children, log_dir=folder / "logs") as supervisor:
        yield RabbitMQ(f"amqp://guest:guest@127.0.0.1:{port}//", supervisor)


def _environment(folder: Path, port: int, epmd_port: int) -> dict[str, str]:
    plugins = folder / "plugins"
    plugins.write_text("[].")
    return {
        "HOME": str(folder),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(epmd_port),
        "RABBITMQ_NODENAME": "setr-test@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(_free_port()),
        "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
        "RABBITMQ_LOG_BASE": str(folder),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_PID_FILE": str(folder / "pid"),
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _MODEST,
    }


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _answers(port: int) -> bool:
    """Whether it offers to begin a connection by the protocol's version 0-9-1."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"  # the type of a method's frame
    except OSError:
        return False
