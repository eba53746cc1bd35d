"""Lines of query batches: where they are cut, what is read of them, and how answers are written."""

import json
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.batchlines import (
    MAX_LINE_BYTES,
    Cutting,
    Range,
    answered,
    error_code,
    failed,
    from_ndjson,
    from_outcome,
    numbered,
    outcome,
    read_line,
    to_ndjson,
)
from core.errors import InvalidInputError, ServiceError
from core.models import Outcome, RerankOptions
from core.queries import NewQuery, Reference
from core.settings import Settings

LINES = st.lists(st.sampled_from([b"", b"  ", b"\r", b"{}", b'{"text": "red"}\r', b"nonsense"]), max_size=12)


def cut(data: bytes, *, every: int, chunk: int = 5, most: int = 99) -> tuple[Range, ...]:
    cutting = Cutting(BytesIO(data), every=every, most=most)
    while cutting.read(chunk):
        pass
    return cutting.ranges()


@settings(max_examples=60)
@given(LINES, st.integers(1, 4), st.integers(1, 9), st.booleans())
def test_ranges_hold_every_query_once_under_its_number(lines: list[bytes], every: int, chunk: int, ended: bool) -> None:  # noqa: FBT001
    data = b"\n".join(lines) + (b"\n" if ended and lines else b"")
    ranges = cut(data, every=every, chunk=chunk)
    parts = [data[each.offset : each.offset + each.size_bytes] for each in ranges]
    found = [numbered(part, each.first_line) for part, each in zip(parts, ranges, strict=True)]
    wanted = [(number, line) for number, line in enumerate(lines, start=1) if line.strip()]
    assert [pair for some in found for pair in some] == wanted
    assert [len(some) for some in found] == [each.queries for each in ranges]
    assert all(each.queries == every for each in ranges[:-1])


def test_a_byte_order_mark_is_no_query() -> None:
    (only,) = cut(b"\xef\xbb\xbf{}\n", every=9)
    assert numbered(b"\xef\xbb\xbf{}\n", only.first_line) == ((1, b"{}"),)
    assert cut(b"\xef\xbb\xbf\n", every=9, chunk=99) == ()


def test_a_batch_has_a_bound() -> None:
    assert sum(each.queries for each in cut(b"{}\n" * 5, every=2, most=5)) == 5
    with pytest.raises(InvalidInputError, match="at most 5"):
        cut(b"{}\n" * 6, every=2, most=5)


def asked(**fields: Any) -> NewQuery:
    line = read_line(7, json.dumps(fields).encode(), Settings())
    assert isinstance(line.asked, NewQuery), line.asked
    return line.asked


def test_a_line_is_a_query_without_a_judge_unless_it_asks_for_one() -> None:
    composed = {"reference": {"external_id": "sku-1"}, "text": "red"}
    query = asked(**composed, top_k=3, group_by="product")
    assert query == NewQuery(Reference(external_id="sku-1"), "red", top_k=3, group_by="product", rerank=False)
    assert asked(**composed, rerank=True).rerank is True
    assert asked(**composed, rerank={"depth": 9}).rerank == RerankOptions(depth=9, budget_s=20.0)


@pytest.mark.parametrize(
    ("data", "code", "said", "client_id"),
    [
        (b"nonsense", "invalid_json", "JSON object", None),
        (b'"text"', "invalid_json", "JSON object", None),
        (b'{"text": NaN}', "invalid_json", "JSON object", None),
        (b"\xff\xfe{", "invalid_json", "JSON object", None),
        (b"[" * 20_000, "invalid_json", "JSON object", None),
        (b'{"id": "a", "text": ""}', "invalid_input", "/text", "a"),
        (b'{"id": 7, "top_k": 0}', "invalid_input", "/top_k", 7),
        (b'{"id": true, "text": "x"}', "invalid_input", "/id", None),
        (b'{"id": "\\ud800", "text": "x"}', "invalid_input", "/id", None),
        (b'{"id": "a", "callback_url": "http://x.example"}', "invalid_input", "/callback_url", "a"),
        (b'{"id": "a", "reference": {"url": "http://x.example/1.jpg"}}', "invalid_input", "/reference/url", "a"),
        (b'{"text": "' + b"x" * MAX_LINE_BYTES + b'"}', "line_too_long", "65536", None),
    ],
)
def test_a_bad_line_fails_alone_and_says_why(data: bytes, code: str, said: str, client_id: object) -> None:
    line = read_line(3, data, Settings())
    assert isinstance(line.asked, ServiceError)
    assert (line.number, line.client_id, error_code(line.asked)) == (3, client_id, code)
    assert said in line.asked.detail
    written = failed(3, line.client_id, code=code, detail=line.asked.detail)
    assert json.loads(to_ndjson([written])) == written


def test_answers_are_counted_and_failures_come_back_as_they_were() -> None:
    good = answered(1, "a", {"results": [{"rank": 1}]})
    bad = failed(2, "b", code="not_found", detail="gone")
    nameless = failed(3, None, code="poison", detail="stopped")
    assert good == {"line": 1, "id": "a", "results": [{"rank": 1}]}
    assert [outcome(line).outcome for line in (good, bad)] == [Outcome.CREATED, Outcome.FAILED]
    assert (outcome(bad).external_id, outcome(bad).source, outcome(bad).code) == ("b", "line 2", "not_found")
    assert from_outcome(outcome(bad)) == bad
    assert from_outcome(outcome(nameless)) == nameless


def test_stored_lines_are_read_back_by_number() -> None:
    lines = [answered(2, None, {"results": ["\u2028é\r\n"]}), failed(1, None, code="c", detail="\ud800")]
    stored = to_ndjson(lines)
    assert stored.count(b"\n") == 2
    assert [number for number, _ in from_ndjson(stored)] == [2, 1]
    assert json.loads(next(from_ndjson(stored))[1]) == lines[0]
