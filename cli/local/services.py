"""The embedded services as one: what `setr up`, the demo and the tests run on."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import SecretStr

from cli.local.child import Child
from cli.local.postgres import Postgres
from cli.local.redis import Redis
from cli.local.s3 import S3
from cli.local.state import Identity, Ports, identity, locked
from cli.local.supervisor import Supervisor
from core.settings import Settings, inherited_environment

_FOREIGN_PREFIXES = ("PG", "RCLONE_", "SETR_")
_POSTGRES_FOLDER = "postgres"


@dataclass(frozen=True, kw_only=True)
class EmbeddedServices:
    """The services to start, in order, and the settings that reach them.

    `settings` are the operator's, with `data_dir` absolute and the embedded services' URLs and credentials filled in.
    """

    children: tuple[Child, ...]
    settings: Settings

    @property
    def data_dir(self) -> Path:
        """The absolute data folder."""
        return self.settings.data_dir

    @property
    def log_dir(self) -> Path:
        """Where children log."""
        return self.data_dir / "logs"

    @property
    def database_url(self) -> str:
        """SQLAlchemy URL, password included; pgvector is installed in its database."""
        return self.settings.database_url

    @property
    def redis_url(self) -> str:
        """Broker URL, password included."""
        return self.settings.redis_url

    @property
    def s3_endpoint(self) -> str:
        """host:port of the S3 API."""
        return self.settings.s3_endpoint

    @property
    def s3_access_key(self) -> str:
        """S3 access key."""
        return self.settings.s3_access_key.get_secret_value()

    @property
    def s3_secret_key(self) -> str:
        """S3 secret key."""
        return self.settings.s3_secret_key.get_secret_value()

    @property
    def s3_region(self) -> str:
        """S3 region, to be sent explicitly."""
        return self.settings.s3_region


@dataclass(frozen=True, kw_only=True)
class RunningServices(EmbeddedServices):
    """Embedded services that run, and the supervisor to kill, halt and resume them with."""

    supervisor: Supervisor


@contextmanager
def embedded_services(
    settings: Settings, *, ports: Ports | None = None, fsync: bool = True
) -> Iterator[EmbeddedServices]:
    """Hold the data folder and prepare in it whichever of Postgres, Redis and S3 the settings name no server for.

    Nothing runs yet: the children are for a Supervisor. The first time takes about 2 s (a new database cluster).
    Raises StartError when the folder is in use or unwritable, a program is not installed, or root finds no place that
    Postgres's unprivileged user can reach.
    """
    data_dir = settings.data_dir.expanduser().resolve()
    with locked(data_dir):
        known = identity(data_dir, ports or Ports())
        children, found = _compose(settings, data_dir, known, fsync=fsync)
        yield EmbeddedServices(children=children, settings=settings.model_copy(update={"data_dir": data_dir, **found}))


@contextmanager
def running_services(data_dir: Path | None = None, *, fsync: bool = True) -> Iterator[RunningServices]:
    """Start all three embedded services and wait until they are ready; stop them at the end. For tests and benchmarks.

    Whatever the environment says about servers is ignored, so that no test ever meets an operator's data. Without
    `data_dir` a temporary one is used and removed. Call it in the main thread: children die with their thread.
    Raises StartError, also as ChildError when a service does not start.
    """
    if data_dir is None:
        with temporary_data_dir() as temporary, running_services(temporary, fsync=fsync) as running:
            yield running
        return
    settings = Settings(
        data_dir=data_dir,
        database_url="",
        redis_url="",
        s3_endpoint="",
        s3_access_key=SecretStr(""),
        s3_secret_key=SecretStr(""),
        s3_public_endpoint="",
        s3_secure=False,
    )
    with (
        embedded_services(settings, fsync=fsync) as services,
        Supervisor(services.children, log_dir=services.log_dir) as supervisor,
    ):
        yield RunningServices(children=services.children, settings=services.settings, supervisor=supervisor)


def delete_data(data_dir: Path) -> None:
    """Remove a data folder, also the part of it that root keeps elsewhere. Raises StartError when it is in use."""
    with locked(data_dir):
        cluster = data_dir / _POSTGRES_FOLDER
        if cluster.is_symlink():
            shutil.rmtree(cluster.resolve(), ignore_errors=True)
        shutil.rmtree(data_dir)


@contextmanager
def temporary_data_dir() -> Iterator[Path]:
    """A new data folder in the system's temporary folder, removed at the end. For tests and benchmarks."""
    folder = Path(tempfile.mkdtemp(prefix="setr-"))
    folder.chmod(0o711)  # for Postgres's unprivileged user, when we are root
    try:
        yield folder
    finally:
        delete_data(folder)


def _compose(
    settings: Settings, data_dir: Path, known: Identity, *, fsync: bool
) -> tuple[tuple[Child, ...], dict[str, object]]:
    """Children and resulting settings of those services that have no server yet."""
    env, ports = _environment(), known.ports
    children: list[Child] = []
    found: dict[str, object] = {}
    if not settings.database_url:
        folder = data_dir / _POSTGRES_FOLDER
        postgres = Postgres(
            folder=folder,
            port=ports.postgres,
            password=known.postgres_password,
            env=env,
            fsync=fsync,
            buffers_mib=settings.postgres_buffers_mib,
        )
        children.append(postgres.child())
        found["database_url"] = postgres.url
    if not settings.redis_url:
        redis = Redis(folder=data_dir / "redis", port=ports.redis, password=known.redis_password, env=env)
        children.append(redis.child())
        found["redis_url"] = redis.url
    if not settings.s3_endpoint:
        access_key, secret_key = known.s3_access_key, known.s3_secret_key
        s3 = S3(folder=data_dir / "s3", port=ports.s3, access_key=access_key, secret_key=secret_key, env=env)
        children.append(s3.child())
        found |= {
            "s3_endpoint": s3.endpoint,
            "s3_secure": False,
            "s3_access_key": SecretStr(access_key),
            "s3_secret_key": SecretStr(secret_key),
        }
    return tuple(children), found


def _environment() -> Mapping[str, str]:
    """Our environment without what would steer Postgres or rclone, or is none of their business."""
    kept = {name: value for name, value in inherited_environment().items() if not name.startswith(_FOREIGN_PREFIXES)}
    return kept | {"LC_ALL": "C"}
