"""Kinds of tags that extensions add: their files are read by the extension, and applied as LoRAs are."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from app.engine.engine import Engine
from app.engine.generator import StudioGenerator
from app.engine.library import Library
from app.errors import PromptError
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.plugins import Extensions
from app.settings import SettingsStore

CAT = GenerationRequest(prompt="a cat", seed=3, steps=4, width=32, height=32, sampler="Euler", cfg_scale=3.0)
TWICE = """
from app.networks.files import network_of, read_tensors
from app.plugins import NetworkKind, hook

def read(path):
    if path.stem == "broken":
        return 1 / 0
    if path.stem == "nothing":
        return None
    tensors, metadata = read_tensors(path)
    return network_of(path, {k: 2 * v if "lora_up" in k else v for k, v in tensors.items()}, metadata)

@hook
def network_kinds():
    return [NetworkKind("twice", read), NetworkKind("lora", read), NetworkKind("a b", read), 3]
"""


@pytest.fixture
def extensions(tmp_path: Path) -> Extensions:
    folder = tmp_path / "extensions"
    folder.mkdir()
    (folder / "doubling.py").write_text(TWICE)
    return Extensions(folder)


@pytest.fixture
def engine(models: Path, tmp_path: Path, extensions: Extensions) -> Iterator[Engine]:
    shutil.copytree(models, tmp_path / "models")
    loras = tmp_path / "models" / "loras"
    for name in ("broken", "nothing"):
        shutil.copy(loras / "ink.safetensors", loras / f"{name}.safetensors")
    settings = SettingsStore(tmp_path / "data", {"paths.models": tmp_path / "models", "device.device": "cpu"})
    library = Library.of(settings.folders, extensions.network_kinds)
    with Engine(lambda: StudioGenerator(settings, library, extensions), library) as engine:
        yield engine
    library.close()


def made(engine: Engine, prompt: str) -> GenerationResult:
    *_, result = engine.generate(replace(CAT, prompt=prompt))
    assert isinstance(result, GenerationResult)
    return result


def pixels(result: GenerationResult) -> np.ndarray:
    return np.asarray(result.images[0].image)


def test_a_kind_an_extension_adds_is_read_by_it_and_applied_as_a_lora_is(engine: Engine) -> None:
    twice = made(engine, "a cat <twice:ink:0@0,0.5@0.5>")
    assert (pixels(twice) == pixels(made(engine, "a cat <lora:ink:0@0,1@0.5>"))).all()
    assert (pixels(twice) != pixels(made(engine, "a cat <lora:ink:0@0,0.5@0.5>"))).any()
    (use,) = twice.networks
    assert (use.kind, use.name) == ("twice", "ink") and use.matched > 0
    assert "Lora hashes: " in twice.images[0].infotext


@pytest.mark.parametrize(
    ("name", "said"),
    [("broken", "doubling failed to read it: ZeroDivisionError"), ("nothing", "made no network"), ("imk", "ink")],
)
def test_what_the_extension_cannot_read_is_an_error_at_its_tag(engine: Engine, name: str, said: str) -> None:
    prompt = f"a cat <twice:{name}>"
    with pytest.raises(PromptError, match=said) as error:
        made(engine, prompt)
    (problem,) = error.value.problems
    assert problem.span and prompt[slice(*problem.span)] == f"<twice:{name}>"


def test_a_kind_that_is_taken_or_is_none_is_reported_and_left_out(extensions: Extensions) -> None:
    assert [kind.name for kind in extensions.network_kinds] == ["twice"]
    said = [problem.message for problem in extensions.problems]
    assert len(said) == 3 and all("doubling" in message for message in said)
    assert "named lora already" in said[0]
