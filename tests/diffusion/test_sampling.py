from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import EulerDiscreteScheduler, HeunDiscreteScheduler, StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Conditioning, EncodingOptions, encode
from app.diffusion.decoding import Previewer, decode
from app.diffusion.denoiser import guided_rows
from app.diffusion.samplers import SAMPLERS, SCHEDULE_TYPES
from app.diffusion.sampling import sample
from app.errors import CheckpointError, RequestError
from app.generation.request import GenerationRequest
from app.prompt.emphasis import branches, fragments
from tests.diffusion.models import NOISE

REQUEST = GenerationRequest(seed=7, steps=4, sampler="Euler", width=16, height=16, cfg_scale=5.0)


def conditioned(checkpoint: Checkpoint, prompt: str, negative: str = "") -> Conditioning:
    options = EncodingOptions(zero_if_empty=checkpoint.zero_empty_negative)
    positive = tuple((encode(checkpoint, fragments(b.text)), b.weight) for b in branches(prompt))
    return Conditioning(positive, encode(checkpoint, fragments(negative), options))


def steady(conditioning: Conditioning) -> Callable[[int], Conditioning]:
    return lambda step: conditioning


def latents_of(checkpoint: Checkpoint, request: GenerationRequest, prompt: str = "a cat", negative: str = "") -> Tensor:
    return sample(checkpoint, request, steady(conditioned(checkpoint, prompt, negative))).latents


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_the_loop_gives_the_latents_of_diffusers_pipeline(sd15: Checkpoint, sd15_folder: Path, prediction: str) -> None:
    checkpoint = replace(sd15, prediction=prediction)  # type: ignore[arg-type]
    pipeline = StableDiffusionPipeline.from_pretrained(sd15_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    for sampler, scheduler in (("Euler", EulerDiscreteScheduler), ("Heun", HeunDiscreteScheduler)):
        pipeline.scheduler = scheduler(**NOISE, prediction_type=prediction)
        expected = pipeline(
            "a cat",
            negative_prompt="a dog",
            num_inference_steps=4,
            guidance_scale=5.0,
            height=16,
            width=16,
            generator=torch.Generator("cpu").manual_seed(7),
            output_type="latent",
        ).images
        ours = latents_of(checkpoint, replace(REQUEST, sampler=sampler), "a cat", "a dog")
        torch.testing.assert_close(ours, expected, rtol=1e-3, atol=1e-3)


def test_the_loop_gives_the_latents_of_diffusers_sdxl_pipeline(sdxl: Checkpoint, sdxl_folder: Path) -> None:
    pipeline = StableDiffusionXLPipeline.from_pretrained(sdxl_folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    expected = pipeline(
        "a cat",
        num_inference_steps=4,
        guidance_scale=5.0,
        height=16,
        width=16,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
    ).images
    torch.testing.assert_close(latents_of(sdxl, REQUEST), expected, rtol=1e-3, atol=1e-3)


def test_the_same_seed_gives_the_same_pixels(sd15: Checkpoint) -> None:
    first, second = (decode(sd15, latents_of(sd15, REQUEST)).images[0] for _ in range(2))
    assert first.size == (16, 16)
    assert first.tobytes() == second.tobytes()


@pytest.mark.parametrize("sampler", ["Euler a", "DPM++ 2M SDE"])
def test_a_batch_of_four_is_four_single_images_bit_for_bit(sd15: Checkpoint, sampler: str) -> None:
    request = replace(REQUEST, sampler=sampler, steps=3, seed=2**32 - 2)
    batch = latents_of(sd15, replace(request, batch_size=4))
    for index in range(4):
        assert torch.equal(batch[index : index + 1], latents_of(sd15, request.single(index)))
    pictures = decode(sd15, batch).images
    assert pictures[2].tobytes() == decode(sd15, batch[2:3]).images[0].tobytes()


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ 2M", "UniPC", "DPM++ SDE"])
def test_a_conditioning_that_changes_at_a_step_leaves_the_latents_before_it(sd15: Checkpoint, sampler: str) -> None:
    request = replace(REQUEST, sampler=sampler, steps=5)
    cat, dog = conditioned(sd15, "a cat"), conditioned(sd15, "a dog")

    def trace(conditioning_at: Callable[[int], Conditioning]) -> list[Tensor]:
        seen: list[Tensor] = []
        sample(sd15, request, conditioning_at, after_step=lambda step, x, denoised: seen.append(x))
        return seen

    plain, edited = trace(steady(cat)), trace(lambda step: cat if step < 4 else dog)
    assert all(torch.equal(before, after) for before, after in zip(plain[:3], edited[:3], strict=True))
    assert not torch.equal(plain[3], edited[3])


@pytest.mark.parametrize("sampler", list(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_steps_are_told_once_each_in_order_whatever_the_sampler_evaluates(
    sd15: Checkpoint, sampler: str, steps: int
) -> None:
    told: list[tuple[str, int]] = []
    conditioning = conditioned(sd15, "a cat")

    def conditioning_at(step: int) -> Conditioning:
        told.append(("conditioning", step))
        return conditioning

    request = replace(REQUEST, sampler=sampler, steps=steps, schedule_type="Automatic", batch_size=2)
    result = sample(
        sd15,
        request,
        conditioning_at,
        before_step=lambda step: told.append(("before", step)),
        after_step=lambda step, x, denoised: told.append(("after", step)),
    )
    expected = [(kind, step) for step in range(1, steps + 1) for kind in ("before", "conditioning", "after")]
    assert told == expected
    assert result.latents.isfinite().all()


@pytest.mark.parametrize("schedule", list(SCHEDULE_TYPES))
def test_every_schedule_type_runs(sd15: Checkpoint, schedule: str) -> None:
    assert latents_of(sd15, replace(REQUEST, schedule_type=schedule, steps=2)).isfinite().all()


def test_stopping_gives_the_latents_that_stood(sd15: Checkpoint) -> None:
    seen: list[Tensor] = []

    def stop(step: int, x: Tensor, denoised: Tensor) -> bool:
        seen.append(x)
        return step == 2

    result = sample(sd15, REQUEST, steady(conditioned(sd15, "a cat")), after_step=stop)
    assert result.steps == 2
    assert torch.equal(result.latents, seen[-1])


def test_an_error_inside_a_step_comes_out_as_it_is(sd15: Checkpoint) -> None:
    class Interrupted(BaseException):
        pass

    def stop(step: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        sample(sd15, REQUEST, steady(conditioned(sd15, "a cat")), before_step=stop)


def test_at_cfg_1_the_negative_prompt_is_not_evaluated(sd15: Checkpoint) -> None:
    request = replace(REQUEST, cfg_scale=1.0)
    assert torch.equal(latents_of(sd15, request, negative="a dog"), latents_of(sd15, request, negative="a house"))
    assert len(guided_rows(conditioned(sd15, "a cat"), 1.0)) == 1


def test_prompts_of_different_lengths_steer_together(sd15: Checkpoint) -> None:
    long = "a dog, " * 40
    differing = latents_of(sd15, REQUEST, "a cat", long)
    assert differing.isfinite().all()
    assert not torch.equal(differing, latents_of(sd15, REQUEST, "a cat", ""))
    assert not torch.equal(latents_of(sd15, REQUEST, long), latents_of(sd15, REQUEST, "a dog"))


def test_and_with_itself_in_halves_is_the_prompt_itself(sd15: Checkpoint) -> None:
    halves = latents_of(sd15, REQUEST, "a cat :0.5 AND a cat :0.5", "a dog")
    torch.testing.assert_close(halves, latents_of(sd15, REQUEST, "a cat", "a dog"), rtol=1e-3, atol=1e-3)


def test_a_branch_of_weight_0_is_not_there(sd15: Checkpoint) -> None:
    assert torch.equal(latents_of(sd15, REQUEST, "a cat AND a dog :0"), latents_of(sd15, REQUEST, "a cat"))


@pytest.mark.parametrize(("field", "value"), [("sampler", "Nonsense"), ("schedule_type", "Nonsense")])
def test_what_does_not_exist_is_an_error_that_names_the_field(sd15: Checkpoint, field: str, value: str) -> None:
    with pytest.raises(RequestError) as caught:
        latents_of(sd15, replace(REQUEST, **{field: value}))
    assert caught.value.where == field


def test_latents_that_are_no_numbers_are_an_error_and_not_a_black_picture(sd15: Checkpoint) -> None:
    with pytest.raises(CheckpointError):
        decode(sd15, torch.full((1, 4, 8, 8), float("nan")))


def test_previews_are_pictures(sd15: Checkpoint) -> None:
    latents = latents_of(sd15, REQUEST)
    assert Previewer.of(sd15)(latents[0]).size == (16, 16)
