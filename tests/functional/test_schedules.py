"""A gallery that imports by itself: the tick is brought forward in SQL, everything else is the service's own doing."""

import io
import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from PIL import Image

from tests.functional.conftest import Service
from tests.web import WebServer, web_server

pytestmark = pytest.mark.functional
GALLERY = "by-itself"
PATH = f"/galleries/{GALLERY}/schedule"
COLOURS = ("red", "green", "blue")


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as server:
        for colour in COLOURS:
            target = io.BytesIO()
            Image.new("RGB", (64, 64), colour).save(target, "JPEG")
            server.pages[f"/{colour}.jpg"] = target.getvalue()
        publish(server, *COLOURS)
        yield server


def publish(site: WebServer, *colours: str) -> None:
    rows = [{"external_id": colour, "image": site.url(f"/{colour}.jpg")} for colour in colours]
    site.pages["/catalog.jsonl"] = "".join(json.dumps(row) + "\n" for row in rows).encode()


def schedule(service: Service) -> dict[str, Any]:
    answer = service.http.get(PATH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def strike(service: Service) -> dict[str, Any]:
    """Let the next tick come now; the job that it makes, ended."""
    before = schedule(service)["last_job"]
    with psycopg.connect(service.stack.settings.database_url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE schedules SET next_tick = now()")
    made = service.until(lambda: schedule(service)["last_job"] != before and schedule(service)["last_job"])
    return service.ended(str(made))


def test_ticks_become_imports(service: Service, site: WebServer) -> None:
    service.gallery(GALLERY)
    body = {
        "cron": "0 3 1 1 *",
        "timezone": "Asia/Tokyo",
        "mode": "mirror",
        "max_delete_share": 0.5,
        "source": {"manifest": site.url("/catalog.jsonl")},
    }
    assert service.http.put(PATH, json=body).status_code == 201
    first = strike(service)
    assert (first["kind"], first["state"], first["progress"]["created"]) == ("import", "succeeded", 3)
    publish(site, "red", "green")
    second = strike(service)
    assert (second["progress"]["unchanged"], second["progress"]["deleted"]) == (2, 1)
    assert schedule(service)["next_tick"].endswith("-12-31T18:00:00Z")
    jobs = service.http.get("/jobs", params={"gallery": GALLERY, "kind": "import"}).json()["items"]
    assert [job["id"] for job in jobs] == [second["id"], first["id"]]
    assert service.http.delete(PATH).status_code == 204
