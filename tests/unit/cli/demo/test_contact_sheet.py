import io

import pytest
from PIL import Image, ImageFont

from cli.demo.contact_sheet import (
    CELL_PX,
    FOUND,
    HEADER_PX,
    Cell,
    Row,
    draw_sheet,
    reference_x,
    result_x,
    row_height,
    wrapped,
)

RED, BLUE, GRAY = (200, 0, 0), (0, 0, 200), (90, 90, 90)


def png(color: tuple[int, int, int], size: tuple[int, int] = (64, 64)) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", size, color).save(buffer, format="PNG")
    return buffer.getvalue()


def cell(color: tuple[int, int, int], *, intended: bool = False) -> Cell:
    return Cell(picture=png(color), caption="1. p1", detail="coarse 3, P(Yes) 0.97", intended=intended)


def row(*cells: Cell, reference: bytes | None = None, text: str = "in red") -> Row:
    return Row(
        kind="composed", reference=reference, reference_caption="p0", text=text, notes=["kept: dress"], cells=cells
    )


@pytest.fixture
def sheet() -> Image.Image:
    rows = [
        row(cell(BLUE), cell(GRAY, intended=True), reference=png(RED, (64, 32))),
        row(cell(BLUE), text="a red dress"),
    ]
    return draw_sheet(rows, title="Results", columns=2)


def middle(sheet: Image.Image, x: int, number: int) -> object:
    return sheet.getpixel((x + CELL_PX // 2, HEADER_PX + number * row_height() + CELL_PX // 2))


def test_size_follows_rows_and_columns(sheet: Image.Image) -> None:
    assert sheet.height > HEADER_PX + 2 * row_height()
    assert sheet.width > result_x(1) + CELL_PX
    assert draw_sheet([], title="", columns=5).width == sheet.width + result_x(4) - result_x(1)


def test_reference_and_results_stand_in_their_places(sheet: Image.Image) -> None:
    assert middle(sheet, reference_x(), 0) == RED
    assert [middle(sheet, result_x(column), 0) for column in (0, 1)] == [BLUE, GRAY]
    assert middle(sheet, result_x(0), 1) == BLUE


def test_only_the_intended_product_is_framed(sheet: Image.Image) -> None:
    corners = [sheet.getpixel((result_x(column) + 2, HEADER_PX + 2)) for column in (0, 1)]
    assert corners == [BLUE, FOUND]


def test_results_beyond_the_columns_are_left_out() -> None:
    narrow = draw_sheet([row(*[cell(BLUE)] * 9)], title="", columns=2)
    assert narrow.width < result_x(2) + CELL_PX


def test_long_text_stays_in_its_row_and_column() -> None:
    cells, words = [cell(BLUE)], "and with long sleeves " * 40
    short, long = (draw_sheet([row(*cells, text=text)], title="", columns=1) for text in ("x", words))
    assert short.size == long.size
    right = (result_x(0), 0, long.width, long.height)
    assert long.crop(right).tobytes() == short.crop(right).tobytes()
    assert long.tobytes() != short.tobytes()


def test_wrapping_keeps_every_word_in_order() -> None:
    font = ImageFont.load_default(size=20)
    lines = wrapped("this one but with long sleeves and no pattern", font, 160)
    assert " ".join(lines) == "this one but with long sleeves and no pattern"
    assert len(lines) > 1
    assert all(font.getlength(line) <= 160 for line in lines)
