"""Every failure is a problem, and none tells more than it should."""

import json
from typing import Any

import pytest
from pydantic import ValidationError

from api.errors import STATUS
from api.schemas.queries import QueryIn
from core import errors
from core.fields import invalid
from core.models import Gallery
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World

RESERVED_FOR_WORKERS = {
    errors.ModelLoadError,
    errors.EncoderMismatchError,
    errors.ItemError,
    errors.MirrorGuardError,
    errors.IndexCheckError,
    errors.LeaseLostError,
}


def assert_problem(response: Any, status: int, code: str) -> dict[str, Any]:
    assert response.status_code == status
    assert response.content_type == "application/problem+json"
    body: dict[str, Any] = response.json
    assert body["type"] == f"urn:setr:problem:{code}"
    assert body["status"] == status
    assert body["title"]
    assert body["detail"]
    assert body["request_id"] == response.headers["X-Request-Id"]
    return body


def test_every_error_of_ours_has_a_status() -> None:
    assert set(errors.ServiceError.__subclasses__()) - RESERVED_FOR_WORKERS == set(STATUS)


def test_unknown_path(call: Caller) -> None:
    assert assert_problem(call("GET", "/nothing"), 404, "not_found")["instance"] == "/nothing"


def test_wrong_method_names_the_right_ones(call: Caller) -> None:
    response = call("PUT", "/galleries")
    assert_problem(response, 405, "method_not_allowed")
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))


@pytest.mark.parametrize(
    "body",
    [
        "{",
        "",
        "nonsense",
        '{"name": NaN}',
        '{"name": Infinity}',
        "[" * 100_000,
        '{"name": ' + "9" * 5000 + "}",
        b"\xff\xfe",
    ],
)
def test_what_is_not_json(call: Caller, body: str | bytes) -> None:
    response = call("POST", "/galleries", data=body, content_type="application/json")
    assert_problem(response, 400, "malformed_request")


@pytest.mark.parametrize("body", ["[]", "null", '"x"', "3"])
def test_json_that_is_no_object(call: Caller, body: str) -> None:
    response = call("POST", "/galleries", data=body, content_type="application/json")
    assert_problem(response, 422, "invalid_input")


def test_other_media_type(call: Caller) -> None:
    body = assert_problem(
        call("POST", "/galleries", data="name=x", content_type="text/plain"), 415, "unsupported_media_type"
    )
    assert "application/json" in body["detail"]


def test_a_body_that_says_it_is_too_large_is_not_read(call: Caller) -> None:
    class Unreadable:
        def read(self, *_: object) -> bytes:
            raise AssertionError("the body was read")

    said = {"CONTENT_LENGTH": str(2**40), "wsgi.input": Unreadable()}
    response = call("POST", "/galleries", content_type="application/json", environ_overrides=said)
    assert_problem(response, 413, "too_large")


def test_every_wrong_field_is_listed(call: Caller) -> None:
    response = call("POST", "/galleries", json={"name": "UPPER", "device": "tpu", "colour": 1})
    body = assert_problem(response, 422, "invalid_input")
    assert sorted(error["pointer"] for error in body["errors"]) == ["/colour", "/device", "/name"]


def test_wrong_query_parameter(call: Caller) -> None:
    body = assert_problem(call("GET", "/galleries?page_size=0&x=1"), 422, "invalid_input")
    assert sorted(error["pointer"] for error in body["errors"]) == ["/page_size", "/x"]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"rerank": {"depth": 0}}, "/rerank/depth"),
        ({"reference": {"region": [0, 0, 2, 1]}}, "/reference/region/2"),
        ({"reference": {"a/b~": 1}}, "/reference/a~1b~0"),
        ({"filter": {"a": "\0"}}, "/filter"),
        ({"text": "\0"}, "/text"),
        ({"text": "\ud800"}, "/text"),
        ({"filter": {"a": "\udfff"}}, "/filter"),
        ({"min_score": json.loads("1e999")}, "/min_score"),
    ],
)
def test_pointers_lead_to_the_mistake(document: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError) as caught:
        QueryIn.model_validate(document)
    assert expected in {field.pointer for field in invalid(caught.value, document).errors}


def test_a_dependency_that_is_away(call: Caller, gallery: Gallery, world: World) -> None:
    assert call("GET", f"/galleries/{gallery.name}").status_code == 200
    world.store.available = False
    response = call("GET", f"/galleries/{gallery.name}")
    assert_problem(response, 503, "unavailable")
    assert int(response.headers["Retry-After"]) > 0


def test_a_bug_of_ours_tells_nothing(call: Caller, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(*_: object, **__: object) -> None:
        raise RuntimeError("password=hunter2")

    monkeypatch.setattr(world.store.galleries, "page", explode)
    response = call("GET", "/galleries")
    assert_problem(response, 500, "internal_error")
    assert "hunter2" not in response.text
    assert "Traceback" not in response.text
