import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from click.testing import Result

from tests.unit.cli.scripted import KEY, URL, ScriptedServer, answer_json, job_json, problem, result_json

IMPORTS = "/galleries/shop/imports"
QUERIES = "/galleries/shop/queries"
JOB = "/jobs/job-1"
GALLERY = {"name": "shop", "encoder": "demo", "image_count": 3, "created_at": "2026-01-01T00:00:00Z"}

Setr = Callable[..., Result]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.jpg").write_bytes(b"a")
    (folder / "sub/b.png").write_bytes(b"b")
    return folder


@pytest.fixture
def shop(server: ScriptedServer) -> ScriptedServer:
    """A server with the gallery `shop` that takes any import and query."""
    server.on("GET", "/galleries/shop", httpx.Response(200, json=GALLERY))
    server.on("POST", IMPORTS, httpx.Response(202, json=job_json("queued")))
    server.on("POST", QUERIES, httpx.Response(202, json=job_json("queued", kind="query", pending=1)))
    return server


def ends(server: ScriptedServer, job: dict[str, object]) -> None:
    server.on("GET", JOB, httpx.Response(200, json=job))


def uploaded_names(server: ScriptedServer) -> list[str]:
    content = next(request.content for request in server.requests if request.url.path == IMPORTS)
    start = content.index(b"PK\x03\x04")
    with zipfile.ZipFile(io.BytesIO(content[start : content.rindex(b"\r\n--")])) as archive:
        return archive.namelist()


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (job_json("succeeded", created=2), 0),
        (job_json("partially_succeeded", created=1, failed=1), 3),
        (job_json("failed", failed=2), 1),
        (job_json("canceled", created=1, canceled=1), 1),
    ],
    ids=lambda value: value["state"] if isinstance(value, dict) else str(value),
)
def test_import_sends_a_folder_and_exits_as_the_job_ended(
    setr: Setr, shop: ScriptedServer, pictures: Path, job: dict[str, object], code: int
) -> None:
    ends(shop, job)
    item = {"external_id": "sub/b.png", "source": "import.zip", "code": "truncated", "detail": "Export it again."}
    shop.on("GET", f"{JOB}/items", httpx.Response(200, json={"items": [item]}))
    result = setr("import", str(pictures), "--gallery", "shop")
    assert result.exit_code == code, result.output
    assert uploaded_names(shop) == ["a.jpg", "sub/b.png"]
    assert ("Export it again." in result.output) == (job["progress"]["failed"] > 0)  # type: ignore[index]


@pytest.mark.usefixtures("shop")
def test_import_without_waiting_prints_the_job(setr: Setr, pictures: Path) -> None:
    result = setr("import", str(pictures), "--gallery", "shop", "--no-wait")
    assert (result.exit_code, result.stdout.strip()) == (0, "job-1")


def test_import_as_json_prints_the_finished_job_alone(setr: Setr, shop: ScriptedServer, pictures: Path) -> None:
    ends(shop, job_json(created=2))
    result = setr("import", str(pictures), "--gallery", "shop", "--json")
    assert json.loads(result.stdout)["progress"]["created"] == 2


def test_a_mirror_import_says_so_and_how_much_it_may_remove(setr: Setr, shop: ScriptedServer, pictures: Path) -> None:
    ends(shop, job_json(created=2, deleted=1))
    options = ("--mode", "mirror", "--max-delete-share", "0.5")
    result = setr("import", str(pictures), "--gallery", "shop", *options)
    assert result.exit_code == 0, result.output
    content = next(request.content for request in shop.requests if request.url.path == IMPORTS)
    assert b'name="mode"\r\n\r\nmirror' in content
    assert b'name="max_delete_share"\r\n\r\n0.5' in content


@pytest.mark.parametrize("options", [("--max-delete-share", "0.5"), ("--mode", "mirror", "--max-delete-share", "2")])
def test_a_share_goes_with_a_mirror_only(
    setr: Setr, server: ScriptedServer, pictures: Path, options: tuple[str, ...]
) -> None:
    assert setr("import", str(pictures), "--gallery", "shop", *options).exit_code == 2
    assert server.requests == []


