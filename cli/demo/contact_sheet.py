"""The contact sheet: one row a query with its reference, its words, and its first results side by side."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from PIL import Image, ImageDraw, ImageFont, ImageOps

CELL_PX = 176
TEXT_PX = 300
GAP_PX = 14
MARGIN_PX = 28
HEADER_PX = 84
CAPTION_PX = 44
FRAME_PX = 6

_PAPER = (255, 255, 255)
_INK = (28, 30, 34)
_FAINT = (118, 122, 130)
_LINE = (226, 228, 232)
_EMPTY = (243, 244, 246)
FOUND = (22, 150, 72)

Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A result: its picture (any format Pillow reads), two short captions, and whether it is what the query means."""

    picture: bytes
    caption: str
    detail: str
    intended: bool = False


@dataclass(frozen=True, kw_only=True)
class Row:
    """A query: its kind, its reference (None: there is none), its words, small notes below them, its results."""

    kind: str
    reference: bytes | None
    reference_caption: str
    text: str
    notes: Sequence[str]
    cells: Sequence[Cell]


def draw_sheet(rows: Sequence[Row], *, title: str, columns: int = 5) -> Image.Image:
    """The sheet as an RGB image; each row shows at most `columns` results."""
    width = 2 * MARGIN_PX + CELL_PX + TEXT_PX + columns * CELL_PX + (columns + 1) * GAP_PX
    sheet = Image.new("RGB", (width, HEADER_PX + len(rows) * row_height() + MARGIN_PX), _PAPER)
    pen = ImageDraw.Draw(sheet)
    pen.text((MARGIN_PX, 22), title, fill=_INK, font=_font(26))
    for x, label in ((reference_x(), "reference"), (_text_x(), "text"), (result_x(0), f"first {columns} results")):
        pen.text((x, 60), label, fill=_FAINT, font=_font(14))
    for number, row in enumerate(rows):
        _draw_row(sheet, row, top=HEADER_PX + number * row_height(), columns=columns)
    return sheet


def row_height() -> int:
    """Pixels from one row to the next."""
    return CELL_PX + CAPTION_PX + GAP_PX


def reference_x() -> int:
    """Left edge of the references."""
    return MARGIN_PX


def result_x(column: int) -> int:
    """Left edge of a column of results."""
    return MARGIN_PX + CELL_PX + TEXT_PX + 2 * GAP_PX + column * (CELL_PX + GAP_PX)


def _text_x() -> int:
    return MARGIN_PX + CELL_PX + GAP_PX


def _draw_row(sheet: Image.Image, row: Row, *, top: int, columns: int) -> None:
    pen = ImageDraw.Draw(sheet)
    pen.line((MARGIN_PX, top - 4, sheet.width - MARGIN_PX, top - 4), fill=_LINE)
    _draw_reference(sheet, row, top)
    _draw_words(pen, row, top)
    for column, cell in enumerate(row.cells[:columns]):
        x = result_x(column)
        sheet.paste(_fitted(cell.picture), (x, top))
        if cell.intended:
            box = (x, top, x + CELL_PX - 1, top + CELL_PX - 1)
            pen.rectangle(box, outline=FOUND, width=FRAME_PX)
        pen.text((x, top + CELL_PX + 4), cell.caption, fill=FOUND if cell.intended else _INK, font=_font(15))
        pen.text((x, top + CELL_PX + 22), cell.detail, fill=_FAINT, font=_font(13))


def _draw_reference(sheet: Image.Image, row: Row, top: int) -> None:
    pen = ImageDraw.Draw(sheet)
    if row.reference is None:
        pen.rectangle((reference_x(), top, reference_x() + CELL_PX - 1, top + CELL_PX - 1), fill=_EMPTY)
        pen.text((reference_x() + 40, top + CELL_PX // 2 - 8), "words only", fill=_FAINT, font=_font(16))
        return
    sheet.paste(_fitted(row.reference), (reference_x(), top))
    pen.text((reference_x(), top + CELL_PX + 4), row.reference_caption, fill=_INK, font=_font(15))


def _draw_words(pen: ImageDraw.ImageDraw, row: Row, top: int) -> None:
    y = top
    blocks = [(row.kind, 14, _FAINT), (row.text, 21, _INK), *((note, 13, _FAINT) for note in row.notes)]
    bottom = top + CELL_PX + CAPTION_PX
    for text, size, color in blocks:
        font = _font(size)
        for line in wrapped(text, font, TEXT_PX - GAP_PX):
            if y + size > bottom:
                return
            pen.text((_text_x(), y), line, fill=color, font=font)
            y += round(size * 1.3)
        y += 6


def wrapped(text: str, font: Font, width_px: int) -> list[str]:
    """The text in lines of at most that width; a longer word keeps a line of its own."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and font.getlength(longer) <= width_px:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _fitted(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as picture:
        return ImageOps.pad(picture.convert("RGB"), (CELL_PX, CELL_PX), color=_EMPTY)


def _font(size: int) -> Font:
    return ImageFont.load_default(size=size)
