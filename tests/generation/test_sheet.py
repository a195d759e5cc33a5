"""Laws of contact sheets: every picture is there whole, and no label covers one."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from app.generation.sheet import contact_sheet

COLOURS = ("#ff0000", "#00ff00", "#0000ff", "#ffff00", "#ff00ff", "#00ffff")


def _areas(sheet: Image.Image) -> dict[str, int]:
    counted = sheet.getcolors(sheet.width * sheet.height) or []
    return {f"#{red:02x}{green:02x}{blue:02x}": count for count, (red, green, blue) in counted}


@settings(max_examples=25, deadline=None)
@given(
    side=st.integers(130, 200),
    columns=st.lists(st.text(max_size=60), min_size=3, max_size=3),
    rows=st.lists(st.text(max_size=400), min_size=2, max_size=2),
)
def test_no_label_covers_a_picture(side: int, columns: list[str], rows: list[str]) -> None:
    pictures = [[Image.new("RGB", (side, side), COLOURS[3 * row + column]) for column in range(3)] for row in range(2)]
    areas = _areas(contact_sheet(pictures, columns, rows))
    assert all(areas[colour] == side * side for colour in COLOURS)


def test_small_pictures_are_enlarged_in_whole_pixels() -> None:
    checks = Image.effect_noise((16, 24), 90).convert("RGB")
    sheet = contact_sheet([[checks]])
    assert (
        sheet.crop((6, 6, 6 + 128, 6 + 192)).tobytes() == checks.resize((128, 192), Image.Resampling.NEAREST).tobytes()
    )


def test_pictures_of_different_sizes_stand_in_their_columns() -> None:
    wide, high = Image.new("RGB", (300, 130), "red"), Image.new("RGB", (130, 260), "blue")
    sheet = contact_sheet([[wide, high], [high, wide]], ["wide", "high"], ["one", "two"])
    assert _areas(sheet)["#ff0000"] == 2 * wide.width * wide.height
    assert sheet.height > 2 * 260 and sheet.width > 2 * 300


@pytest.mark.parametrize(("columns", "rows"), [(["one"], []), ([], ["one", "two"])])
def test_labels_are_as_many_as_what_they_stand_for(columns: list[str], rows: list[str]) -> None:
    picture = Image.new("RGB", (130, 130))
    with pytest.raises(ValueError, match="label"):
        contact_sheet([[picture, picture]], columns, rows)
