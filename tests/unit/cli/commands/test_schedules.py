"""`setr schedule`."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from click.testing import Result

from tests.unit.cli.scripted import ScriptedServer, problem

PATH = "/galleries/shop/schedule"
MANIFEST = "https://shop.example/catalog.csv"
JOB = "0197c1de-5a3b-7c52-9f3e-0c3a5a4a6a11"

Setr = Callable[..., Result]


def schedule(**changes: Any) -> dict[str, Any]:
    return {
        "gallery": "shop",
        "cron": "0 3 * * *",
        "timezone": "Europe/Berlin",
        "source": {"manifest": MANIFEST},
        "mode": "mirror",
        "next_tick": "2026-11-24T02:00:00Z",
        "last_tick": None,
        "last_job": None,
        "last_skipped": None,
        **changes,
    }


def test_setting_one(setr: Setr, server: ScriptedServer) -> None:
    server.on("PUT", PATH, httpx.Response(201, json=schedule()))
    options = ("--manifest-url", MANIFEST, "--mode", "mirror", "--max-delete-share", "0.1")
    result = setr("schedule", "shop", "--cron", "0 3 * * *", "--timezone", "Europe/Berlin", *options)
    assert result.exit_code == 0, result.output
    assert server.bodies("PUT", PATH) == [
        {
            "cron": "0 3 * * *",
            "timezone": "Europe/Berlin",
            "source": {"manifest": MANIFEST},
            "mode": "mirror",
            "max_delete_share": 0.1,
        }
    ]
    assert "2026-11-24 03:00 CET" in result.output
    assert f"mirror import from {MANIFEST}" in result.output


def test_without_a_source_it_re_indexes(setr: Setr, server: ScriptedServer) -> None:
    server.on("PUT", PATH, httpx.Response(201, json=schedule(source=None)))
    result = setr("schedule", "shop", "--cron", "0 3 * * SUN")
    assert "shop: re-index" in result.output
    assert server.bodies("PUT", PATH)[0]["source"] is None


def test_showing_what_became_of_it(setr: Setr, server: ScriptedServer) -> None:
    tick = "2026-11-24T02:00:00Z"
    skipped = {"tick": tick, "reason": f"Job {JOB} of an earlier tick had not ended."}
    told = schedule(last_tick=tick, last_job=JOB, last_skipped=skipped, source={"urls": ["https://a/1", "https://a/2"]})
    server.on("GET", PATH, httpx.Response(200, json=told))
    result = setr("schedule", "shop")
    assert result.exit_code == 0, result.output
    assert "2 URLs" in result.output
    assert "had not ended" in result.output
    assert json.loads(setr("schedule", "shop", "--json").stdout) == told


def test_removing_it(setr: Setr, server: ScriptedServer) -> None:
    server.on("DELETE", PATH, httpx.Response(204))
    assert setr("schedule", "shop", "--remove").exit_code == 0
    assert [request.method for request in server.requests] == ["DELETE"]


def test_a_gallery_without_one_says_how_to_set_it(setr: Setr, server: ScriptedServer) -> None:
    server.on("GET", PATH, problem(404, "Not found", "Gallery `shop` has no schedule."))
    result = setr("schedule", "shop")
    assert result.exit_code == 1
    assert "--cron" in result.output


@pytest.mark.parametrize(
    "options",
    [
        ("--mode", "mirror"),
        ("--manifest-url", MANIFEST),
        ("--cron", "0 3 * * *", "--remove"),
        ("--cron", "0 3 * * *", "--manifest-url", MANIFEST, "--s3-prefix", "s3://a/"),
    ],
)
def test_options_that_do_not_go_together(setr: Setr, server: ScriptedServer, options: tuple[str, ...]) -> None:
    assert setr("schedule", "shop", *options).exit_code == 2
    assert server.requests == []
