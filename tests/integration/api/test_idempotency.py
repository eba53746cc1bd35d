"""A key is held for as long as its request runs."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from io import BytesIO
from threading import Event
from time import monotonic
from typing import Any, BinaryIO, cast

import pytest
from sqlalchemy import Engine, text

from api.app import create_app
from core.context import Context
from core.ports import ObjectStore
from tests.integration.api.conftest import caller

pytestmark = pytest.mark.integration
LEASE_S = 1.0
PATIENCE_S = 20
KEY = {"Idempotency-Key": "one-of-a-kind"}


@dataclass
class SlowStore:
    """An object store to which an upload takes until it is let through."""

    store: ObjectStore
    storing: Event = field(default_factory=Event)
    through: Event = field(default_factory=Event)

    def put_stream(self, key: str, stream: BinaryIO, *, media_type: str) -> int:
        self.storing.set()
        assert self.through.wait(PATIENCE_S)
        return self.store.put_stream(key, stream, media_type=media_type)


def until(condition: Callable[[], bool]) -> None:
    deadline_s = monotonic() + PATIENCE_S
    while not condition():
        assert monotonic() < deadline_s, "the condition never came true"


def test_the_same_request_during_a_slow_upload_makes_no_second_job(ctx: Context, engine: Engine) -> None:
    slow = SlowStore(ctx.objects)
    settings = ctx.settings.model_copy(update={"lease_s": LEASE_S})
    ctx = replace(ctx, objects=cast("ObjectStore", slow), settings=settings)
    call = caller(create_app(ctx), ctx, "shop")
    call("POST", "/galleries", json={"name": "summer"})

    def send() -> Any:
        files = {"file": (BytesIO(b"picture"), "a.jpg")}
        return call("POST", "/galleries/summer/imports", data=files, headers=KEY)

    def last_sign_of_life() -> datetime:
        with engine.connect() as connection:
            return cast("datetime", connection.execute(text("SELECT created_at FROM idempotency_keys")).scalar_one())

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(send)
        assert slow.storing.wait(PATIENCE_S)
        runs_out = last_sign_of_life() + timedelta(seconds=LEASE_S)
        until(lambda: last_sign_of_life() > runs_out)
        meanwhile = send()
        slow.through.set()
        made = first.result(PATIENCE_S)
    assert (meanwhile.status_code, made.status_code) == (409, 202)
    again = send()
    assert again.json["id"] == made.json["id"]
    assert [job["id"] for job in call("GET", "/jobs").json["items"]] == [made.json["id"]]
