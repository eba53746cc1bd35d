import csv
import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import InvalidInputError
from core.lines import MAX_LINE_CHARS
from core.manifests import (
    MAX_CELL_CHARS,
    Operation,
    Row,
    RowError,
    external_id_problem,
    is_manifest_name,
    read_csv,
    read_jsonl,
    read_manifest,
)


def from_csv(text: str | bytes, **options: Any) -> list[Row | RowError]:
    return list(read_csv(io.BytesIO(text.encode() if isinstance(text, str) else text), **options))


def from_jsonl(*objects: object, **options: Any) -> list[Row | RowError]:
    lines = [line if isinstance(line, str) else json.dumps(line) for line in objects]
    return list(read_jsonl(io.BytesIO("\n".join(lines).encode()), **options))


def codes(rows: list[Row | RowError]) -> list[tuple[int, str]]:
    return [(row.line, row.code if isinstance(row, RowError) else "") for row in rows]


def attributes(cell: str, **options: Any) -> Any:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([["external_id", "image", "x"], ["a", "a.jpg", cell]])
    (row,) = from_csv(buffer.getvalue(), **options)
    return row.attributes.get("x") if isinstance(row, Row) else row.code


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_recognised_by_the_header(delimiter: str) -> None:
    text = f"external_id{delimiter}image{delimiter}name\na{delimiter}a.jpg{delimiter}plain"
    assert from_csv(text) == [Row(2, "a", "a.jpg", {"name": "plain"})]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_encodings_with_their_marks_are_read(encoding: str) -> None:
    marks = {"utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
    data = marks.get(encoding, b"") + "external_id,image\r\nKleid-ä,ä.jpg\r\n".encode(encoding)
    assert from_csv(data) == [Row(2, "Kleid-ä", "ä.jpg", {})]


def test_a_spreadsheets_separator_line_and_padding_are_understood() -> None:
    assert from_csv("sep=;\n External_ID ; IMAGE ; Price \n a ; a.jpg ; 3 \n\n;;\n") == [
        Row(3, "a", "a.jpg", {"Price": 3})
    ]


def test_quoted_cells_hold_delimiters_quotes_and_line_breaks() -> None:
    rows = from_csv('external_id,image,text\na,a.jpg,"red, ""long""\nsleeves"\nb,b.jpg,x')
    assert rows == [Row(2, "a", "a.jpg", {"text": 'red, "long"\nsleeves'}), Row(4, "b", "b.jpg", {"text": "x"})]


@pytest.mark.parametrize(
    ("cell", "value"),
    [
        ("80", 80),
        ("-1", -1),
        ("19.90", 19.9),
        ("1e3", 1000.0),
        ("0", 0),
        ("true", True),
        ("false", False),
        ("", None),
        ("007", "007"),
        ("+5", "+5"),
        (".5", ".5"),
        ("1.", "1."),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
        ("1,5", "1,5"),
        ("True", "True"),
        ("null", "null"),
        ("NaN", "NaN"),
        ("inf", "inf"),
        ("1e999", "1e999"),
        ("٣", "٣"),
        ("12345678901234567890123", "12345678901234567890123"),
    ],
)
def test_cells_become_what_they_are_in_json(cell: str, value: object) -> None:
    found = attributes(cell)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("kind", "cell", "value"),
    [
        ("string", "80", "80"),
        ("string", "true", "true"),
        ("number", "80", 80),
        ("number", "cheap", "bad_attribute"),
        ("number", "true", "bad_attribute"),
        ("boolean", "TRUE", True),
        ("boolean", "0", False),
        ("boolean", "maybe", "bad_attribute"),
    ],
)
def test_the_gallerys_schema_decides_types(kind: str, cell: str, value: object) -> None:
    assert attributes(cell, schema={"x": kind}) == value


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "found none"),
        ("\n\n", "found none"),
        ("id,picture\n1,2", "columns external_id and image; found 'id', 'picture'"),
        ("external_id;photo\n1;2", "column image; found 'external_id', 'photo'"),
        ('{"external_id": "a"}\n', "external_id"),
        ("external_id,image,x,x\n", "two columns named 'x'"),
        (b"external_id,image,\xe9\n", "UTF-8"),
        ("external_id,image\n".encode("utf-16-le"), "UTF-8"),
        (b"external_id,image," + b"x" * (MAX_LINE_CHARS + 1), "longer"),
        (b"\xff\xfee", "UTF-8"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_a_file_without_a_usable_header_is_refused_with_what_was_found(text: str | bytes, word: str) -> None:
    with pytest.raises(InvalidInputError, match=word):
        from_csv(text)


def test_a_bad_row_costs_one_row() -> None:
    rows = from_csv(
        b"external_id,image,name\n"
        b"a,a.jpg,fine\n"
        b",b.jpg,no id\n"
        b"c,,no image\n"
        b"d,d.jpg,caf\xe9\n"
        b"e,e.jpg\n"
        b"f,f.jpg,x,y\n"
        b"g,g.jpg,fine,\n"
        b"h\x07,h.jpg,x\n"
        b"i,i.jpg,nul\0\n"
        b"j,j.jpg,fine\n"
    )
    assert codes(rows) == [
        (2, ""),
        (3, "missing_external_id"),
        (4, "missing_image"),
        (5, "bad_encoding"),
        (6, "bad_row"),
        (7, "bad_row"),
        (8, ""),
        (9, "bad_external_id"),
        (10, "bad_encoding"),
        (11, ""),
    ]


def test_an_open_quote_does_not_swallow_the_rows_after_it() -> None:
    text = 'external_id,image\na,"a.jpg\n' + "".join(f"b{index},b.jpg\n" for index in range(500))
    rows = from_csv(text)
    assert codes(rows)[:2] == [(2, "bad_row"), (3, "")]
    assert len(rows) == 501


def test_a_long_line_costs_one_row() -> None:
    text = f"external_id,image,x\na,a.jpg,{'x' * (MAX_LINE_CHARS + 5)}\nb,b.jpg,1\n"
    assert codes(from_csv(text)) == [(2, "row_too_long"), (3, "")]
    rows = from_jsonl("x" * (2 * MAX_LINE_CHARS), {"external_id": "b", "image": "b.jpg"})
    assert codes(rows) == [(1, "row_too_long"), (2, "")]


def test_a_long_cell_costs_one_row_and_says_how_long_it_may_be() -> None:
    longest, longer = "x" * MAX_CELL_CHARS, "x" * (MAX_CELL_CHARS + 1)
    rows = from_csv(f"external_id,image,x\na,a.jpg,{longest}\nb,b.jpg,{longer}\nc,c.jpg,1\n")
    assert codes(rows) == [(2, ""), (3, "row_too_long"), (4, "")]
    assert isinstance(rows[1], RowError)
    assert rows[1].detail == "A cell of the row has more than 131072 characters: shorten it, or close its quote."


def test_many_long_cells_are_no_broken_quotes() -> None:
    rows = from_csv("external_id,image\n" + f"a,{'x' * (MAX_CELL_CHARS + 1)}\n" * 101 + "b,b.jpg\n")
    assert codes(rows)[100:] == [(102, "row_too_long"), (103, "")]


def test_a_cell_that_swallowed_rows_gives_them_back() -> None:
    text = "external_id,image,x\n" + 'a,a.jpg,"open\n' + "b,b.jpg,1\n" * 20_000 + 'c,c.jpg,"\n'
    rows = from_csv(text)
    assert codes(rows)[:3] == [(2, "row_too_long"), (3, ""), (4, "")]
    assert codes(rows)[20_000:] == [(20_002, ""), (20_003, "bad_row")]


def test_a_long_line_after_an_open_quote_costs_both_rows() -> None:
    text = f'external_id,image\n"a,a.jpg\n{"x" * (MAX_LINE_CHARS + 5)}\nb,b.jpg\n'
    assert codes(from_csv(text)) == [(2, "bad_row"), (3, "row_too_long"), (4, "")]


def test_a_file_of_broken_quotes_is_given_up() -> None:
    with pytest.raises(InvalidInputError, match="broken quotes"):
        from_csv("external_id,image\n" + '"a"b,c\n' * 1000)


def test_json_lines_keep_their_types() -> None:
    rows = from_jsonl(
        {"external_id": "a", "image": "a.jpg", "price": 1.5, "tags": ["x", 2, True], "gone": None, "sku": "007"},
        "",
        {"external_id": 17, "image": "b.jpg", "operation": "upsert"},
        {"external_id": "c", "operation": "delete", "price": {"ignored": 1}},
    )
    assert rows == [
        Row(1, "a", "a.jpg", {"price": 1.5, "tags": ["x", 2, True], "sku": "007"}),
        Row(3, "17", "b.jpg", {}),
        Row(4, "c", "", {}, Operation.DELETE),
    ]


@pytest.mark.parametrize(
    ("line", "code", "external_id"),
    [
        ("{bad", "bad_row", ""),
        ("[1]", "bad_row", ""),
        ('"a"', "bad_row", ""),
        ("[" * 100_000, "bad_row", ""),
        ('{"external_id": "a", "image": "x", "n": NaN}', "bad_row", ""),
        ('{"external_id": "a", "image": "x", "n": ' + "9" * 5000 + "}", "bad_row", ""),
        ('{"image": "x"}', "missing_external_id", ""),
        ('{"external_id": "", "image": "x"}', "missing_external_id", ""),
        ('{"external_id": true, "image": "x"}', "bad_external_id", ""),
        ('{"external_id": "a\\u0000", "image": "x"}', "bad_external_id", ""),
        ('{"external_id": "a", "image": 3}', "missing_image", "a"),
        ('{"external_id": "a", "image": "\\ud800"}', "bad_encoding", "a"),
        ('{"external_id": "a", "image": "x", "n": 1e999}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "n": {"b": 1}}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "n": [[1]]}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "n": [null]}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "n": "\\ud800"}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "": 1}', "bad_attribute", "a"),
        ('{"external_id": "a", "image": "x", "operation": "remove"}', "unknown_operation", "a"),
        (json.dumps({"external_id": "a"} | {f"k{index}": 1 for index in range(300)}), "bad_row", ""),
    ],
    ids=lambda value: str(value)[:60],
)
def test_each_bad_json_line_has_a_code_and_the_next_is_read(line: str, code: str, external_id: str) -> None:
    bad, good = from_jsonl(line, {"external_id": "z", "image": "z.jpg"})
    assert isinstance(bad, RowError)
    assert (bad.line, bad.code, bad.external_id) == (1, code, external_id)
    assert bad.detail.endswith(".")
    bad.detail.encode()
    assert good == Row(2, "z", "z.jpg", {})


def test_the_schema_is_checked_in_json_too() -> None:
    schema = {"price": "number", "tags": "string"}
    rows = from_jsonl(
        {"external_id": "a", "image": "a", "price": 1, "tags": ["x"]},
        {"external_id": "b", "image": "b", "price": "1"},
        {"external_id": "c", "image": "c", "tags": ["x", 1]},
        schema=schema,
    )
    assert codes(rows) == [(1, ""), (2, "bad_attribute"), (3, "bad_attribute")]
    assert isinstance(rows[1], RowError)
    assert "says number" in rows[1].detail


def test_external_ids_are_1_to_512_printable_characters() -> None:
    assert external_id_problem("Kleid 7/ä-漢.jpg") == ""
    assert external_id_problem("x" * 512) == ""
    assert all(external_id_problem(bad) for bad in ("", "x" * 513, "a\nb", "a\0", "\u200b", "\ud800"))


def test_manifests_are_known_by_their_names() -> None:
    assert is_manifest_name("top/Catalog.CSV")
    assert not is_manifest_name("a.csv.jpg")
    data = io.BytesIO(b'{"external_id": "a", "image": "a.jpg"}')
    assert list(read_manifest(data, "X.JSONL")) == [Row(1, "a", "a.jpg", {})]


def test_reading_streams_and_leaves_the_stream_open() -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            return (super().read(size) or b"b,b.jpg\n" * 1000)[: size if size and size > 0 else None]

    stream = Endless(b"external_id,image\n")
    rows = read_csv(stream)
    assert [next(rows).external_id for _ in range(5000)] == ["b"] * 5000
    del rows
    assert not stream.closed


PRINTABLE = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Zs", "Zl", "Zp")), min_size=1, max_size=12)
CELL_TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=15).map(str.strip)
JSON_VALUES = (
    st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False, allow_infinity=False) | CELL_TEXT
)


