"""Which file a tag means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.library import Library
from app.engine.reading import read_prompts
from app.generation.request import GenerationRequest
from app.settings import SettingsStore

PROMPT = "a <lora:ink> <hypernet:ink> <hypernet:hat> <lora:paint>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("loras/ink", "loras/hat", "hypernetworks/ink", "hypernetworks/paint"):
        path = tmp_path / "models" / f"{name}.pt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not read before it is used")
    return tmp_path


@pytest.fixture
def settings(folder: Path) -> SettingsStore:
    return SettingsStore(folder / "data", {"paths.models": folder / "models"})


@pytest.fixture
def library(settings: SettingsStore) -> Iterator[Library]:
    library = Library.of(settings.folders)
    yield library
    library.close()


def test_the_kind_of_a_tag_decides_the_folder_its_file_is_looked_for_in(
    library: Library, settings: SettingsStore
) -> None:
    reading = read_prompts(GenerationRequest(prompt=PROMPT), library, settings.current.networks)
    assert [(tag.kind, file.kind, file.name) for tag, file in reading.files] == [
        ("lora", "lora", "ink"),
        ("hypernet", "hypernetwork", "ink"),
    ]
    missing = [PROMPT[problem.span[0] : problem.span[1]] for problem in reading.problems if problem.span]
    assert missing == ["<hypernet:hat>", "<lora:paint>"]
    assert {problem.level for problem in reading.problems} == {"error"}


def test_trigger_words_are_those_of_the_kind_that_is_named(
    library: Library, settings: SettingsStore, folder: Path
) -> None:
    for kind in ("loras", "hypernetworks"):
        (folder / "models" / kind / "ink.json").write_text(f'{{"activation text": "of {kind}"}}')
    options = settings.current.networks.model_copy(update={"auto_apply": "all"})
    request = replace(GenerationRequest(), prompt="a <hypernet:ink>")
    assert read_prompts(request, library, options).applied.added == ("of hypernetworks",)
