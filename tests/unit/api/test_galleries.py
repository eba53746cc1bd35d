"""Galleries and images over HTTP."""

import pytest

from core.models import Gallery
from tests.unit.api.conftest import Caller
from tests.unit.api.fakes import World
from tests.unit.api.test_errors import assert_problem


def test_create_and_get(call: Caller) -> None:
    created = call("POST", "/galleries", json={"name": "summer-26", "attributes_schema": {"price": "number"}})
    assert created.status_code == 201
    assert created.headers["Location"] == "http://localhost/galleries/summer-26"
    found = call("GET", "/galleries/summer-26")
    assert found.json == created.json
    assert found.json["encoder"] == "demo"
    assert found.json["attributes_schema"] == {"price": "number"}
    assert found.headers["ETag"] == created.headers["ETag"] == '"1"'


def test_names_are_taken_once(call: Caller, gallery: Gallery) -> None:
    assert_problem(call("POST", "/galleries", json={"name": gallery.name}), 409, "conflict")


def test_unknown_encoder(call: Caller) -> None:
    body = assert_problem(call("POST", "/galleries", json={"name": "x", "encoder": "../etc"}), 422, "invalid_input")
    assert "demo" in body["detail"]


@pytest.mark.parametrize("name", ["%00", "Upper", "a%00b", "%ff", "..", "a" * 64])
def test_a_name_that_none_can_have(call: Caller, name: str) -> None:
    assert call("GET", f"/galleries/{name}").status_code == 404


def test_if_match_guards_a_change(call: Caller, gallery: Gallery) -> None:
    path = f"/galleries/{gallery.name}"
    changed = call("PATCH", path, json={"device": "cpu"}, headers={"If-Match": '"1"'})
    assert (changed.status_code, changed.json["device"], changed.headers["ETag"]) == (200, "cpu", '"2"')
    for stale in ('"1"', 'W/"2"', "2", "nonsense", '"99999999999999999999"'):
        response = call("PATCH", path, json={"device": "gpu"}, headers={"If-Match": stale})
        assert_problem(response, 412, "precondition_failed")
        assert_problem(call("DELETE", path, headers={"If-Match": stale}), 412, "precondition_failed")
    assert call("PATCH", path, json={"device": "gpu"}, headers={"If-Match": "*"}).json["device"] == "gpu"


def test_delete_is_a_job_and_the_gallery_is_gone_at_once(call: Caller, gallery: Gallery) -> None:
    response = call("DELETE", f"/galleries/{gallery.name}")
    assert response.status_code == 202
    assert response.json["kind"] == "delete"
    assert response.headers["Location"] == response.json["links"]["self"]
    assert_problem(call("GET", f"/galleries/{gallery.name}"), 404, "not_found")


def test_images_are_listed_by_filter_and_by_external_id(call: Caller, gallery: Gallery, world: World) -> None:
    for number, color in enumerate(["red", "blue", "red"]):
        world.add_image(gallery, f"sku-{number}", color=color)
    path = f"/galleries/{gallery.name}/images"
    red = call("GET", path, query_string={"filter": '{"color": "red"}', "page_size": "1"}).json
    assert [item["external_id"] for item in red["items"]] == ["sku-0"]
    next_page = {"filter": '{"color": "red"}', "page_token": red["next_page_token"]}
    assert [item["external_id"] for item in call("GET", path, query_string=next_page).json["items"]] == ["sku-2"]
    one = call("GET", path, query_string={"external_id": "sku-1"}).json["items"]
    assert [item["attributes"] for item in one] == [{"color": "blue"}]
    other = {"filter": '{"color": "blue"}', "page_token": red["next_page_token"]}
    assert_problem(call("GET", path, query_string=other), 422, "invalid_input")


@pytest.mark.parametrize("raw", ["{", "[]", '{"a": {"near": 1}}', '{"a": NaN}', "[" * 15_000])
def test_a_filter_that_is_none(call: Caller, gallery: Gallery, raw: str) -> None:
    response = call("GET", f"/galleries/{gallery.name}/images", query_string={"filter": raw})
    body = assert_problem(response, 422, "invalid_input")
    assert body["errors"][0]["pointer"].startswith("/filter")


def test_content_is_served_as_a_picture_and_nothing_else(call: Caller, gallery: Gallery, world: World) -> None:
    image = world.add_image(gallery, 'a/b "x"\r\nSet-Cookie: y.png')
    path = f"/galleries/{gallery.name}/images/{image.id}/content"
    response = call("GET", path)
    assert response.data == world.objects.held[next(iter(world.objects.held))]
    assert response.content_type == "image/png"
    assert response.content_length == image.blob.size_bytes
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert response.headers["Content-Disposition"] == 'inline; filename="a_b_x_Set-Cookie_y.png"'
    assert response.headers["ETag"] == f'"{image.blob.sha256}"'
    unchanged = call("GET", path, headers={"If-None-Match": response.headers["ETag"]})
    assert (unchanged.status_code, unchanged.data) == (304, b"")


def test_attributes_are_patched_and_guarded(call: Caller, gallery: Gallery, world: World) -> None:
    image = world.add_image(gallery, "sku-1", color="red", price=3)
    path = f"/galleries/{gallery.name}/images/{image.id}"
    body = {"attributes": {"color": None, "size": ["S", "M"]}}
    patched = call("PATCH", path, json=body, headers={"If-Match": call("GET", path).headers["ETag"]})
    assert patched.json["attributes"] == {"price": 3, "size": ["S", "M"]}
    assert_problem(call("PATCH", path, json=body, headers={"If-Match": '"1"'}), 412, "precondition_failed")
    assert call("DELETE", path).status_code == 204
    assert_problem(call("GET", path), 404, "not_found")


@pytest.mark.parametrize(
    "raw", ['{"a": "\\u0000"}', '{"\\u0000": 1}', '{"a": "\\ud800"}', '{"a": 1e999}', '{"a":' * 40 + "1" + "}" * 40]
)
def test_attributes_that_postgres_cannot_hold(call: Caller, gallery: Gallery, world: World, raw: str) -> None:
    image = world.add_image(gallery, "sku-1")
    response = call(
        "PATCH",
        f"/galleries/{gallery.name}/images/{image.id}",
        data=f'{{"attributes": {raw}}}',
        content_type="application/json",
    )
    assert_problem(response, 422, "invalid_input")
