"""A contact sheet: pictures in rows and columns, with what each row and each column is written beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

from PIL import Image, ImageDraw, ImageFont

PAPER, INK = "white", "#20242c"
GAP = 6
SMALLEST_SIDE = 128
"""Pixels: smaller pictures are enlarged, pixel by pixel, so that a label fits over them."""
LABEL_WIDTH = 240
LABEL_LINES = 8
"""A longer label ends with an ellipsis."""


@dataclass(frozen=True, slots=True)
class _Label:
    lines: tuple[str, ...]
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont

    @classmethod
    def of(cls, text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> _Label:
        lines = _wrapped(text, font, width)
        if len(lines) > LABEL_LINES:
            lines = [*lines[: LABEL_LINES - 1], "…"]
        return cls(tuple(lines), font)

    @property
    def width(self) -> int:
        return max((int(self.font.getlength(line)) + 1 for line in self.lines), default=0)

    @property
    def line_height(self) -> int:
        _, top, _, bottom = self.font.getbbox("Ågj")
        return int(bottom - top) + 4

    @property
    def height(self) -> int:
        return self.line_height * len(self.lines)

    def draw(self, onto: ImageDraw.ImageDraw, centre: float, top: float) -> None:
        for number, line in enumerate(self.lines):
            place = (centre, top + number * self.line_height)
            onto.text(
                place, line, INK, self.font, anchor="ma" if isinstance(self.font, ImageFont.FreeTypeFont) else None
            )


def contact_sheet(
    pictures: Sequence[Sequence[Image.Image]], columns: Sequence[str] = (), rows: Sequence[str] = ()
) -> Image.Image:
    """The sheet of `pictures`, which are rows of columns. Labels may be left out, all of a side or some.

    A row is as high as its highest picture, a column as wide as its widest.

    Raises:
        ValueError: the rows differ in length, or there are more or fewer labels than what they stand for.
    """
    if any(len(row) != len(pictures[0]) for row in pictures) or not pictures:
        raise ValueError("every row of a contact sheet has the same number of pictures")
    if len(columns) not in (0, len(pictures[0])) or len(rows) not in (0, len(pictures)):
        raise ValueError("a contact sheet has one label for each column, and one for each row, or none")
    cells = [[_enlarged(picture) for picture in row] for row in pictures]
    widths = [max(row[index].width for row in cells) for index in range(len(cells[0]))]
    heights = [max(picture.height for picture in row) for row in cells]
    font = ImageFont.load_default(max(14, min(heights) // 18))
    above = [_Label.of(text, font, width) for text, width in zip(columns, widths, strict=False)]
    beside = [_Label.of(text, font, LABEL_WIDTH) for text in rows]
    left = max((label.width + 2 * GAP for label in beside), default=GAP)
    top = max((label.height + 2 * GAP for label in above), default=GAP)
    heights = [max(height, label.height) for height, label in zip(heights, beside, strict=True)] if beside else heights
    lefts = list(accumulate(widths, lambda at, width: at + width + GAP, initial=left))
    tops = list(accumulate(heights, lambda at, height: at + height + GAP, initial=top))
    sheet = Image.new("RGB", (lefts[-1], tops[-1]), PAPER)
    pen = ImageDraw.Draw(sheet)
    for label, at, width in zip(above, lefts, widths, strict=False):
        label.draw(pen, at + width / 2, top - label.height - GAP)
    for label, at, height in zip(beside, tops, heights, strict=False):
        label.draw(pen, left / 2, at + (height - label.height) / 2)
    for row, y in zip(cells, tops, strict=False):
        for picture, x in zip(row, lefts, strict=False):
            sheet.paste(picture, (x, y))
    return sheet


def _enlarged(picture: Image.Image) -> Image.Image:
    times = -(-SMALLEST_SIDE // min(picture.size))
    return picture.resize((picture.width * times, picture.height * times), Image.Resampling.NEAREST)


def _wrapped(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> list[str]:
    """The text in lines of at most `width` pixels, broken between words, and within those that are longer."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width:
            lines[-1] = longer
            continue
        lines += [""] if lines[-1] else []
        for character in word:
            if lines[-1] and font.getlength(lines[-1] + character) > width:
                lines.append("")
            lines[-1] += character
    return lines
