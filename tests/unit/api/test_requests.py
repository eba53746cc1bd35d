"""What surrounds every request: ids and log lines."""

import json
import logging
from collections.abc import Iterator
from typing import Any, cast

import pytest
import structlog

from core import logs
from core.models import Gallery
from core.settings import Settings
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    yield
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers = handlers
    root.setLevel(level)


def test_a_line_says_who_asked_for_what(call: Caller, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(), process="api")
    response = call("GET", "/galleries/nothing?secret=1", headers={"X-Request-Id": "client-chosen-1"})
    assert response.headers["X-Request-Id"] == "client-chosen-1"
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert line["event"] == "request"
    assert (line["method"], line["route"], line["status"]) == ("GET", "/galleries/<gallery>", 404)
    assert line["request_id"] == "client-chosen-1"
    assert line["process"] == "api"
    assert line["duration_ms"] >= 0
    assert call.key not in json.dumps(line)


@pytest.mark.parametrize("sent", ["", "short", "x" * 65, "line\tfeed-1234", 'quote"12345'])
def test_an_id_that_is_none_is_replaced(call: Caller, sent: str) -> None:
    assert call("GET", "/galleries", headers={"X-Request-Id": sent}).headers["X-Request-Id"] != sent


def test_polls_are_quiet(call: Caller, gallery: Gallery, capsys: pytest.CaptureFixture[str]) -> None:
    job = call("POST", f"/galleries/{gallery.name}/queries", json={"text": "red"}).json
    logs.configure(Settings(), process="api")
    call("GET", f"/jobs/{job['id']}")
    assert capsys.readouterr().out == ""


def test_a_bug_is_logged_whole(call: Caller, world: World, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(), process="api")
    world.store.galleries.rows = cast("Any", None)
    assert call("GET", "/galleries").status_code == 500
    error, _ = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (error["event"], error["level"]) == ("unhandled_error", "error")
    assert error["exception"][0]["exc_type"] == "AttributeError"
    assert all("locals" not in frame for frame in error["exception"][0]["frames"])
    assert "request_id" in error


def test_other_libraries_take_the_same_way_out(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(Settings(log_level="WARNING"), process="api")
    logging.getLogger("gunicorn.error").info("quiet")
    logging.getLogger("gunicorn.error").warning("loud %s", "one")
    (line,) = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert (line["event"], line["level"], line["process"]) == ("loud one", "warning", "api")