@pytest.mark.parametrize(
    ("options", "source"),
    [
        (
            ("--image-url", "https://a/1.jpg", "--image-url", "https://a/2.jpg"),
            {"urls": ["https://a/1.jpg", "https://a/2.jpg"]},
        ),
        (("--s3-prefix", "s3://catalog/shop/"), {"s3_prefix": "s3://catalog/shop/"}),
        (("--manifest-url", "https://a/catalog.csv"), {"manifest": "https://a/catalog.csv"}),
    ],
)
def test_import_from_elsewhere(
    setr: Setr, shop: ScriptedServer, options: tuple[str, ...], source: dict[str, object]
) -> None:
    ends(shop, job_json(created=2))
    result = setr("import", *options, "--gallery", "shop", "--mode", "mirror", "--max-delete-share", "0.5")
    assert result.exit_code == 0, result.output
    assert shop.bodies("POST", IMPORTS) == [{"source": source, "mode": "mirror", "max_delete_share": 0.5}]


def test_a_file_of_urls_is_sent_as_a_list(setr: Setr, shop: ScriptedServer, tmp_path: Path) -> None:
    ends(shop, job_json(created=1))
    (tmp_path / "links").write_text("https://a/1.jpg\n")
    assert setr("import", "--urls-file", str(tmp_path / "links"), "--gallery", "shop").exit_code == 0
    content = next(request.content for request in shop.requests if request.url.path == IMPORTS)
    assert b'filename="urls.txt"' in content
    assert b"https://a/1.jpg" in content


@pytest.mark.parametrize("options", [(), ("--image-url", "https://a/1.jpg", "--s3-prefix", "s3://catalog/shop/")])
def test_import_needs_one_source(setr: Setr, server: ScriptedServer, options: tuple[str, ...]) -> None:
    assert setr("import", *options, "--gallery", "shop").exit_code == 2
    assert server.requests == []


def test_a_large_file_goes_straight_into_the_bucket(setr: Setr, shop: ScriptedServer, tmp_path: Path) -> None:
    ends(shop, job_json(created=2))
    (tmp_path / "huge.zip").write_bytes(b"an archive")
    upload = {"id": "upload-1", "url": "http://127.0.0.1:9000/setr/key?signature=x"}
    shop.on("POST", "/galleries/shop/uploads", httpx.Response(201, json={"uploads": [upload]}))
    shop.on("PUT", "/setr/key", httpx.Response(503), httpx.Response(200))
    result = setr("import", str(tmp_path / "huge.zip"), "--gallery", "shop", "--direct")
    assert result.exit_code == 0, result.output
    assert shop.bodies("POST", "/galleries/shop/uploads") == [{"files": [{"filename": "huge.zip", "size_bytes": 10}]}]
    puts = [request for request in shop.requests if request.method == "PUT"]
    assert [request.content for request in puts] == [b"an archive"] * 2
    assert all("Authorization" not in request.headers and request.headers["Content-Length"] == "10" for request in puts)
    assert shop.bodies("POST", IMPORTS) == [{"source": {"upload_ids": ["upload-1"]}, "mode": "upsert"}]


def test_a_tar_is_sent_as_it_is(setr: Setr, shop: ScriptedServer, tmp_path: Path) -> None:
    ends(shop, job_json(created=2))
    (tmp_path / "catalog.tar.gz").write_bytes(b"packed by a shop")
    assert setr("import", str(tmp_path / "catalog.tar.gz"), "--gallery", "shop").exit_code == 0
    content = next(request.content for request in shop.requests if request.url.path == IMPORTS)
    assert b"packed by a shop" in content


def test_import_into_a_missing_gallery_stops_before_the_upload(
    setr: Setr, server: ScriptedServer, pictures: Path
) -> None:
    result = setr("import", str(pictures), "--gallery", "shop")
    assert result.exit_code == 1
    assert "--create" in result.stderr
    assert [request.method for request in server.requests] == ["GET"]


def test_import_creates_the_gallery_on_request(setr: Setr, shop: ScriptedServer, pictures: Path) -> None:
    shop.on("GET", "/galleries/shop", problem(404, "Not found", "There is no gallery."))
    shop.on("POST", "/galleries", httpx.Response(201, json=GALLERY))
    ends(shop, job_json(created=2))
    assert setr("import", str(pictures), "--gallery", "shop", "--create").exit_code == 0
    assert shop.bodies("POST", "/galleries") == [{"name": "shop"}]