def _drained(rows: Iterator[Row | RowError]) -> None:
    try:
        for row in rows:
            assert row.line >= 1
            if isinstance(row, Row):
                assert not external_id_problem(row.external_id)
                json.dumps(row.attributes, allow_nan=False).encode()
            else:
                assert row.code
                assert row.detail.encode()
    except InvalidInputError as error:
        assert error.detail.encode()  # noqa: PT017 - either outcome is right, this checks one


@given(st.binary(max_size=300), st.sampled_from([b"", b"external_id,image,x\n", b"\xff\xfe", b"\xef\xbb\xbf"]))
def test_any_bytes_are_rows_or_our_errors(data: bytes, head: bytes) -> None:
    _drained(read_csv(io.BytesIO(head + data)))
    _drained(read_jsonl(io.BytesIO(head + data)))


@given(st.text(st.sampled_from('",;\n\ra1 \t'), max_size=60))
def test_any_quoting_is_rows_or_our_errors(text: str) -> None:
    _drained(read_csv(io.BytesIO(b"external_id,image\n" + text.encode())))


@given(st.lists(st.tuples(PRINTABLE, PRINTABLE, CELL_TEXT), max_size=8))
def test_csv_round_trip(rows: list[tuple[str, str, str]]) -> None:
    buffer = io.StringIO()
    csv.writer(buffer).writerows([("external_id", "image", "x"), *rows])
    read = from_csv(buffer.getvalue(), schema={"x": "string"})
    assert [(row.external_id, row.image, row.attributes.get("x", "")) for row in read if isinstance(row, Row)] == rows
    assert len(read) == len(rows)


@given(
    st.lists(st.tuples(PRINTABLE, PRINTABLE, JSON_VALUES | st.lists(JSON_VALUES, max_size=3)), max_size=8),
    st.booleans(),
)
def test_jsonl_round_trip(rows: list[tuple[str, str, Any]], ascii_only: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    lines = [
        json.dumps({"external_id": one, "image": two, "x": three}, ensure_ascii=ascii_only) for one, two, three in rows
    ]
    read = from_jsonl(*lines)
    assert [(row.external_id, row.image, row.attributes["x"]) for row in read if isinstance(row, Row)] == rows
