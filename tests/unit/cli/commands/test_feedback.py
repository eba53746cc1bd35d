"""`setr feedback`: what it writes is what training reads."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from retrieval.datasets.triplets import read_triplets
from tests.unit.cli.scripted import KEY, ScriptedServer

FEEDBACK = "/galleries/shop/feedback"
IMAGES = "/galleries/shop/images"

Setr = Callable[..., Result]


class Shop(ScriptedServer):
    """Finds its pictures by the external id that is asked for."""

    def __init__(self, *external_ids: str) -> None:
        super().__init__()
        self.names = external_ids
        for number, name in enumerate(external_ids):
            self.on("GET", f"{IMAGES}/{number}/content", httpx.Response(200, content=name.encode()))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == IMAGES:
            name = request.url.params["external_id"]
            found = [number for number, known in enumerate(self.names) if known == name]
            self.on("GET", IMAGES, httpx.Response(200, json={"items": [image(number) for number in found]}))
        return super().handle_request(request)


def image(number: int) -> dict[str, Any]:
    return {
        "id": str(number),
        "external_id": "",
        "attributes": {},
        "sha256": f"{number:064x}",
        "media_type": "image/png",
    }


def judged(external_id: str, *, relevant: bool) -> str:
    row = {"reference": "../sku 1", "text": "in red", "external_id": external_id, "relevant": relevant}
    return json.dumps({**row, "job_id": "j", "judged_at": "2026-11-23T12:00:00Z"})


@pytest.fixture
def server() -> ScriptedServer:
    return Shop("../sku 1", "sku-2", "sku-3")


def test_what_it_writes_is_what_training_reads(setr: Setr, server: ScriptedServer, tmp_path: Path) -> None:
    lines = [judged("sku-2", relevant=True), judged("sku-3", relevant=False), judged("gone", relevant=False)]
    server.on("GET", FEEDBACK, httpx.Response(200, text="\n".join(lines)))
    out = tmp_path / "new" / "shop"
    for _ in range(2):
        result = setr("feedback", "shop", "--out", str(out), "--since", "2026-11-23T00:00:00+01:00")
        assert result.exit_code == 0, result.output
    assert "1 judgements are left out" in result.stderr
    source = f"feedback:{out}/feedback.jsonl"
    assert f"2 judgements: setr train reranker --triplets {source}" in result.stdout
    (triplet,) = read_triplets([source]).triplets
    shown = [path.read_text() for path in (triplet.reference, triplet.target, *triplet.wrong)]
    assert (shown, triplet.text) == (["../sku 1", "sku-2", "sku-3"], "in red")
    assert sorted(path.name for path in out.iterdir()) == ["feedback.jsonl", "images"]
    asked = [request for request in server.requests if request.url.path == FEEDBACK]
    assert {request.url.params["since"] for request in asked} == {"2026-11-23T00:00:00+01:00"}
    assert {request.headers["Authorization"] for request in server.requests} == {f"Bearer {KEY}"}
    fetched = [request for request in server.requests if request.url.path.endswith("/content")]
    assert len(fetched) == 3


def test_nothing_to_train_on(setr: Setr, server: ScriptedServer, tmp_path: Path) -> None:
    server.on("GET", FEEDBACK, httpx.Response(200, text=""))
    result = setr("feedback", "shop", "--out", str(tmp_path / "shop"))
    assert result.exit_code == 1
    assert "nothing to train on" in result.stderr