def test_search_prints_a_ranked_table_with_both_stages(setr: Setr, shop: ScriptedServer) -> None:
    answer = answer_json(
        [result_json(1, "sku-9", coarse=4, p_yes=0.97), result_json(2, "sku-2", coarse=1, p_yes=None)],
        explanation={"kept": [["dress", 0.8]], "dropped": [["snow", 0.6]]},
    )
    ends(shop, {**job_json(kind="query", created=1), "result": answer, "warnings": ["text cut at 77 tokens"]})
    wanted = ("--like", "sku-1", "--text", "in red", "--negative-text", "striped", "--filter", '{"price": {"lte": 80}}')
    result = setr("search", "--gallery", "shop", *wanted, "--no-rerank", "--explain")
    assert result.exit_code == 0, result.output
    for shown in ("sku-9", "0.970", "category=dress", "kept: dress 0.80", "dropped: snow 0.60", "text cut"):
        assert shown in result.output
    assert shop.bodies("POST", QUERIES) == [
        {
            "reference": {"external_id": "sku-1"}, "text": "in red", "negative_text": "striped",
            "filter": {"price": {"lte": 80}}, "top_k": 10, "rerank": False, "explain": True,
        }
    ]  # fmt: skip


def test_search_by_a_picture_uploads_it(setr: Setr, shop: ScriptedServer, pictures: Path) -> None:
    ends(shop, {**job_json(kind="query", created=1), "result": answer_json([])})
    result = setr("search", "--gallery", "shop", "--image", str(pictures / "a.jpg"), "--json")
    assert json.loads(result.stdout)["result"]["results"] == []
    assert b'name="reference_image"; filename="a.jpg"' in next(
        request.content for request in shop.requests if request.url.path == QUERIES
    )


def test_search_by_an_address_leaves_the_fetching_to_the_server(setr: Setr, shop: ScriptedServer) -> None:
    ends(shop, {**job_json(kind="query", created=1), "result": answer_json([])})
    address = "https://shop.example/a.jpg"
    assert setr("search", "--gallery", "shop", "--reference-url", address, "--text", "in red").exit_code == 0
    assert shop.bodies("POST", QUERIES) == [{"reference": {"url": address}, "text": "in red", "top_k": 10}]


REFERENCES = (("--image", __file__), ("--like", "sku-1"), ("--reference-url", "https://shop.example/a.jpg"))


@pytest.mark.parametrize("left_out", range(3))
def test_a_search_has_one_reference(setr: Setr, server: ScriptedServer, left_out: int) -> None:
    two = [part for number, option in enumerate(REFERENCES) if number != left_out for part in option]
    result = setr("search", "--gallery", "shop", *two)
    assert result.exit_code == 2
    assert "Give one of" in result.stderr
    assert server.requests == []


def test_a_failed_query_is_one_clean_line(setr: Setr, shop: ScriptedServer) -> None:
    error = {"code": "model_load_failed", "detail": "The encoder is missing."}
    ends(shop, {**job_json("failed", kind="query", canceled=1), "error": error})
    result = setr("search", "--gallery", "shop", "--text", "red")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: The query failed: The encoder is missing.")


@pytest.mark.parametrize(
    "options",
    [(), ("--text", "x", "--filter", "{nonsense"), ("--text", "x", "--filter", "[1]"), ("--text", "x", "--top-k", "0")],
)
def test_wrong_search_options_are_usage_errors(setr: Setr, server: ScriptedServer, options: tuple[str, ...]) -> None:
    assert setr("search", "--gallery", "shop", *options).exit_code == 2
    assert server.requests == []


def test_invalid_fields_are_listed_without_a_traceback(setr: Setr, shop: ScriptedServer) -> None:
    errors = [{"pointer": "/filter/price", "detail": "unknown operator"}]
    shop.on("POST", QUERIES, problem(422, "Invalid input", "Look at the fields.", errors=errors))
    result = setr("search", "--gallery", "shop", "--text", "red")
    assert result.exit_code == 1
    assert "/filter/price: unknown operator" in result.stderr
    assert "Traceback" not in result.output


