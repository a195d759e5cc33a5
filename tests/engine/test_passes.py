"""What passes that begin with a picture promise: their own steps, their own prompts and strengths, their own pixels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from app.diffusion import sampling
from app.diffusion.decoding import decode
from app.diffusion.device import CPU
from app.diffusion.encoding import encode_picture
from app.engine import passes
from app.engine.clock import Clock
from app.engine.engine import Engine
from app.engine.jobs import Control
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.engine.passes import Painter
from app.engine.prompts import prepare
from app.engine.reading import read_prompts, refuse
from app.generation.infotext import parse_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult, Progress
from app.settings import SettingsStore

CAT = GenerationRequest(prompt="a cat", seed=3, steps=4, width=32, height=32, sampler="Euler", cfg_scale=3.0)
LARGER = replace(CAT, hires_scale=1.5, hires_steps=3, denoising_strength=0.6)
PICTURE = Image.radial_gradient("L").resize((32, 32)).convert("RGB")
FROM_PICTURE = replace(CAT, init_image=PICTURE, steps=8, denoising_strength=0.5)
"""Five of its eight steps run."""

Trace = list[list[Tensor]]
"""By pass, the latents after each of its steps."""
Traced = Callable[..., Trace]


@pytest.fixture
def traced(library: Library, settings: SettingsStore, monkeypatch: pytest.MonkeyPatch) -> Traced:
    model = ModelHolder(library).model("small", "Automatic", CPU)

    def traced(request: GenerationRequest, **changes: Any) -> Trace:
        reading = read_prompts(replace(request, **changes), library, settings.current.networks)
        refuse(reading.problems)
        seen: Trace = []

        def sample(*given: Any, after_step: Any, **named: Any) -> sampling.Sampled:
            kept: list[Tensor] = []
            seen.append(kept)

            def watched(step: int, latents: Tensor, denoised: Tensor) -> bool:
                kept.append(latents.clone())
                return bool(after_step(step, latents, denoised))

            return sampling.sample(*given, after_step=watched, **named)

        monkeypatch.setattr(passes, "sample", sample)
        painted = Painter(model, Clock(lambda progress: None, Control()), 0, lambda problem: None).paint(
            prepare(reading, model, settings.current.networks)
        )
        assert painted.steps == reading.steps == sum(map(len, seen))
        return seen

    return traced


@pytest.fixture
def model(library: Library) -> LoadedModel:
    return ModelHolder(library).model("small", "Automatic", CPU)


def made(engine: Engine, request: GenerationRequest) -> GenerationResult:
    *_, result = engine.generate(request)
    assert isinstance(result, GenerationResult)
    return result


def pixels(engine: Engine, request: GenerationRequest) -> np.ndarray:
    return np.asarray(made(engine, request).images[0].image)


def first_difference(one: list[Tensor], other: list[Tensor]) -> int | None:
    """The first step after which the latents differ in any bit."""
    steps = zip(one, other, strict=True)
    return next((step for step, (a, b) in enumerate(steps, 1) if not torch.equal(a, b)), None)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "DPM++ 2M", "Heun", "DPM++ SDE", "UniPC", "LCM"])
def test_a_schedule_from_a_picture_counts_the_steps_that_run(traced: Traced, sampler: str) -> None:
    (base,) = traced(FROM_PICTURE, sampler=sampler)
    assert len(base) == 5
    (late,) = traced(FROM_PICTURE, sampler=sampler, prompt="a cat <lora:ink:0@0,1@0.5>")
    assert first_difference(base, late) == 3
    (last,) = traced(FROM_PICTURE, sampler=sampler, prompt="a cat <lora:ink:0@1,1@5>")
    assert first_difference(base, last) == 5


def test_a_prompt_that_changes_half_way_from_a_picture_does_so_half_way_through_what_runs(traced: Traced) -> None:
    (base,), (edited,) = traced(FROM_PICTURE), traced(FROM_PICTURE, prompt="a [cat:dog:0.4]")
    assert first_difference(base, edited) == 3


def test_a_strength_of_the_second_pass_leaves_the_first_as_it_was(traced: Traced) -> None:
    plain = traced(LARGER)
    inked = traced(LARGER, prompt="a cat <lora:ink:1>")
    later = traced(LARGER, prompt="a cat <lora:ink:0:hr=1>")
    assert first_difference(plain[0], later[0]) is None and first_difference(plain[1], later[1]) == 1
    assert first_difference(plain[0], inked[0]) == 1


def test_a_second_pass_whose_strength_is_0_is_one_without_the_network(traced: Traced) -> None:
    # From nothing of the first pass, so that both second passes begin with the same latents.
    apart = {"hires_upscaler": "Latent (nearest-exact)", "denoising_strength": 0.6}
    early = traced(LARGER, **apart, prompt="a cat <lora:ink:0@1,0@4:hr=0>")
    assert all(first_difference(a, b) is None for a, b in zip(early, traced(LARGER, **apart), strict=True))
    inked = traced(LARGER, **apart, prompt="a cat <lora:ink:1>")
    first_only = traced(LARGER, **apart, prompt="a cat <lora:ink:1:hr=0>")
    assert first_difference(inked[0], first_only[0]) is None
    assert first_difference(inked[1], first_only[1]) == 1


def test_without_the_network_in_the_second_pass_it_goes_on_as_an_image_without_it_would(
    engine: Engine, library: Library, settings: SettingsStore, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first pass has the network; its latents, gone on with by hand without any, give the same bits."""
    starts: list[tuple[tuple[Any, ...], dict[str, Any], Tensor]] = []

    def sample(*given: Any, **named: Any) -> sampling.Sampled:
        result = sampling.sample(*given, **named)
        starts.append((given, named, result.latents))
        return result

    monkeypatch.setattr(passes, "sample", sample)
    settings_now = settings.current.networks
    inked = read_prompts(replace(LARGER, prompt="a cat <lora:ink:1:hr=0>"), library, settings_now)
    Painter(model, Clock(lambda progress: None, Control()), 0, lambda problem: None).paint(
        prepare(inked, model, settings_now)
    )
    model.patcher.restore()
    (checkpoint, request, conditioning_at), named, latents = starts[1]
    alone = sampling.sample(checkpoint, request, conditioning_at, start=named["start"])
    assert torch.equal(alone.latents, latents)


