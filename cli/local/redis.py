"""The embedded Redis: the message broker, on loopback only."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import redis

from cli.local.binaries import redis_program
from cli.local.child import Child

# Messages are only doorbells, so a bounded broker that refuses more of them loses no work.
_CONFIG = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {folder}
daemonize no
logfile ""
save ""
appendonly yes
appendfsync everysec
maxmemory 256mb
maxmemory-policy noeviction
tcp-backlog 128
"""


@dataclass(frozen=True, kw_only=True)
class Redis:
    """One Redis with its data in `folder` on 127.0.0.1:`port`."""

    folder: Path
    port: int
    password: str
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        """Broker URL, password included."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def child(self) -> Child:
        """Write the configuration (in a file, as arguments are for all to see) and describe the server.

        Raises StartError when no Redis is installed.
        """
        program = redis_program()
        self.folder.mkdir(mode=0o700, exist_ok=True)
        config = self.folder / "redis.conf"
        config.touch(mode=0o600)
        config.write_text(_CONFIG.format(port=self.port, password=self.password, folder=_quoted(str(self.folder))))
        return Child(
            name="redis",
            argv=(str(program), str(config)),
            env=self.env,
            cwd=self.folder,
            ready=self._answers,
        )

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1, socket_connect_timeout=1) as client:
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
