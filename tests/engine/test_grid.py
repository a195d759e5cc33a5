"""Laws of grids: an axis says what changes, and each picture is the one that its own request makes alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from app.__main__ import main
from app.engine.grid import NOTHING, cells, read_axis
from app.errors import RequestError
from app.generation.png import read_infotext
from app.generation.request import GenerationRequest

INK = GenerationRequest(prompt="a cat <lora:ink:0.7> <lora:hat:te=0.5>", seed=4, width=64, height=64, batch_size=3)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("seed=1-4", [1, 2, 3, 4]), ("seed=1-9 (+4), 20", [1, 5, 9, 20]), ("seed=4-1", [4, 3, 2, 1]),
        ("cfg=0-1 [5]", [0, 0.25, 0.5, 0.75, 1]), ("cfg=1-2 (+0.5)", [1, 1.5, 2]), ("cfg= 3 ,4.5", [3, 4.5]),
    ],
)  # fmt: skip
def test_numbers_are_listed_or_ranged(written: str, meant: list[float]) -> None:
    axis = read_axis(written)
    field = {"seed": "seed", "cfg": "cfg_scale"}[axis.name]
    assert [getattr(change(INK), field) for change in axis.changes] == meant


def test_every_picture_has_one_image_of_one_seed_in_rows_and_columns() -> None:
    made = cells(GenerationRequest(batch_count=4, batch_size=2), read_axis("steps=5,6,7"), read_axis("cfg=3,4"))
    assert [[(cell.steps, cell.cfg_scale) for cell in row] for row in made] == [
        [(5, 3), (6, 3), (7, 3)], [(5, 4), (6, 4), (7, 4)],
    ]  # fmt: skip
    every = [cell for row in made for cell in row]
    assert {(cell.batch_count, cell.batch_size) for cell in every} == {(1, 1)}
    assert len({cell.seed for cell in every}) == 1 and every[0].seed >= 0


def test_a_strength_is_the_first_number_of_every_network_and_the_rest_stays() -> None:
    (low, high), *_ = cells(INK, read_axis("strength=-0.5,1"))
    assert low.prompt == "a cat <lora:ink:-0.5> <lora:hat:-0.5:te=0.5>"
    assert high.prompt == "a cat <lora:ink:1> <lora:hat:1:te=0.5>"


@pytest.mark.parametrize("swapped", [False, True])
def test_a_strength_is_set_in_the_prompt_of_the_other_axis(swapped: bool) -> None:
    strengths, prompts = read_axis("strength=0,1"), read_axis('prompt="a dog, <lora:ink>",<lora:hat:9> fox')
    made = cells(INK, prompts, strengths) if swapped else cells(INK, strengths, prompts)
    columns = [list(column) for column in zip(*made, strict=True)] if swapped else made
    assert [[cell.prompt for cell in row] for row in columns] == [
        ["a dog, <lora:ink:0>", "a dog, <lora:ink:1>"], ["<lora:hat:0> fox", "<lora:hat:1> fox"],
    ]  # fmt: skip


def test_a_word_is_replaced_by_each_and_first_by_itself() -> None:
    made = cells(INK, read_axis("replace=cat,dog,big fox"), NOTHING)[0]
    assert [cell.prompt.split(" <")[0] for cell in made] == ["a cat", "a dog", "a big fox"]


def test_names_are_read_as_the_command_reads_them() -> None:
    made = cells(INK, read_axis("sampler=DPM++ 2M Karras,k_euler"), read_axis("size=64x96,128x64"))
    assert [(cell.sampler, cell.schedule_type) for cell in made[0]] == [("DPM++ 2M", "Karras"), ("Euler", "Automatic")]
    assert [(row[0].width, row[0].height) for row in made] == [(64, 96), (128, 64)]
    assert [change(INK).schedule_type for change in read_axis("schedule-type=karras,Beta").changes] == [
        "Karras",
        "Beta",
    ]


@pytest.mark.parametrize(
    "written",
    ["", "seed", "seed=", "colour=1", "seed=a", "seed=1-2-3", "seed=1-1000000", "seed=1-2 (+0)", "cfg=nan", "cfg=1e3",
     "sampler=Magic", "schedule-type=Magic", "size=64", "strength=", "steps=1.5", "steps=0", "seed=-7", "size=65x64",
     "replace=horse,cow", "size=8192x8192,8192x8192"],
)  # fmt: skip
def test_an_axis_that_means_nothing_is_told(written: str) -> None:
    with pytest.raises(RequestError):
        cells(INK, read_axis(written))


def test_a_strength_without_a_network_is_told() -> None:
    with pytest.raises(RequestError, match="no network"):
        cells(GenerationRequest(prompt="a cat"), read_axis("strength=0,1"))


def test_the_sheet_of_the_command_shows_the_pictures_that_their_requests_make_alone(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = ["--steps", "2", "--size", "64x64", "--seed", "5", "--device", "cpu", "--sampler", "Euler"]
    folders = ["--models", str(models), "--data", str(tmp_path), "--json"]
    grid = ["--x", "strength=0,1", "--y", "replace=<lora:ink>,<lora:hat>", "--out", str(tmp_path / "sheet.png")]
    assert main(["generate", "a cat <lora:ink>", *small, *folders, *grid]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["file"] == str(tmp_path / "sheet.png") and "Steps: 2" in read_infotext(tmp_path / "sheet.png")
    with Image.open(told["file"]) as sheet:
        pieces = [[_piece(sheet, column, row) for column in range(2)] for row in range(2)]
    assert pieces[0][0] == pieces[1][0], "at strength 0 no network does anything"
    assert len({pieces[0][0], pieces[0][1], pieces[1][1]}) == 3
    for name, row in (("ink", 0), ("hat", 1)):
        assert main(["generate", f"a cat <lora:{name}:1>", *small, *folders, "--out", str(tmp_path / "one.png")]) == 0
        with Image.open(tmp_path / "one.png") as alone:
            assert alone.resize((128, 128), Image.Resampling.NEAREST).tobytes() == pieces[row][1]


def _piece(sheet: Image.Image, column: int, row: int) -> bytes:
    """A picture of a sheet of two columns and two rows of 128 pixels, six apart, at its lower right."""
    left, top = sheet.width - (2 - column) * 134, sheet.height - (2 - row) * 134
    return sheet.crop((left, top, left + 128, top + 128)).tobytes()
