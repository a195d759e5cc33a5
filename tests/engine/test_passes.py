"""What passes that begin with a picture promise: their own steps, their own prompts and strengths, their own pixels."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from app.diffusion import sampling
from app.diffusion.checkpoint import Checkpoint
from app.diffusion.decoding import decode
from app.diffusion.device import CPU
from app.diffusion.encoding import encode_picture
from app.engine import passes
from app.engine.clock import Clock
from app.engine.engine import Engine
from app.engine.generator import StudioGenerator
from app.engine.jobs import Control
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.engine.passes import Painter
from app.engine.prompts import prepare
from app.engine.reading import read_prompts, refuse
from app.errors import RequestError
from app.generation.infotext import parse_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult, Progress
from app.plugins import Extensions
from app.settings import SettingsStore
from tests.diffusion.models import sd15_pipeline
from tests.diffusion.test_flow import sd3_pipeline
from tests.engine.conftest import write_lora

CAT = GenerationRequest(prompt="a cat", seed=3, steps=4, width=32, height=32, sampler="Euler", cfg_scale=3.0)
LARGER = replace(CAT, hires_scale=1.5, hires_steps=3, denoising_strength=0.6)
PICTURE = Image.radial_gradient("L").resize((32, 32)).convert("RGB")
FROM_PICTURE = replace(CAT, init_image=PICTURE, steps=8, denoising_strength=0.5)
"""Five of its eight steps run."""

Trace = list[list[Tensor]]
"""By pass, the latents after each of its steps."""
Traced = Callable[..., Trace]
Shelve = Callable[[Any], str]


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


@pytest.fixture
def shelved(models: Path) -> Iterator[Shelve]:
    """Puts a pipeline among the checkpoints, for one test, and tells its name."""
    folder = models / "checkpoints" / "special"

    def shelved(pipeline: Any) -> str:
        pipeline.save_pretrained(folder)
        return folder.name

    yield shelved
    shutil.rmtree(folder)


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


def test_a_second_pass_of_a_size_the_model_does_not_make_is_refused_before_anything_runs(
    engine: Engine, shelved: Shelve
) -> None:
    pipeline = sd3_pipeline()
    config = {**pipeline.vae.config, "block_out_channels": (8,) * 4}
    config |= {"down_block_types": ("DownEncoderBlock2D",) * 4, "up_block_types": ("UpDecoderBlock2D",) * 4}
    pipeline.vae = AutoencoderKL.from_config(config)
    flow = replace(LARGER, checkpoint=shelved(pipeline), steps=1, hires_steps=1)
    job = engine.submit(replace(flow, hires_scale=1.25))
    assert job.wait(120) and isinstance(job.error, RequestError)
    assert job.error.where == "hires_scale" and "40 × 40" in job.error.message
    assert job.progress.state == "loading" and job.progress.step == 0
    assert made(engine, flow).images[0].image.size == (48, 48)


def test_memory_that_runs_out_in_the_second_pass_is_met_thriftily_and_said(
    settings: SettingsStore, library: Library
) -> None:
    request = replace(LARGER, prompt="a cat <lora:ink:1>", hires_steps=2)
    settings.change({"previews.every": 0})

    def generated() -> tuple[GenerationResult, list[Progress]]:
        news: list[Progress] = []
        generator = StudioGenerator(settings, library, Extensions())
        return generator.run(request, news.append, Control(), lambda image: image), news

    with Small(side=40):
        result, news = generated()
    (problem,) = result.problems
    assert problem.level == "warning" and "out of memory while decoding" in problem.message
    assert news[-1].step == news[-1].steps == 4 + 2 and not result.interrupted
    settings.change({"device.vae_tiling": True})
    tiled, _ = generated()
    (image,), (expected,) = result.images, tiled.images
    assert not tiled.problems and image.infotext == expected.infotext
    assert (np.asarray(image.image) == np.asarray(expected.image)).all()


class Small(TorchDispatchMode):
    """A device that has no room for a convolution over pictures wider than `side`."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self._side = side

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default and args[0].shape[-1] > self._side:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def inpainting(models: Path, engine: Engine, shelved: Shelve) -> Iterator[str]:
    """A checkpoint whose UNet also takes a mask and a masked picture; `glaze` is a network on its VAE."""
    pipeline = sd15_pipeline()
    torch.manual_seed(4)
    pipeline.unet = UNet2DConditionModel.from_config({**pipeline.unet.config, "in_channels": 9})
    glaze = write_lora(models / "loras" / "glaze.safetensors", pipeline.vae, "lora_vae", seed=4, part="attentions")
    engine.library.networks.refresh()
    yield shelved(pipeline)
    glaze.unlink()


def test_a_model_for_inpainting_begins_with_the_picture_like_any_other(engine: Engine, inpainting: str) -> None:
    request = replace(FROM_PICTURE, checkpoint=inpainting)
    kept = pixels(engine, replace(request, denoising_strength=0)).astype(int)
    little, much = (
        np.abs(pixels(engine, replace(request, denoising_strength=strength)).astype(int) - kept).mean()
        for strength in (0.1, 1.0)
    )
    assert 0 < little < much
    other = replace(request, init_image=PICTURE.rotate(90).point(lambda level: 255 - level))
    assert (pixels(engine, request) != pixels(engine, other)).any()


def test_a_network_on_the_vae_is_gone_with_its_tag_where_a_model_for_inpainting_is_shown_its_mask(
    engine: Engine, inpainting: str
) -> None:
    request = replace(CAT, checkpoint=inpainting)
    base = pixels(engine, request)
    assert (pixels(engine, replace(request, prompt="a cat <lora:glaze:1>")) != base).any()
    assert (pixels(engine, request) == base).all()


def test_components_are_on_the_device_before_their_weights_are_written(
    settings: SettingsStore, library: Library, model: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved: list[frozenset[str]] = []
    plain = Checkpoint.at_work

    def watched(checkpoint: Checkpoint, *names: str) -> Any:
        written = {name.split(".")[0] for name in model.patcher.touched}
        moved.append(frozenset(names) - written)
        return plain(checkpoint, *names)

    monkeypatch.setattr(Checkpoint, "at_work", watched)
    reading = read_prompts(replace(CAT, prompt="a cat <lora:ink:1> <lora:words:1>"), library, settings.current.networks)
    prepared = prepare(reading, model, settings.current.networks)
    Painter(model, Clock(lambda progress: None, Control()), 0, lambda problem: None).paint(prepared)
    untouched = [names for names in moved if names]
    assert untouched[:2] == [frozenset({"text_encoder"}), frozenset({"unet"})]
