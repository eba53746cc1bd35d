"""One running service for all functional tests."""

import io
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from benchmarks.checkpoints import narrowed_encoder
from cli.local.up import Stack, running_stack
from core.settings import Settings

PATIENCE_S = 120.0


@dataclass(frozen=True, slots=True)
class Service:
    """A client's view of the running service, and the supervisor to hurt it with."""

    stack: Stack
    http: httpx.Client

    def job(self, job_id: str) -> dict[str, Any]:
        answer = self.http.get(f"/jobs/{job_id}")
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def until(self, condition: Callable[[], Any], *, patience_s: float = PATIENCE_S) -> Any:
        """Poll until the condition holds; a dead child is restarted meanwhile."""
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            self.stack.supervisor.poll()
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError(f"nothing came of it within {patience_s:.0f} s")

    def ended(self, job_id: str) -> dict[str, Any]:
        """The job once it is terminal; its sums are checked on the way."""

        def terminal() -> dict[str, Any] | None:
            job = self.job(job_id)
            adds_up(job)
            return job if job["state"] in {"succeeded", "partially_succeeded", "failed", "canceled"} else None

        job: dict[str, Any] = self.until(terminal)
        assert job["progress"]["pending"] == 0
        return job

    def gallery(self, name: str) -> str:
        answer = self.http.post("/galleries", json={"name": name})
        assert answer.status_code == 201, answer.text
        return name

    def import_files(self, gallery: str, *files: tuple[str, bytes]) -> str:
        answer = self.http.post(f"/galleries/{gallery}/imports", files=[("file", (name, data)) for name, data in files])
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])

    def query(self, gallery: str, **query: Any) -> dict[str, Any]:
        answer = self.http.post(f"/galleries/{gallery}/queries", json=query)
        assert answer.status_code == 202, answer.text
        return self.ended(answer.json()["id"])

    def image_count(self, gallery: str) -> int:
        return int(self.http.get(f"/galleries/{gallery}").json()["image_count"])


def adds_up(job: dict[str, Any]) -> None:
    """The invariant of every job at every moment."""
    progress = job["progress"]
    if progress["total"] is not None:
        assert progress["total"] == sum(count for name, count in progress.items() if name != "total"), job


def zipped(entries: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name, data in entries.items():
            archive.writestr(name, data)
    return target.getvalue()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """The whole service, run for all tests."""
    with running_service(tmp_path_factory) as running:
        yield running


@contextmanager
def running_service(tmp_path_factory: pytest.TempPathFactory, *, broker_url: str = "") -> Iterator[Service]:
    """The whole service on free ports, with short leases so that recovery is quick to watch."""
    folder = Path(tmp_path_factory.mktemp("setr", numbered=True))
    for parent in (folder, *folder.parents[:2]):
        parent.chmod(0o755)
    narrow = narrowed_encoder(Settings().models_dir / "demo-encoder", 96, into=folder)
    settings = Settings(
        redis_url=broker_url,
        data_dir=folder,
        api_port=0,
        lease_s=4.0,
        heartbeat_s=1.0,
        worker_dead_after_s=8.0,
        reconcile_every_s=2.0,
        deadlines_every_s=0.5,
        rerank_budget_s=PATIENCE_S,
        embed_batch=4,
        unit_items=32,
        torch_threads=1,
        encoders={"demo": "demo", "narrow": f"local-dir:{narrow}"},
        fetch_networks="127.0.0.1",
        fetch_ports="1024-65535",
        import_prefixes={"*": ["s3://catalog/open/", "s3://absent/"]},
        webhook_pauses_s=(0.2, 0.2),
    )
    with running_stack(settings) as stack:
        headers = {"Authorization": f"Bearer {stack.api_key}"}
        with httpx.Client(base_url=stack.url, headers=headers, timeout=60.0) as http:
            yield Service(stack, http)