def test_ctrl_c_while_waiting_says_how_to_come_back(setr: Setr, shop: ScriptedServer, pictures: Path) -> None:
    shop.on("GET", JOB, KeyboardInterrupt())
    result = setr("import", str(pictures), "--gallery", "shop")
    assert result.exit_code == 130
    assert "setr jobs job-1 --wait" in result.stderr


def test_jobs_lists_with_a_filter(setr: Setr, server: ScriptedServer) -> None:
    server.on("GET", "/jobs", httpx.Response(200, json={"items": [job_json("running", pending=5)]}))
    result = setr("jobs", "--state", "running")
    assert result.exit_code == 0
    assert "job-1" in result.output
    assert dict(server.requests[0].url.params) == {"state": "running", "page_size": "20"}


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        ({"consumers": 0, "since": "2026-01-01T00:00:00Z", "until": None}, "no worker takes from queue embed"),
        ({"consumers": 1, "since": None, "until": "2026-01-01T00:00:07Z"}, ":00:07"),
    ],
)
def test_a_waiting_job_says_for_what(setr: Setr, server: ScriptedServer, waiting: dict[str, Any], said: str) -> None:
    ends(server, {**job_json("running", pending=5), "waiting_for": {"queue": "embed", **waiting}})
    result = setr("jobs", "job-1")
    assert result.exit_code == 0
    assert said in result.output


def test_jobs_can_wait_and_exits_like_an_import(setr: Setr, server: ScriptedServer) -> None:
    running, done = job_json("running", pending=2), job_json("partially_succeeded", created=1, failed=1)
    server.on("GET", JOB, httpx.Response(200, json=running), httpx.Response(200, json=done))
    server.on("GET", f"{JOB}/items", httpx.Response(200, json={"items": []}))
    assert setr("jobs", "job-1", "--wait").exit_code == 3


def test_jobs_can_cancel(setr: Setr, server: ScriptedServer) -> None:
    server.on("POST", f"{JOB}/cancel", httpx.Response(202, json=job_json("canceled", canceled=2)))
    result = setr("jobs", "job-1", "--cancel")
    assert result.exit_code == 0
    assert "canceled" in result.output


def test_jobs_can_retry_and_wait_for_the_new_job(setr: Setr, server: ScriptedServer) -> None:
    server.on("POST", f"{JOB}/retry", httpx.Response(202, json={**job_json("queued", pending=2), "id": "job-2"}))
    server.on("GET", "/jobs/job-2", httpx.Response(200, json={**job_json(created=2), "id": "job-2"}))
    result = setr("jobs", "job-1", "--retry", "--wait")
    assert result.exit_code == 0, result.output
    assert "job-2" in result.output


def test_a_job_is_not_retried_and_cancelled_at_once(setr: Setr, server: ScriptedServer) -> None:
    assert setr("jobs", "job-1", "--retry", "--cancel").exit_code == 2
    assert setr("jobs", "--retry").exit_code == 2
    assert server.requests == []


def test_galleries_are_listed_created_and_deleted(setr: Setr, shop: ScriptedServer) -> None:
    shop.on("GET", "/galleries", httpx.Response(200, json={"items": [GALLERY], "next_page_token": None}))
    shop.on("POST", "/galleries", httpx.Response(201, json=GALLERY))
    shop.on("DELETE", "/galleries/shop", httpx.Response(202, json=job_json("queued", kind="delete")))
    ends(shop, job_json(kind="delete", deleted=3))
    assert "shop" in setr("galleries").output
    assert "Created gallery shop" in setr("galleries", "create", "shop").output
    assert setr("galleries", "delete", "shop", "--yes").exit_code == 0


def test_deleting_a_gallery_asks_first(setr: Setr, shop: ScriptedServer) -> None:
    result = setr("galleries", "delete", "shop")
    assert result.exit_code == 1
    assert [request.method for request in shop.requests] == ["GET"]


