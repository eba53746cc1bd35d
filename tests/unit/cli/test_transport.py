from pathlib import Path

import httpx
import pytest

from cli.transport import ApiError, ClientError, Session, UnreachableError, Upload
from tests.unit.cli.scripted import KEY, URL, Pauses, ScriptedServer, job_json, ok, problem

REFUSED = httpx.ConnectError("Connection refused")


@pytest.fixture
def session(server: ScriptedServer, pauses: Pauses) -> Session:
    return Session(URL, KEY, transport=server, sleep=pauses)


def test_problem_becomes_an_error_with_its_title_detail_and_fields(session: Session, server: ScriptedServer) -> None:
    errors = [{"pointer": "/top_k", "detail": "too large"}]
    server.on("POST", "/galleries/shop/queries", problem(422, "Invalid input", "See the fields.", errors=errors))
    with pytest.raises(ApiError, match=r"Invalid input \(422\): See the fields") as caught:
        session.json("POST", "/galleries/shop/queries", json={"text": "red", "top_k": 1000})
    assert caught.value.errors == errors


def test_an_error_that_is_no_problem_document_still_has_its_status(session: Session, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop", httpx.Response(500, text="<html>oops</html>"))
    with pytest.raises(ApiError) as caught:
        session.json("GET", "/galleries/shop")
    assert (caught.value.status, caught.value.detail) == (500, "")


def test_another_program_on_the_port_is_told_apart(session: Session, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop", httpx.Response(200, text="<html>hello</html>"))
    with pytest.raises(ClientError, match="did not answer as a SETR server"):
        session.json("GET", "/galleries/shop")


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_asked_again_when_it_says_so(
    session: Session, server: ScriptedServer, pauses: Pauses, status: int
) -> None:
    busy = problem(status, "Busy", "Later.")
    busy.headers["Retry-After"] = "7"
    server.on("GET", "/galleries/shop", busy, busy, ok(name="shop"))
    assert session.json("GET", "/galleries/shop")["name"] == "shop"
    assert pauses == [7.0, 7.0]


def test_a_lost_answer_is_asked_for_again_under_the_same_key(session: Session, server: ScriptedServer) -> None:
    still_running = problem(409, "Conflict", "The first request with this key is still running.")
    server.on("POST", "/galleries", httpx.ReadError("reset"), still_running, httpx.Response(201, json={"name": "shop"}))
    assert session.json("POST", "/galleries", json={"name": "shop"})["name"] == "shop"
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


def test_a_conflict_at_the_first_attempt_is_final(session: Session, server: ScriptedServer, pauses: Pauses) -> None:
    server.on("POST", "/galleries", problem(409, "Conflict", "The name is taken."))
    with pytest.raises(ApiError, match="taken"):
        session.json("POST", "/galleries", json={"name": "shop"})
    assert pauses == []


def test_a_server_that_never_answered_is_given_up_soon(
    session: Session, server: ScriptedServer, pauses: Pauses
) -> None:
    server.on("GET", "/galleries/shop", REFUSED)
    with pytest.raises(UnreachableError, match="Connection refused") as caught:
        session.json("GET", "/galleries/shop")
    assert len(server.requests) == 3
    assert sum(pauses) < 2
    assert "setr up" in caught.value.hint


def test_upload_streams_the_file_and_a_retry_sends_it_whole_again(
    session: Session, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"zip" * 100_000)
    server.on("POST", "/galleries/shop/imports", problem(503, "Busy", ""), httpx.Response(202, json=job_json("queued")))
    sent: list[int] = []
    upload = Upload(path=path, filename="a.zip", media_type="application/zip", on_bytes=sent.append)
    assert session.post_file("/galleries/shop/imports", "file", upload, {})["state"] == "queued"
    assert [b"zip" * 100_000 in request.content for request in server.requests] == [True, True]
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1
    assert sent.count(300_000) >= 2


def test_listing_follows_the_pages(session: Session, server: ScriptedServer) -> None:
    server.on(
        "GET",
        "/galleries",
        ok(items=[{"name": "a"}], next_page_token="t"),
        ok(items=[{"name": "b"}], next_page_token=None),
    )
    assert [gallery["name"] for gallery in session.pages("/galleries", {})] == ["a", "b"]
    assert server.requests[1].url.params["page_token"] == "t"


def test_the_key_is_sent_to_this_server_only(session: Session, server: ScriptedServer) -> None:
    server.on("GET", "/thumb.jpg", httpx.Response(200, content=b"jpeg"))
    urls = ("http://127.0.0.1:9000/thumb.jpg?signature=1", f"{URL}/thumb.jpg", "/thumb.jpg", f"{URL}0/thumb.jpg")
    assert [session.content(url) for url in urls] == [b"jpeg"] * 4
    assert ["Authorization" in request.headers for request in server.requests] == [False, True, True, False]
