"""Tables between markers."""

from pathlib import Path

import pytest

from benchmarks.report import table, write_section


def test_a_section_is_replaced_and_the_rest_stays(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("before\n<!-- rates:begin -->\nold \\1\n<!-- rates:end -->\nafter\n")
    for text in ("once", table(("a", "b"), [(1, "x\\2")])):
        write_section(document, "rates", text)
        assert document.read_text() == f"before\n<!-- rates:begin -->\n\n{text}\n\n<!-- rates:end -->\nafter\n"


def test_a_document_without_markers_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "page.md"
    document.write_text("nothing here")
    with pytest.raises(ValueError, match="rates:begin"):
        write_section(document, "rates", "text")