def test_credentials_come_from_the_file_of_setr_up(setr: Setr, shop: ScriptedServer, tmp_path: Path) -> None:
    shop.on("GET", "/galleries", httpx.Response(200, json={"items": []}))
    folder = tmp_path / ".setr"
    folder.mkdir()
    (folder / "client.json").write_text(json.dumps({"url": URL, "api_key": "stored"}))
    assert setr("galleries", env={"SETR_URL": None, "SETR_API_KEY": None}).exit_code == 0
    assert setr("galleries", env={"SETR_API_KEY": None}).exit_code == 0
    assert setr("galleries").exit_code == 0
    assert [request.headers["Authorization"] for request in shop.requests] == [
        "Bearer stored", "Bearer stored", f"Bearer {KEY}",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("stored", "env", "message"),
    [
        (None, {"SETR_URL": None, "SETR_API_KEY": None}, "No server is known"),
        (None, {"SETR_API_KEY": None}, "No API key is known"),
        ('{"url": "http://other", "api_key": "k"}', {"SETR_API_KEY": None}, "No API key is known"),
        ('{"url": ', {"SETR_URL": None, "SETR_API_KEY": None}, "is damaged"),
        (None, {"SETR_URL": "localhost:8080"}, "is not a URL"),
    ],
)
def test_missing_credentials_name_the_way_out(
    setr: Setr, tmp_path: Path, stored: str | None, env: dict[str, str | None], message: str
) -> None:
    if stored is not None:
        (tmp_path / ".setr").mkdir()
        (tmp_path / ".setr" / "client.json").write_text(stored)
    result = setr("galleries", env=env)
    assert result.exit_code == 1
    assert message in result.stderr
    assert "Hint:" in result.stderr


def test_export_downloads_every_file_once_the_job_is_done(setr: Setr, server: ScriptedServer, tmp_path: Path) -> None:
    names = ["part-00000.parquet", "part-00001.parquet"]
    files = [
        {
            "key": f"tenants/t/exports/j/{name}",
            "rows": 1,
            "size_bytes": 3,
            "url": f"http://bucket.test/{name}?signature",
        }
        for name in names
    ]
    done = job_json("succeeded", kind="export", created=2) | {"result": {"format": "parquet", "files": files}}
    server.on("POST", "/galleries/shop/exports", httpx.Response(202, json=job_json("queued", kind="export")))
    ends(server, done)
    for name in names:
        server.on("GET", f"/{name}", httpx.Response(200, content=name.encode()))
    result = setr("export", "shop", "--out", str(tmp_path / "new"), "--no-vectors")
    assert result.exit_code == 0, result.output
    assert {path.name: path.read_text() for path in (tmp_path / "new").iterdir()} == {name: name for name in names}
    assert server.bodies("POST", "/galleries/shop/exports") == [{"vectors": False}]
    fetched = [request for request in server.requests if request.url.host == "bucket.test"]
    assert all("Authorization" not in request.headers for request in fetched)


def test_a_batch_of_queries_goes_out_and_its_answers_come_back(
    setr: Setr, server: ScriptedServer, tmp_path: Path
) -> None:
    asked, out = tmp_path / "queries.jsonl", tmp_path / "answers.ndjson"
    asked.write_text('{"text": "red"}\n{"text": ""}\n')
    url = f"{URL}/bucket/results.ndjson"
    done = job_json("partially_succeeded", kind="query_batch", created=1, failed=1)
    server.on("POST", "/galleries/shop/query-batches", httpx.Response(202, json=job_json("queued", kind="query_batch")))
    server.on("GET", "/bucket/results.ndjson", httpx.Response(200, content=b'{"line": 1}\n'))
    server.on("GET", f"{JOB}/items", httpx.Response(200, json={"items": [], "next_page_token": None}))
    ends(server, done | {"result": {"format": "ndjson", "lines": 2, "size_bytes": 12, "key": "k", "url": url}})
    assert setr("search-batch", "shop", str(asked), "--out", str(out)).exit_code == 3
    assert out.read_bytes() == b'{"line": 1}\n'
    sent = next(request.content for request in server.requests if request.url.path.endswith("query-batches"))
    assert asked.read_bytes() in sent


def test_a_failed_export_downloads_nothing(setr: Setr, server: ScriptedServer, tmp_path: Path) -> None:
    server.on("POST", "/galleries/shop/exports", httpx.Response(202, json=job_json("queued", kind="export")))
    ends(server, job_json("failed", kind="export"))
    assert setr("export", "shop", "--out", str(tmp_path / "new")).exit_code == 1
    assert not (tmp_path / "new").exists()
