"""Laws of the tour: what it offers can be made, and what is written wrongly is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.library import Library
from app.engine.tour import read_tour, within_reach
from app.errors import PatchbayError, RequestError, StorageError
from app.settings import SettingsStore

STOP = """
[[stops]]
name = "one"
title = "One"
line = "A line."
"""


@pytest.fixture
def library(tmp_path: Path) -> Library:
    for name in ("checkpoints/here.safetensors", "loras/sub/ink.safetensors"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch()
    (tmp_path / "demo").mkdir()
    return Library.of(SettingsStore(tmp_path / "data", {"paths.models": tmp_path}).folders)


def write(models: Path, text: str | bytes) -> None:
    (models / "demo" / "tour.toml").write_bytes(text if isinstance(text, bytes) else text.encode())


def test_a_folder_without_a_tour_has_no_stops(tmp_path: Path, library: Library) -> None:
    assert read_tour(tmp_path, library) == ()


def test_a_stop_is_a_request_of_its_own_words_then_the_shared_ones_then_a_new_form_s(
    tmp_path: Path, library: Library
) -> None:
    write(tmp_path, f'[settings]\nsteps = 7\ncfg_scale = 5\ncheckpoint = "here"{STOP}prompt = "a cat"\ncfg_scale = 3.5')
    (stop,) = read_tour(tmp_path, library)
    request = stop.request
    assert (request.prompt, request.steps, request.cfg_scale, request.sampler) == ("a cat", 7, 3.5, "Euler a")
    assert (request.checkpoint, request.seed, request.batch_size) == ("here", -1, 1)
    assert stop.picture == tmp_path / "demo" / "tour" / "one.webp"


@pytest.mark.parametrize(
    ("line", "is_there"),
    [
        ('prompt = "a <lora:ink:0.5> [<lora:sub/ink>|b]"', True), ('prompt = "<lora:nowhere>"', False),
        ('prompt = "[a:<lora:nowhere>:3]"', False), ('prompt = "<hypernet:ink>"', False),
        ('checkpoint = "another"', False), ('prompt = "<lora:broken"', True),
    ],
)  # fmt: skip
def test_a_stop_is_within_reach_where_all_it_names_is_there(
    tmp_path: Path, library: Library, line: str, is_there: bool
) -> None:
    shared = "" if line.startswith("checkpoint") else 'checkpoint = "here"'
    write(tmp_path, f"[settings]\n{shared}{STOP}{line}")
    assert bool(tuple(within_reach(read_tour(tmp_path, library), library))) == is_there


@pytest.mark.parametrize(
    "line",
    ["steps = 0", "steps = 'many'", "prompt = 3", "colour = 1", "init_image = 'x'", "cfg_scale = nan", "steps = [1]",
     "name = '../x'", "title = 3", "width = 65", "seed = 1.5", "steps = true"],
)  # fmt: skip
def test_a_stop_that_no_request_can_be_is_told(tmp_path: Path, library: Library, line: str) -> None:
    key = line.split(" ")[0]
    kept = "\n".join(row for row in STOP.splitlines() if not row.startswith(f"{key} ="))
    write(tmp_path, f"{kept}\n{line}")
    with pytest.raises(RequestError):
        read_tour(tmp_path, library)


@pytest.mark.parametrize("text", ["stops = 3", "settings = 1", "stops = [1]", "[[", b"\xff\xfe"])
def test_a_file_that_is_no_tour_is_told(tmp_path: Path, library: Library, text: str | bytes) -> None:
    write(tmp_path, text)
    with pytest.raises(StorageError):
        read_tour(tmp_path, library)


@settings(max_examples=50, deadline=None)
@given(content=st.binary(max_size=80))
def test_any_file_is_a_tour_or_one_error(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    models = tmp_path_factory.mktemp("models")
    (models / "demo").mkdir()
    write(models, content)
    library = Library.of(SettingsStore(models / "data", {"paths.models": models}).folders)
    try:
        assert all(stop.name for stop in read_tour(models, library))
    except PatchbayError as error:
        assert "\n" not in error.message
