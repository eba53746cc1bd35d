"""Re-indexing over HTTP: what is taken, and what is refused."""

from tests.unit.api.conftest import Caller


def test_a_reindex_takes_only_what_it_knows(call: Caller) -> None:
    assert call("POST", "/galleries", json={"name": "summer"}).status_code == 201
    for body in ({"encoder": ""}, {"activate": "soon"}, {"index": "x"}, {"callback_url": 1}):
        assert call("POST", "/galleries/summer/indexes", json=body).status_code == 422, body
    unlisted = call("POST", "/galleries/summer/indexes", json={"encoder": "/etc/passwd"})
    assert unlisted.status_code == 422
    assert "the operator listed: demo" in unlisted.json["detail"]


def test_an_index_id_is_a_uuid(call: Caller) -> None:
    assert call("GET", "/galleries/summer/indexes/../../secrets").status_code == 404
    assert call("POST", "/galleries/summer/indexes/newest/activate").status_code == 404
