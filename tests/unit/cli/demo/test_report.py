import io
from pathlib import Path
from typing import Any, cast

import httpx
from PIL import Image
from rich.console import Console

from cli.client import ApiClient
from cli.demo.queries import DemoQuery
from cli.demo.report import print_answers, write_sheet
from cli.demo.session import Asked
from cli.wire import Answer
from tests.unit.cli.scripted import KEY, URL, ScriptedServer, answer_json, result_json


def answered(intended: str, **fields: Any) -> Asked:
    rows = [result_json(1, "p1", coarse=4, p_yes=0.97), result_json(2, "p2", p_yes=None)]
    query = DemoQuery(
        kind="composed", text="in red", reference="p9", filter={"in_stock": True}, intended=frozenset({intended})
    )
    return Asked(query=query, answer=cast(Answer, answer_json(rows, **fields)))


def printed(asked: Asked) -> str:
    console = Console(file=io.StringIO(), width=160)
    print_answers(console, [asked])
    return cast(io.StringIO, console.file).getvalue()


def test_tables_mark_what_the_query_means() -> None:
    explanation = {"kept": [["dress", 0.8]], "dropped": [["snow", 0.6]]}
    lines = printed(answered("p1", explanation=explanation)).splitlines()
    assert ["✓" in line for line in lines if "p1" in line or "p2" in line] == [True, False]
    assert any("dropped: snow 0.60" in line for line in lines)
    assert 'composed: p9 + "in red" + filter' in lines[1]


def test_a_miss_says_what_was_meant() -> None:
    assert "meant: p7, not among the results" in printed(answered("p7"))


def test_coarse_answers_say_why_the_judge_was_not_asked() -> None:
    assert "not re-ranked: budget spent" in printed(answered("p1", reranked=False, reason="budget spent"))


def test_sheet_fetches_its_pictures_over_http(server: ScriptedServer, tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (32, 32), (200, 0, 0)).save(buffer, format="JPEG")
    picture = httpx.Response(200, content=buffer.getvalue())
    image = {"id": "i-9", "external_id": "p9", "attributes": {}}
    server.on("GET", "/galleries/demo/images", httpx.Response(200, json={"items": [image]}))
    server.on("GET", "/galleries/demo/images/i-9/thumbnail", picture)
    server.on("GET", "/bucket/thumb", picture)
    asked = answered("p1")
    for row in asked.answer["results"]:
        row["thumbnail_url"] = "http://127.0.0.1:9000/bucket/thumb?signature=1"
    path = tmp_path / "out" / "sheet.png"
    write_sheet(ApiClient(URL, KEY, transport=server), [asked], path)
    with Image.open(path) as sheet:
        assert sheet.format == "PNG"
    fetched = [request.url.path for request in server.requests]
    assert fetched.count("/bucket/thumb") == 2
