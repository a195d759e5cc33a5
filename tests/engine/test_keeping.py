"""What is kept between generations, and for how long: exactly while the files behind it are the same."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from app.engine.engine import Engine
from app.engine.generator import StudioGenerator
from app.engine.library import Library
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.plugins import Extensions
from app.settings import SettingsStore
from tests.diffusion.models import sd15_pipeline
from tests.engine.conftest import write_lora

CAT = GenerationRequest(prompt="a cat", seed=3, steps=3, width=32, height=32, sampler="Euler", cfg_scale=3.0)


def made(engine: Engine, prompt: str, **changes: object) -> GenerationResult:
    *_, result = engine.generate(replace(CAT, prompt=prompt, **changes))  # type: ignore[arg-type]
    assert isinstance(result, GenerationResult)
    return result


def pixels(engine: Engine, prompt: str, **changes: object) -> NDArray[np.uint8]:
    return np.asarray(made(engine, prompt, **changes).images[0].image)


@pytest.fixture
def glaze(models: Path, engine: Engine) -> Iterator[str]:
    """A network on the VAE alone."""
    path = models / "loras" / "glaze.safetensors"
    write_lora(path, sd15_pipeline().vae, "lora_vae", seed=4, part="attentions")
    engine.library.networks.refresh()
    yield "<lora:glaze:1>"
    path.unlink()


@pytest.fixture
def changing(models: Path) -> Iterator[Path]:
    """A checkpoint of one's own to change."""
    folder = models / "checkpoints" / "zzz"
    shutil.copytree(models / "checkpoints" / "small", folder)
    yield folder
    shutil.rmtree(folder)


def test_each_image_of_a_batch_has_its_own_networks(
    tmp_path: Path, settings: SettingsStore, library: Library, engine: Engine
) -> None:
    (tmp_path / "by_seed.py").write_text(BY_SEED)
    with Engine(lambda: StudioGenerator(settings, library, Extensions(tmp_path)), library) as mixed:
        batch = made(mixed, "a cat", batch_size=4)
    prompts = [image.request.prompt for image in batch.images]
    assert [prompt.removeprefix("a cat") for prompt in prompts] == ["<lora:hat:1>", "<lora:ink:1>"] * 2
    for image in batch.images:
        alone = pixels(engine, image.request.prompt, seed=image.request.seed)
        assert (np.asarray(image.image) == alone).all()
        assert parsed_hashes(image.infotext) == [image.request.prompt[11:14]]


def parsed_hashes(infotext: str) -> list[str]:
    """The networks whose hashes an image's text holds."""
    hashes = infotext.partition('Lora hashes: "')[2].partition('"')[0]
    return [entry.partition(":")[0].strip() for entry in hashes.split(",")]


BY_SEED = """
from dataclasses import replace
from app.plugins import hook

@hook
def request_filters():
    return [lambda request: replace(request, prompt=request.prompt + f"<lora:{('ink', 'hat')[request.seed % 2]}:1>")]
"""


def test_a_network_on_the_vae_acts_where_a_picture_is_read_and_where_it_is_shown(engine: Engine, glaze: str) -> None:
    from_noise = pixels(engine, "a cat")
    picture = made(engine, "a cat", seed=8).images[0].image
    kept = {"init_image": picture, "denoising_strength": 0.0}
    plain = pixels(engine, "a cat", **kept)
    both = pixels(engine, f"a cat {glaze}", **kept)
    only_noise = pixels(engine, f"a cat {glaze}")
    assert (only_noise != from_noise).any() and (both != plain).any()
    assert (pixels(engine, f"a cat {glaze.replace(':1>', ':1:vae=0>')}", **kept) == plain).all()
    assert (pixels(engine, "a cat", **kept) == plain).all() and (pixels(engine, "a cat") == from_noise).all()


def test_a_network_on_the_vae_does_nothing_in_the_negative_prompt_and_that_is_told(engine: Engine, glaze: str) -> None:
    result = made(engine, "a cat", negative_prompt=glaze)
    (problem,) = result.problems
    assert (problem.level, problem.source) == ("warning", "negative_prompt") and "VAE" in problem.message
    assert (np.asarray(result.images[0].image) == pixels(engine, "a cat", negative_prompt="")).all()


def test_a_checkpoint_that_changes_on_disk_is_loaded_again_and_its_networks_matched_anew(
    engine: Engine, changing: Path
) -> None:
    prompt = "a cat <lora:ink:1>"
    before = pixels(engine, prompt, checkpoint="zzz")
    assert (pixels(engine, prompt, checkpoint="zzz") == before).all()
    pipeline = sd15_pipeline()
    with torch.no_grad():
        for parameter in pipeline.unet.parameters():
            parameter.mul_(1.25)
    pipeline.save_pretrained(changing)
    for file in changing.rglob("*"):
        os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 2 * 10**9))
    after = pixels(engine, prompt, checkpoint="zzz")
    assert (after != before).any()
    assert (pixels(engine, prompt, checkpoint="small") == before).all()


def test_a_budget_of_nothing_gives_the_same_picture_and_keeps_no_delta(engine: Engine, settings: SettingsStore) -> None:
    prompt = "a cat <lora:ink:0@0~1@1> <lora:words:0.5>"
    free = made(engine, prompt)
    settings.change({"networks.memory_budget": 0})
    frugal = made(engine, prompt)
    assert (np.asarray(frugal.images[0].image) == np.asarray(free.images[0].image)).all()
    assert 0 < frugal.kept_bytes < free.kept_bytes


def test_networks_as_read_are_part_of_what_is_told_to_be_kept(engine: Engine, models: Path) -> None:
    settled = made(engine, "a cat <lora:ink:1>").kept_bytes
    without = made(engine, "a cat <lora:ink:0>").kept_bytes
    assert (models / "loras" / "ink.safetensors").stat().st_size <= without < settled + 1
