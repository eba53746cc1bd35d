from pathlib import Path

import httpx
import pytest

from cli.client import ApiClient, ApiError, ClientError, UnreachableError, Upload
from tests.unit.cli.scripted import KEY, URL, ScriptedServer, job_json, problem

REFUSED = httpx.ConnectError("Connection refused")
JOB = "/jobs/job-1"


class Pauses(list[float]):
    """A clock that remembers how long it was told to sleep, and does not."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
def client(server: ScriptedServer, pauses: Pauses) -> ApiClient:
    return ApiClient(URL, KEY, transport=server, sleep=pauses)


def ok(**body: object) -> httpx.Response:
    return httpx.Response(200, json=body)


def test_problem_becomes_an_error_with_its_title_detail_and_fields(client: ApiClient, server: ScriptedServer) -> None:
    errors = [{"pointer": "/top_k", "detail": "too large"}]
    server.on("POST", "/galleries/shop/queries", problem(422, "Invalid input", "See the fields.", errors=errors))
    with pytest.raises(ApiError, match=r"Invalid input \(422\): See the fields") as caught:
        client.query("shop", {"text": "red", "top_k": 1000})
    assert caught.value.errors == errors


def test_an_error_that_is_no_problem_document_still_has_its_status(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop", httpx.Response(500, text="<html>oops</html>"))
    with pytest.raises(ApiError) as caught:
        client.gallery("shop")
    assert (caught.value.status, caught.value.detail) == (500, "")


def test_another_program_on_the_port_is_told_apart(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop", httpx.Response(200, text="<html>hello</html>"))
    with pytest.raises(ClientError, match="did not answer as a SETR server"):
        client.gallery("shop")


@pytest.mark.parametrize("status", [429, 503])
def test_busy_server_is_asked_again_when_it_says_so(
    client: ApiClient, server: ScriptedServer, pauses: Pauses, status: int
) -> None:
    busy = problem(status, "Busy", "Later.")
    busy.headers["Retry-After"] = "7"
    server.on("GET", "/galleries/shop", busy, busy, ok(name="shop"))
    assert client.gallery("shop")["name"] == "shop"
    assert pauses == [7.0, 7.0]


def test_a_lost_answer_is_asked_for_again_under_the_same_key(client: ApiClient, server: ScriptedServer) -> None:
    still_running = problem(409, "Conflict", "The first request with this key is still running.")
    server.on("POST", "/galleries", httpx.ReadError("reset"), still_running, httpx.Response(201, json={"name": "shop"}))
    assert client.create_gallery("shop")["name"] == "shop"
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1


def test_a_conflict_at_the_first_attempt_is_final(client: ApiClient, server: ScriptedServer, pauses: Pauses) -> None:
    server.on("POST", "/galleries", problem(409, "Conflict", "The name is taken."))
    with pytest.raises(ApiError, match="taken"):
        client.create_gallery("shop")
    assert pauses == []


def test_a_server_that_never_answered_is_given_up_soon(
    client: ApiClient, server: ScriptedServer, pauses: Pauses
) -> None:
    server.on("GET", "/galleries/shop", REFUSED)
    with pytest.raises(UnreachableError, match="Connection refused") as caught:
        client.gallery("shop")
    assert len(server.requests) == 3
    assert sum(pauses) < 2
    assert "setr up" in caught.value.hint


def test_a_server_that_restarts_is_waited_for(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", JOB, ok(**job_json("running", pending=1)), *[REFUSED] * 6, ok(**job_json(created=1)))
    assert client.wait_for_job("job-1")["state"] == "succeeded"


def test_waiting_ends_at_a_terminal_state_and_shows_each_step(client: ApiClient, server: ScriptedServer) -> None:
    states = [
        job_json("queued", stage="planning"),
        job_json("running", stage="embedding", created=1, pending=1),
        job_json("partially_succeeded", created=1, failed=1),
    ]
    server.on("GET", JOB, *(ok(**state) for state in states))
    seen: list[str] = []
    job = client.wait_for_job("job-1", on_progress=lambda job: seen.append(job["state"]), poll_s=4)
    assert job["progress"]["failed"] == 1
    assert seen == ["queued", "running", "partially_succeeded"]
    assert server.requests[0].url.params["wait"] == "4"


def test_a_server_without_room_for_long_polls_is_not_hammered(
    client: ApiClient, server: ScriptedServer, pauses: Pauses
) -> None:
    running = job_json("running", pending=1)
    server.on("GET", JOB, ok(**running), ok(**running), ok(**running), ok(**job_json(created=1)))
    client.wait_for_job("job-1", poll_s=5)
    assert pauses == [5, 5]


def test_upload_streams_the_file_and_a_retry_sends_it_whole_again(
    client: ApiClient, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(b"zip" * 100_000)
    server.on("POST", "/galleries/shop/imports", problem(503, "Busy", ""), httpx.Response(202, json=job_json("queued")))
    sent: list[int] = []
    upload = Upload(path=path, filename="a.zip", media_type="application/zip", on_bytes=sent.append)
    assert client.import_file("shop", upload)["state"] == "queued"
    assert [b"zip" * 100_000 in request.content for request in server.requests] == [True, True]
    assert len({request.headers["Idempotency-Key"] for request in server.requests}) == 1
    assert sent.count(300_000) >= 2


def test_query_with_a_picture_carries_its_json_beside_it(
    client: ApiClient, server: ScriptedServer, tmp_path: Path
) -> None:
    path = tmp_path / "mine.jpg"
    path.write_bytes(b"picture")
    server.on("POST", "/galleries/shop/queries", httpx.Response(202, json=job_json("queued", kind="query")))
    client.query("shop", {"text": "in red"}, reference_image=Upload(path=path, filename="mine.jpg"))
    content = server.requests[0].content
    assert b'name="query"\r\n\r\n{"text": "in red"}' in content
    assert b'name="reference_image"; filename="mine.jpg"' in content


def test_listing_follows_the_pages(client: ApiClient, server: ScriptedServer) -> None:
    server.on(
        "GET",
        "/galleries",
        ok(items=[{"name": "a"}], next_page_token="t"),
        ok(items=[{"name": "b"}], next_page_token=None),
    )
    assert [gallery["name"] for gallery in client.galleries()] == ["a", "b"]
    assert server.requests[1].url.params["page_token"] == "t"


def test_names_are_escaped_in_paths(client: ApiClient, server: ScriptedServer) -> None:
    with pytest.raises(ApiError):
        client.gallery("a/../b?c")
    assert server.requests[0].url.raw_path == b"/galleries/a%2F..%2Fb%3Fc"


def test_the_key_is_sent_to_this_server_only(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "/thumb.jpg", httpx.Response(200, content=b"jpeg"))
    urls = ("http://127.0.0.1:9000/thumb.jpg?signature=1", f"{URL}/thumb.jpg", "/thumb.jpg", f"{URL}0/thumb.jpg")
    assert [client.fetch(url) for url in urls] == [b"jpeg"] * 4
    assert ["Authorization" in request.headers for request in server.requests] == [False, True, True, False]


def test_a_missing_image_is_a_404(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop/images", ok(items=[], next_page_token=None))
    with pytest.raises(ApiError) as caught:
        client.image("shop", "nope")
    assert caught.value.missing
