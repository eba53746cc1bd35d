"""/galleries/{g}/schedule."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from core.ids import new_id
from core.models import Gallery, SkippedTick
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World

PATH = "/galleries/summer/schedule"
MANIFEST = "https://shop.example/catalog.csv?day=today"
NIGHTLY: dict[str, Any] = {
    "cron": "0 3 * * *",
    "timezone": "Europe/Berlin",
    "source": {"manifest": MANIFEST},
    "mode": "mirror",
    "max_delete_share": 0.1,
}

pytestmark = pytest.mark.usefixtures("gallery")


def test_set_read_replace_remove(call: Caller) -> None:
    assert call("GET", PATH).status_code == 404
    made = call("PUT", PATH, json=NIGHTLY)
    assert made.status_code == 201
    assert made.json == call("GET", PATH).json
    assert made.json.items() >= (NIGHTLY | {"gallery": "summer", "next_tick": "2026-11-24T02:00:00Z"}).items()
    assert (made.json["last_tick"], made.json["last_job"], made.json["last_skipped"]) == (None, None, None)
    changed = call(
        "PUT", PATH, json={**NIGHTLY, "cron": "15  4 * * SUN", "source": {"s3_prefix": "s3://catalog/shop/"}}
    )
    assert (changed.status_code, changed.json["cron"]) == (200, "15 4 * * SUN")
    assert changed.json["source"] == {"s3_prefix": "s3://catalog/shop/"}
    assert call("DELETE", PATH).status_code == 204
    assert call("DELETE", PATH).status_code == 404


def test_what_became_of_the_ticks_is_shown(call: Caller, world: World, gallery: Gallery) -> None:
    call("PUT", PATH, json=NIGHTLY)
    planned = world.store.schedules.rows[gallery.id]
    tick, job_id = planned.next_tick, new_id()
    world.store.schedules.rows[gallery.id] = replace(
        planned,
        next_tick=tick + timedelta(days=1),
        last_tick=tick,
        last_job_id=job_id,
        last_skipped=SkippedTick(tick, "an earlier one had not ended"),
    )
    shown = call("GET", PATH).json
    assert (shown["last_tick"], shown["next_tick"]) == ("2026-11-24T02:00:00Z", "2026-11-25T02:00:00Z")
    assert shown["last_job"] == str(job_id)
    assert shown["last_skipped"] == {"tick": "2026-11-24T02:00:00Z", "reason": "an earlier one had not ended"}


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"cron": "0 3 * *  "}, "/cron"),
        ({"cron": "0 3 30 2 *"}, "/cron"),
        ({"timezone": "Berlin"}, "/timezone"),
        ({"source": {}}, "/source"),
        ({"source": {"manifest": MANIFEST, "urls": [MANIFEST]}}, "/source"),
        ({"source": {"upload_ids": [str(new_id())]}}, "/source/upload_ids"),
        ({"source": {"manifest": "https://shop.example/catalog.xml"}}, "/source/manifest"),
        ({"source": {"manifest": "ftp://shop.example/catalog.csv"}}, "/source/manifest"),
        ({"source": {"manifest": "s3://secrets/catalog.csv"}}, "/source/manifest"),
        ({"source": {"s3_prefix": "s3://secrets/"}}, "/source/s3_prefix"),
        ({"source": {"urls": [" "]}}, "/source/urls/0"),
        ({"mode": "upsert"}, "/max_delete_share"),
        ({"source": None}, "/mode"),
        ({"source": None, "mode": "upsert"}, "/max_delete_share"),
        ({"max_delete_share": 1.5}, "/max_delete_share"),
        ({"callback_url": "ftp://shop.example"}, "/callback_url"),
        ({"every": "night"}, "/every"),
    ],
)
def test_what_cannot_be_is_refused_by_field(call: Caller, changes: dict[str, Any], pointer: str) -> None:
    refused = call("PUT", PATH, json={**NIGHTLY, **changes})
    assert refused.status_code == 422
    assert pointer in [error["pointer"] for error in refused.json["errors"]]
    assert call("GET", PATH).status_code == 404


def test_without_a_source_it_re_indexes(call: Caller) -> None:
    made = call("PUT", PATH, json={"cron": "0 3 * * SUN"})
    assert (made.status_code, made.json["source"], made.json["timezone"]) == (201, None, "UTC")


def test_nothing_is_stored_in_the_bucket_before_a_tick(call: Caller, world: World) -> None:
    source = {"urls": ["https://shop.example/1.jpg"]}
    assert call("PUT", PATH, json={"cron": "0 3 * * *", "source": source}).status_code == 201
    assert world.objects.held == {}
