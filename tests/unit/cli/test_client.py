from pathlib import Path

import httpx
import pytest

from cli.client import ApiClient
from cli.transport import ApiError, Upload
from tests.unit.cli.scripted import KEY, URL, Pauses, ScriptedServer, job_json, ok

REFUSED = httpx.ConnectError("Connection refused")
JOB = "/jobs/job-1"


@pytest.fixture
def client(server: ScriptedServer, pauses: Pauses) -> ApiClient:
    return ApiClient(URL, KEY, transport=server, sleep=pauses)


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


def test_names_are_escaped_in_paths(client: ApiClient, server: ScriptedServer) -> None:
    with pytest.raises(ApiError):
        client.gallery("a/../b?c")
    assert server.requests[0].url.raw_path == b"/galleries/a%2F..%2Fb%3Fc"


def test_a_missing_image_is_a_404(client: ApiClient, server: ScriptedServer) -> None:
    server.on("GET", "/galleries/shop/images", ok(items=[], next_page_token=None))
    with pytest.raises(ApiError) as caught:
        client.image("shop", "nope")
    assert caught.value.missing
