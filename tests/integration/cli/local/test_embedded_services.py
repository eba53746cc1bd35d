"""Real Postgres, Redis and S3 on one data folder: started, used, killed, started again."""

import io
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from minio import Minio
from pydantic import SecretStr

from cli.local.errors import ChildError, StartError
from cli.local.services import EmbeddedServices, RunningServices, delete_data, embedded_services, running_services
from cli.local.state import Ports
from cli.local.supervisor import RestartPolicy, Supervisor
from core.settings import Settings, load_settings

pytestmark = pytest.mark.integration


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """A data folder of its own; private to us, so that root's Postgres has to go elsewhere."""
    folder = tmp_path / "data"
    yield folder
    if folder.exists():
        delete_data(folder)


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A data folder of its own that everybody may enter, unlike pytest's."""
    folder = Path(tempfile.mkdtemp(prefix="setr-"))
    folder.chmod(0o711)
    yield folder
    delete_data(folder)


@pytest.fixture(scope="module")
def services() -> Iterator[RunningServices]:
    with running_services(fsync=False) as running:
        yield running


def database(services: EmbeddedServices) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(services.database_url.replace("+psycopg", ""), autocommit=True)


def broker(services: EmbeddedServices) -> redis.Redis:
    return redis.Redis.from_url(services.redis_url)


def store(services: EmbeddedServices) -> Minio:
    return Minio(
        services.s3_endpoint,
        access_key=services.s3_access_key,
        secret_key=services.s3_secret_key,
        secure=False,
        region=services.s3_region,
    )


def write(services: EmbeddedServices) -> None:
    with database(services) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'row' AS value")
    with broker(services) as client:
        client.set("kept", "message")
    store(services).make_bucket("setr")
    store(services).put_object("setr", "kept", io.BytesIO(b"blob"), 4)


def read(services: EmbeddedServices) -> tuple[object, object, object]:
    with database(services) as connection:
        row = connection.execute("SELECT value FROM kept").fetchone()
    with broker(services) as client:
        message = client.get("kept")
    response = store(services).get_object("setr", "kept")
    try:
        return row and row[0], message, response.read()
    finally:
        response.close()
        response.release_conn()


def test_pgvector_searches_half_vectors_in_every_database(services: RunningServices) -> None:
    with database(services) as connection:
        connection.execute("CREATE DATABASE another")
    other = services.database_url.replace("+psycopg", "").rsplit("/", 1)[0] + "/another"
    with psycopg.connect(other) as connection:
        connection.execute("CREATE TABLE v (id int PRIMARY KEY, vector halfvec(3) NOT NULL)")
        connection.execute("INSERT INTO v VALUES (1, '[1,0,0]'), (2, '[0,1,0]'), (3, '[0,0,1]')")
        connection.execute("CREATE INDEX ON v USING hnsw (vector halfvec_cosine_ops)")
        connection.execute("SET LOCAL enable_seqscan = off")
        nearest = connection.execute("SELECT id FROM v ORDER BY vector <=> '[0,0.9,0.1]' LIMIT 2").fetchall()
    assert nearest == [(2,), (3,)]


def test_postgres_keeps_unicode_and_utc(services: RunningServices) -> None:
    with database(services) as connection:
        row = connection.execute("SELECT upper('é'), current_setting('timezone'), 'a' > 'B'").fetchone()
    assert row == ("É", "UTC", True)


def test_strangers_are_refused(services: RunningServices) -> None:
    wrong = services.database_url.replace("+psycopg", "").replace("setr:", "setr:x", 1)
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)
    with (
        redis.Redis.from_url(services.redis_url.replace("//:", "//:x")) as client,
        pytest.raises(redis.AuthenticationError),
    ):
        client.ping()


def test_no_secret_shows_in_the_process_list(services: RunningServices) -> None:
    for name in ("postgres", "redis", "s3"):
        arguments = Path(f"/proc/{services.supervisor.pid(name)}/cmdline").read_text()
        for secret in (services.s3_secret_key, services.redis_url.split(":")[2].split("@")[0]):
            assert secret not in arguments


