"""Runs that begin with latents: where they begin, in which scale, and that every sampler makes its last steps alike."""

from __future__ import annotations

from dataclasses import replace

import diffusers
import pytest
import torch
from PIL import Image
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.decoding import decode
from app.diffusion.encoding import LATENT_MODES, PICTURE_MODES, encode_picture, enlarged_latents
from app.diffusion.samplers import AUTOMATIC, FLOW_SAMPLERS, SAMPLERS, Run, Start
from app.diffusion.sampling import sample
from app.generation.request import LATENT_UPSCALERS, PICTURE_UPSCALERS
from tests.diffusion.test_samplers import CPU, LEVELS, NOISE, denoised
from tests.diffusion.test_sampling import REQUEST, conditioned, steady

PICTURE = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)


def run_of(name: str, steps: int, schedule: str = AUTOMATIC) -> Run:
    sampler = SAMPLERS[name]
    return Run(sampler, sampler.prepared(NOISE, schedule, steps), LEVELS.sigma, (3,))


@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 3, 6])
def test_a_run_makes_the_steps_it_is_asked_for_and_arrives_where_the_model_points(name: str, steps: int) -> None:
    start = Start(torch.zeros_like(PICTURE), steps)
    results = list(run_of(name, 6).steps(lambda x, sigma: PICTURE, (4, 8, 8), CPU, start))
    assert len(results) == steps
    torch.testing.assert_close(results[-1][0], PICTURE, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_run_begins_with_the_picture_under_the_noise_of_its_first_level(name: str) -> None:
    seen: list[tuple[Tensor, float]] = []

    def model(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, sigma))
        return x

    levels = [sigma for _, sigma in _evaluations(name)]
    next(run_of(name, 6).steps(model, (4, 8, 8), CPU, Start(PICTURE, 4)))
    x, sigma = seen[0]
    assert sigma == levels[2 * SAMPLERS[name].evaluations]
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(3))
    torch.testing.assert_close(x, PICTURE + sigma * noise, rtol=1e-4, atol=1e-4)


def _evaluations(name: str) -> list[tuple[Tensor, float]]:
    """What a whole run asks of the model."""
    seen: list[tuple[Tensor, float]] = []

    def model(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, sigma))
        return x

    list(run_of(name, 6).steps(model, (4, 8, 8), CPU))
    return seen


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_all_steps_from_an_empty_picture_are_a_run_from_noise(name: str) -> None:
    # SGM Uniform begins at the model's last level for all of them.
    runs = (run_of(name, 5, "SGM Uniform") for _ in range(2))
    empty = Start(torch.zeros_like(PICTURE), 5)
    (*_, (noise, _)), (*_, (ours, _)) = (
        list(run.steps(denoised, (4, 8, 8), CPU, start)) for run, start in zip(runs, (None, empty), strict=True)
    )
    torch.testing.assert_close(ours, noise, rtol=5e-2, atol=5e-2)


def test_the_last_steps_are_those_of_diffusers_own_image_to_image() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**NOISE, timestep_spacing="linspace")
    scheduler.set_timesteps(6)
    scheduler.set_begin_index(2)
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(3))
    x = scheduler.add_noise(PICTURE, noise, scheduler.timesteps[2:3])
    for timestep in scheduler.timesteps[2:]:
        sigma = float(scheduler.sigmas[scheduler.step_index or 2])
        x = scheduler.step((x - denoised(x, sigma)) / sigma, timestep, x).prev_sample
    *_, (ours, _) = run_of("Euler", 6, "Normal").steps(denoised, (4, 8, 8), CPU, Start(PICTURE, 4))
    torch.testing.assert_close(ours, x, rtol=1e-3, atol=1e-3)


def test_a_flow_begins_on_the_straight_path() -> None:
    sampler = FLOW_SAMPLERS["Euler"]
    scheduler = sampler.scheduler()
    scheduler.set_timesteps(4)
    seen: list[tuple[Tensor, float]] = []

    def model(x: Tensor, sigma: float) -> Tensor:
        seen.append((x, sigma))
        return PICTURE

    run = Run(sampler, scheduler, lambda timestep: timestep / 1000, (3,))
    *_, (last, _) = run.steps(model, (4, 8, 8), CPU, Start(PICTURE, 2))
    x, sigma = seen[0]
    noise = torch.randn((1, 4, 8, 8), generator=torch.Generator("cpu").manual_seed(3))
    torch.testing.assert_close(x, (1 - sigma) * PICTURE + sigma * noise, rtol=1e-4, atol=1e-4)
    assert len(seen) == 2 and sigma == float(scheduler.timesteps[2]) / 1000
    torch.testing.assert_close(last, PICTURE, rtol=0, atol=0.01)


@pytest.mark.parametrize("sampler", ["Euler", "Euler a", "Heun"])
def test_a_batch_from_one_picture_is_its_single_images_bit_for_bit(sd15: Checkpoint, sampler: str) -> None:
    request = replace(REQUEST, sampler=sampler, batch_size=3)
    conditioning = steady(conditioned(sd15, "a cat"))
    start = Start(torch.rand(1, 4, 8, 8), 2)
    batch = sample(sd15, request, conditioning, start=start)
    assert batch.steps == 2
    for index in range(3):
        alone = sample(sd15, request.single(index), conditioning, start=start)
        assert torch.equal(batch.latents[index : index + 1], alone.latents)


def test_no_step_gives_the_picture_back_as_the_vae_knows_it(sd15: Checkpoint) -> None:
    picture = Image.radial_gradient("L").resize((16, 16)).convert("RGB")
    latents = encode_picture(sd15, picture)
    kept = sample(sd15, REQUEST, steady(conditioned(sd15, "a cat")), start=Start(latents, 0))
    assert kept.steps == 0 and torch.equal(kept.latents, latents)
    assert decode(sd15, kept.latents).images[0].tobytes() == decode(sd15, latents).images[0].tobytes()


def test_every_upscaler_that_is_named_enlarges() -> None:
    assert tuple(LATENT_MODES) == LATENT_UPSCALERS and tuple(PICTURE_MODES) == PICTURE_UPSCALERS
    for name in LATENT_MODES:
        assert enlarged_latents(PICTURE, (12, 10), name).shape == (1, 4, 12, 10)
        together = enlarged_latents(torch.cat([PICTURE, -PICTURE]), (12, 10), name)
        assert torch.equal(together[1:], enlarged_latents(-PICTURE, (12, 10), name))