def test_the_second_pass_reads_its_own_part_of_an_editing(traced: Traced) -> None:
    dog = traced(LARGER, prompt="a [cat:dog:1.0]")
    assert first_difference(dog[0], traced(LARGER)[0]) is None
    assert first_difference(dog[1], traced(LARGER)[1]) == 1
    whole = traced(LARGER, prompt="a [cat:dog:6]")
    assert first_difference(whole[1], traced(LARGER)[1]) == 3


@pytest.mark.parametrize("upscaler", ["Latent", "Lanczos"])
def test_a_batch_of_two_passes_is_its_single_images_and_their_texts_make_them_again(
    engine: Engine, upscaler: str
) -> None:
    request = replace(LARGER, hires_upscaler=upscaler, prompt="a cat <lora:ink:1:hr=0.5>", batch_size=2)
    batch = made(engine, request)
    assert [image.image.size for image in batch.images] == [(48, 48)] * 2
    for image in batch.images:
        told = parse_infotext(image.infotext).request
        assert told == image.request
        assert (pixels(engine, told) == np.asarray(image.image)).all()


def test_a_batch_from_a_picture_is_its_single_images(engine: Engine) -> None:
    batch = made(engine, replace(FROM_PICTURE, batch_size=2, batch_count=2))
    assert [image.request.seed for image in batch.images] == [3, 4, 5, 6]
    for image in batch.images[::3]:
        assert (pixels(engine, image.request) == np.asarray(image.image)).all()
    assert "Init image hash" in batch.images[0].infotext and "Denoising strength: 0.5" in batch.images[0].infotext


def test_strength_0_gives_the_picture_as_the_vae_knows_it(engine: Engine, model: LoadedModel) -> None:
    kept = pixels(engine, replace(FROM_PICTURE, denoising_strength=0))
    expected = decode(model.checkpoint, encode_picture(model.checkpoint, PICTURE)).images[0]
    assert (kept == np.asarray(expected)).all()
    stretched = made(engine, replace(FROM_PICTURE, denoising_strength=0, width=48)).images[0].image
    assert stretched.size == (48, 32)


def test_more_strength_keeps_less_of_the_picture(engine: Engine) -> None:
    kept = pixels(engine, replace(FROM_PICTURE, denoising_strength=0)).astype(int)
    little, much = (
        np.abs(pixels(engine, replace(FROM_PICTURE, denoising_strength=strength)).astype(int) - kept).mean()
        for strength in (0.1, 1.0)
    )
    assert 0 < little < much


def test_a_second_pass_of_strength_0_only_enlarges(engine: Engine) -> None:
    result = made(engine, replace(LARGER, denoising_strength=0, hires_upscaler="Nearest"))
    assert result.images[0].image.size == (48, 48) and not result.interrupted


def test_progress_counts_the_steps_of_both_passes(engine: Engine) -> None:
    news = [item for item in engine.generate(replace(LARGER, batch_count=2)) if isinstance(item, Progress)]
    assert news[-1].step == news[-1].steps == 2 * (4 + 3)


@pytest.mark.parametrize(("steps", "own", "side"), [(400, 3, 32), (1, 400, 48)])
def test_an_interrupt_in_either_pass_keeps_the_picture_as_it_stands(
    engine: Engine, steps: int, own: int, side: int
) -> None:
    job = engine.submit(replace(LARGER, prompt="a cat <lora:ink:0@0~1@1>", steps=steps, hires_steps=own))
    seen = engine.wait_for_change(-1, 60)
    while not (job.progress.state == "sampling" and job.progress.step >= 2):
        assert job.state in ("queued", "running"), job.error
        seen = engine.wait_for_change(seen, 60)
    engine.interrupt()
    assert job.wait(60) and job.state == "interrupted" and job.result
    (image,) = job.result.images
    assert image.image.size == (side, side) and "Interrupted after step" in image.infotext
