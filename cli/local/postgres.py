"""The embedded Postgres 18 with pgvector: one cluster in one folder, reachable on loopback only."""

import pwd
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cli.local.binaries import POSTGRES_BIN, POSTGRES_PARTS, postgres_root
from cli.local.child import Child
from cli.local.errors import StartError
from cli.local.privileges import reachable_copy, reachable_folder, unprivileged_user

_NAME = "setr"  # of the role and of the database

# Sized for a laptop that also runs models: the whole cluster idles at about 60 MB.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",  # a socket path may not exceed 107 bytes, and a data folder's path may
    "max_connections": "100",
    "max_wal_size": "1GB",
    "wal_level": "minimal",  # nobody replicates from here, and bulk loads write less
    "max_wal_senders": "0",
    "jit": "off",  # compiling costs more than our short queries gain
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}
# Containers limit the usual /dev/shm to 64 MB, too little for a parallel index build. Elsewhere sysv is scarce.
_SETTINGS_ON_LINUX = {"dynamic_shared_memory_type": "sysv"}
# Commits still reach the operating system before they are answered, so a kill of the processes loses nothing.
_SETTINGS_WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One cluster in `folder` on 127.0.0.1:`port`.

    `fsync=False` is faster and loses the cluster when the machine (not just the process) dies: for tests only.
    """

    folder: Path
    port: int
    password: str
    env: Mapping[str, str]
    fsync: bool = True
    buffers_mib: int = 128

    @property
    def url(self) -> str:
        """SQLAlchemy URL of the application's database; its role is the cluster's superuser."""
        return f"postgresql+psycopg://{_NAME}:{self.password}@127.0.0.1:{self.port}/{_NAME}"

    def child(self) -> Child:
        """Make the cluster when there is none yet (about 1 s), and describe its server. Raises StartError."""
        user = unprivileged_user()
        programs = reachable_copy(postgres_root(), user, parts=POSTGRES_PARTS) / POSTGRES_BIN
        cluster = reachable_folder(self.folder, user) / "cluster"
        if cluster.exists():
            _check_owner(cluster, user)
        else:
            _ClusterMaker(programs, cluster, user, self).make()
        options = [part for name, value in self._settings().items() for part in ("-c", f"{name}={value}")]
        return Child(
            name="postgres",
            argv=(str(programs / "postgres"), "-D", str(cluster), *options),
            env=self.env,
            cwd=cluster,
            ready=self._answers,
            stop_signal=signal.SIGINT,  # fast shutdown: ends sessions instead of waiting for clients to leave
            orphan_signal=signal.SIGQUIT,  # ends its backends within 5 s; SIGKILL would leave them for a moment more
            user=user,
        )

    def _settings(self) -> dict[str, str]:
        settings = {"port": str(self.port), "shared_buffers": f"{self.buffers_mib}MB"} | _SETTINGS
        if sys.platform == "linux":
            settings |= _SETTINGS_ON_LINUX
        if not self.fsync:
            settings |= _SETTINGS_WITHOUT_FSYNC
        return settings

    def _answers(self) -> bool:
        url = self.url.replace("+psycopg", "")
        try:
            with psycopg.connect(url, connect_timeout=2) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True


def _check_owner(cluster: Path, user: str | None) -> None:
    owner = cluster.stat().st_uid
    if user is not None and owner != pwd.getpwnam(user).pw_uid:
        raise StartError(
            f"The database in {cluster} belongs to another user (uid {owner}), and Postgres runs only as its owner. "
            "Run setr as that user, or choose another data folder (SETR_DATA_DIR)."
        )


@dataclass(frozen=True)
class _ClusterMaker:
    """Makes a complete cluster beside its final place and renames it there: an interrupted attempt leaves none."""

    programs: Path
    cluster: Path
    user: str | None
    server: Postgres

    def make(self) -> None:
        """Make the cluster with role, database and extension. StartError repeats what Postgres said."""
        scratch = self.cluster.with_name("cluster.new")
        shutil.rmtree(scratch, ignore_errors=True)
        self._initdb(scratch)
        # In template1, so that databases made later (by tests) have the extension too.
        self._single_user(scratch, database="template1", sql="CREATE EXTENSION vector")
        self._single_user(scratch, database="postgres", sql=f"CREATE DATABASE {_NAME}")
        scratch.rename(self.cluster)

    def _initdb(self, folder: Path) -> None:
        password = self._password_file()
        options = [
            f"--pgdata={folder}",
            f"--username={_NAME}",
            f"--pwfile={password}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            # Order by code point, with the upper and lower case of all of Unicode, the same on every machine.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
        ]
        if not self.server.fsync:
            options.append("--no-sync")
        self._run("initdb", *options)
        password.unlink()

    def _password_file(self) -> Path:
        path = self.cluster.with_name("password.new")
        path.unlink(missing_ok=True)
        path.touch(mode=0o600)
        path.write_text(self.server.password)
        if self.user:
            shutil.chown(path, user=self.user)
        return path

    def _single_user(self, folder: Path, *, database: str, sql: str) -> None:
        durable = "on" if self.server.fsync else "off"
        options = ("--single", "-D", str(folder), "-c", f"fsync={durable}", "-c", "exit_on_error=true")
        self._run("postgres", *options, database, stdin=sql)

    def _run(self, program: str, *arguments: str, stdin: str = "") -> None:
        gid = pwd.getpwnam(self.user).pw_gid if self.user else None
        result = subprocess.run(  # noqa: S603 - our own programs and arguments
            [str(self.programs / program), *arguments],
            input=f"{stdin}\n",
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=dict(self.server.env),
            user=self.user,
            group=gid,
            extra_groups=[] if self.user else None,
        )
        if result.returncode != 0:
            output = f"{result.stdout}{result.stderr}"
            raise StartError(f"Making the database in {self.cluster} failed in {program}:\n{output}")
