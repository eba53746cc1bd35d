"""Page tokens."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.paging import page_key, page_token
from core.errors import InvalidInputError
from tests.unit.api.conftest import Caller


@given(st.text(alphabet=st.characters(categories=("L", "N", "P")), min_size=1, max_size=512))
def test_a_token_brings_its_key_back(key: str) -> None:
    token = page_token(key, {"kind": "query", "state": None})
    assert token is not None
    assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
    assert page_key(token, {"state": None, "kind": "query"}) == key


def test_the_end_has_no_token() -> None:
    assert page_token(None, {}) is None
    assert page_key(None, {}) is None


def test_a_token_belongs_to_its_filters() -> None:
    with pytest.raises(InvalidInputError, match="other filters"):
        page_key(page_token("x", {"kind": "query"}), {"kind": "import"})


@given(st.text(max_size=200))
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(InvalidInputError):
        page_key(token, {})


@pytest.mark.parametrize("content", ["3", "[]", '["a"]', "[1, 2]", '["a", "b", "c"]', "{}", "[" * 5000])
def test_a_forged_token_is_refused(content: str) -> None:
    with pytest.raises(InvalidInputError):
        page_key(base64.urlsafe_b64encode(content.encode()).decode(), {})


def test_a_forged_key_with_nul_is_refused() -> None:
    digest = json.loads(base64.urlsafe_b64decode(str(page_token("x", {})) + "=="))[0]
    forged = base64.urlsafe_b64encode(json.dumps([digest, "a\0b"]).encode()).decode()
    with pytest.raises(InvalidInputError):
        page_key(forged, {})


def test_pages_add_up_to_the_whole(call: Caller) -> None:
    names = [f"g{number}" for number in range(5)]
    for name in reversed(names):
        call("POST", "/galleries", json={"name": name})
    seen, token = [], None
    while True:
        query = {"page_size": "2"} | ({"page_token": token} if token else {})
        page = call("GET", "/galleries", query_string=query).json
        seen += [item["name"] for item in page["items"]]
        token = page["next_page_token"]
        if token is None:
            break
    assert seen == names
