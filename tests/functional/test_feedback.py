"""Search, judge, fetch: feedback from a query to the rows and pictures that training reads."""

import json
from pathlib import Path

import pytest

from tests import pictures
from tests.functional.conftest import Service
from tests.functional.test_command_line import setr

pytestmark = pytest.mark.functional


def test_judged_results_become_triplets(service: Service, tmp_path: Path) -> None:
    gallery = service.gallery("judged")
    shown = {"a.jpg": pictures.jpeg(), "b.png": pictures.png(), "c.webp": pictures.webp()}
    assert service.ended(service.import_files(gallery, *shown.items()))["state"] == "succeeded"
    job = service.query(gallery, reference={"external_id": "a.jpg"}, text="in red")
    found = {row["external_id"] for row in job["result"]["results"]}
    assert found == {"b.png", "c.webp"}
    path = f"/jobs/{job['id']}/feedback"
    judgments = [{"external_id": name, "relevant": name == "b.png"} for name in sorted(found)]
    first, again = (service.http.post(path, json={"judgments": judgments}).json() for _ in range(2))
    assert first == {"stored": 2, "changed": 0, "unchanged": 0, "triplets": True}
    assert again == {"stored": 0, "changed": 0, "unchanged": 2, "triplets": True}
    lost = service.http.post(path, json={"judgments": [{"external_id": "lost", "relevant": True}]})
    assert lost.status_code == 422, lost.text
    done = setr(service, "feedback", gallery, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out"
    rows = [json.loads(line) for line in (out / "feedback.jsonl").read_text().splitlines()]
    assert [(row["text"], row["relevant"]) for row in rows] == [("in red", True), ("in red", False)]
    assert [(out / row["image"]).read_bytes() for row in rows] == [shown["b.png"], shown["c.webp"]]
    assert {(out / row["reference"]).read_bytes() for row in rows} == {shown["a.jpg"]}