@pytest.mark.parametrize("name", ["postgres", "redis", "s3"])
def test_a_halted_service_comes_back_on_its_port(services: RunningServices, name: str) -> None:
    services.supervisor.halt(name)
    services.supervisor.resume(name)
    with database(services) as connection, broker(services) as client:
        assert connection.execute("SELECT 1").fetchone() == (1,)
        assert client.ping()
    store(services).list_buckets()


def test_data_survive_a_restart(data_dir: Path) -> None:
    with running_services(data_dir, fsync=False) as first:
        write(first)
    with running_services(data_dir, fsync=False) as second:
        assert second.settings == first.settings
        assert read(second) == ("row", b"message", b"blob")


def test_data_survive_a_kill_of_everything(data_dir: Path) -> None:
    with running_services(data_dir, fsync=False) as first:
        write(first)
        for name in ("postgres", "redis", "s3"):
            first.supervisor.kill(name)
    with running_services(data_dir, fsync=False) as second:
        assert read(second) == ("row", b"message", b"blob")


def test_postgres_recovers_under_its_supervisor_when_it_is_killed(services: RunningServices) -> None:
    with database(services) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS recovered AS SELECT 1 AS value")
        services.supervisor.kill("postgres")
        services.supervisor.resume("postgres")
        with pytest.raises(psycopg.OperationalError):
            connection.execute("SELECT 1")
    with database(services) as connection:
        assert connection.execute("SELECT value FROM recovered").fetchone() == (1,)


def test_a_second_start_on_one_data_folder_is_refused(services: RunningServices) -> None:
    with pytest.raises(StartError, match=f"process {os.getpid()}"), running_services(services.data_dir):
        pass
    with pytest.raises(StartError, match="Another setr"):
        delete_data(services.data_dir)


def test_servers_of_the_operator_are_not_started(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url="postgresql+psycopg://db.example/setr",
        redis_url="redis://broker.example/0",
        s3_endpoint="s3.example",
        s3_secure=True,
        s3_access_key=SecretStr("theirs"),
    )
    with embedded_services(settings) as services:
        assert services.children == ()
        assert services.settings == settings.model_copy(update={"data_dir": (tmp_path / "data").resolve()})


def test_a_port_that_is_taken_is_reported_with_the_servers_own_words(services: RunningServices, tmp_path: Path) -> None:
    taken = int(services.redis_url.rsplit(":", 1)[1].split("/")[0])
    settings = Settings(data_dir=tmp_path / "data", database_url="postgresql://elsewhere", s3_endpoint="elsewhere")
    with embedded_services(settings, ports=Ports(redis=taken)) as others:
        policy = RestartPolicy(first_delay_s=0.0)
        supervisor = Supervisor(others.children, log_dir=others.log_dir, policy=policy, report=lambda _: None)
        with pytest.raises(ChildError, match=r"(?s)redis died 5 times.*Address already in use"):
            supervisor.start()


def test_an_interrupted_first_start_leaves_nothing_half_made(open_dir: Path) -> None:
    half = open_dir / "postgres" / "cluster.new"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    with running_services(open_dir, fsync=False) as services:
        assert not half.exists()
        with database(services) as connection:
            assert connection.execute("SELECT 1").fetchone() == (1,)


OWNER = """
import json, sys
from pathlib import Path
from cli.local.services import running_services
from core.settings import settings_environment

with running_services(Path(sys.argv[1]), fsync=False) as services:
    print(json.dumps(settings_environment(services.settings)), flush=True)
    services.supervisor.run_forever()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells children of their parent's death")
def test_a_start_right_after_the_supervisor_was_killed_finds_all_data(
    open_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = subprocess.Popen(  # noqa: S603 - our own source text
        [sys.executable, "-c", OWNER, str(open_dir)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert owner.stdout is not None
        for name, value in json.loads(owner.stdout.readline()).items():
            monkeypatch.setenv(name, value)
        write(EmbeddedServices(children=(), settings=load_settings()))
    finally:
        owner.kill()
        owner.communicate()
    with running_services(open_dir, fsync=False) as second:
        assert read(second) == ("row", b"message", b"blob")
