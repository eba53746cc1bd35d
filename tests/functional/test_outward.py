"""What leaves the service by itself: webhooks and exports, with real workers and the scheduler."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from core.webhooks import signature
from tests import pictures
from tests.functional.conftest import Service, zipped
from tests.functional.test_command_line import setr
from tests.web import Receiver, webhook_receiver

pytestmark = pytest.mark.functional


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with webhook_receiver() as running:
        yield running


def test_an_import_calls_back_until_it_is_heard(service: Service, receiver: Receiver) -> None:
    receiver.statuses = [500]
    gallery = service.gallery("calling")
    files = {"file": ("a.zip", zipped({"a.jpg": pictures.jpeg(), "b.jpg": pictures.jpeg(), "c.jpg": b"broken"}))}
    made = service.http.post(f"/galleries/{gallery}/imports", files=files, data={"callback_url": receiver.url}).json()
    service.until(lambda: len(receiver.came) == 2)
    (delivery,) = service.until(lambda: delivered(service, made))
    assert (delivery["state"], delivery["attempts"], delivery["status"]) == ("delivered", 2, 204)
    secret = service.http.get("/webhooks/secret").json()["secret"]
    for headers, body in receiver.came:
        expected = signature(secret, made["id"], int(headers["webhook-timestamp"]), body)
        assert headers["webhook-signature"] == expected
        event = json.loads(body)
        assert event["type"] == "job.partially_succeeded"
        assert {**event["data"], "links": absolute(service, event["data"]["links"])} == service.job(made["id"])
    (group,) = service.http.get(f"/galleries/{gallery}/duplicates").json()["items"]
    assert [image["external_id"] for image in group["images"]] == ["a.jpg", "b.jpg"]


def absolute(service: Service, links: dict[str, str | None]) -> dict[str, str | None]:
    """Links as a request shows them: where the service has no public URL, those of webhooks are paths."""
    origin = str(service.http.base_url).rstrip("/")
    return {name: None if path is None else f"{origin}{path}" for name, path in links.items()}


def delivered(service: Service, job: dict[str, Any]) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = service.http.get(f"/jobs/{job['id']}/deliveries").json()["items"]
    return [item for item in items if item["state"] == "delivered"]


def test_a_gallery_is_exported_to_this_disk(service: Service, tmp_path: Path) -> None:
    gallery = service.gallery("leaving")
    service.ended(service.import_files(gallery, ("a.jpg", pictures.jpeg()), ("b.png", pictures.png())))
    done = setr(service, "export", gallery, "--out", str(tmp_path))
    assert done.returncode == 0, done.stderr
    table = pq.read_table(tmp_path / "part-00000.parquet").to_pylist()
    assert sorted(row["external_id"] for row in table) == ["a.jpg", "b.png"]
    assert all(abs(sum(value**2 for value in row["vector"]) - 1) < 0.01 for row in table)
