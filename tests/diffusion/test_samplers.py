"""The samplers against diffusers' schedulers driven by hand, on a model that is an equation."""

from __future__ import annotations

import inspect
import math
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.diffusion.noise import NoiseLevels
from app.diffusion.samplers import AUTOMATIC, SAMPLERS, SCHEDULE_TYPES, Denoise, Run, find_sampler
from app.errors import RequestError

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
LEVELS = NoiseLevels.of(NOISE)
CPU = torch.device("cpu")
KNOWN = [(name, kind) for name, sampler in SAMPLERS.items() for kind in SCHEDULE_TYPES if sampler.knows(kind)]


def predicted_noise(x: Tensor, timestep: float) -> Tensor:
    """A smooth, non-linear stand-in for a UNet, of the scaled latents and the timestep."""
    return torch.tanh(x * 0.7 + 0.3 * math.cos(timestep / 300))


def denoised(x: Tensor, sigma: float) -> Tensor:
    return x - sigma * predicted_noise(x / math.sqrt(sigma**2 + 1), LEVELS.timestep(sigma))


def latents(
    name: str, schedule: str, steps: int, denoise: Denoise, seeds: tuple[int, ...] = (3,), side: int = 8
) -> list[Tensor]:
    """The latents after each step."""
    sampler = SAMPLERS[name]
    run = Run(sampler, sampler.prepared(NOISE, schedule, steps), LEVELS.sigma, seeds)
    return [x for x, _ in run.steps(denoise, (4, side, side), CPU)]


def by_hand(scheduler: Any, steps: int, seed: int = 3) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    scheduler.set_timesteps(steps)
    x = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep)
        x = scheduler.step(predicted_noise(scaled, float(timestep)), timestep, x, **extra).prev_sample
    return x


EVEN = {**NOISE, "timestep_spacing": "linspace"}
KARRAS = {**EVEN, "use_karras_sigmas": True}
TRAILING = {**NOISE, "timestep_spacing": "trailing"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [2, 7])
@pytest.mark.parametrize(
    ("name", "schedule", "scheduler"),
    [
        ("Euler", "Normal", diffusers.EulerDiscreteScheduler(**EVEN)),
        ("Euler", "Beta", diffusers.EulerDiscreteScheduler(**EVEN, use_beta_sigmas=True)),
        ("Euler", "SGM Uniform", diffusers.EulerDiscreteScheduler(**TRAILING)),
        ("Euler a", "Normal", diffusers.EulerAncestralDiscreteScheduler(**EVEN)),
        ("Heun", "Karras", diffusers.HeunDiscreteScheduler(**KARRAS)),
        ("DPM2", "Karras", diffusers.KDPM2DiscreteScheduler(**KARRAS)),
        ("DPM2 a", "Normal", diffusers.KDPM2AncestralDiscreteScheduler(**EVEN)),
        ("DPM++ 2M", "Karras", diffusers.DPMSolverMultistepScheduler(**KARRAS)),
        ("DPM++ 2M SDE", "Normal", diffusers.DPMSolverMultistepScheduler(**EVEN, algorithm_type="sde-dpmsolver++")),
        ("UniPC", "SGM Uniform", diffusers.UniPCMultistepScheduler(**TRAILING, final_sigmas_type="zero")),
        ("LCM", "Normal", diffusers.LCMScheduler(**NOISE)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, diffusers.SchedulerMixin) else str(value),
)
def test_a_sampler_gives_what_its_scheduler_gives(name: str, schedule: str, scheduler: Any, steps: int) -> None:
    ours = latents(name, schedule, steps, denoised)[-1]
    torch.testing.assert_close(ours, by_hand(scheduler, steps), rtol=1e-3, atol=1e-3)


def test_ddim_is_what_diffusers_calls_ddim() -> None:
    scheduler = diffusers.DDIMScheduler(**TRAILING, clip_sample=False, set_alpha_to_one=True)
    ours = latents("DDIM", "SGM Uniform", 10, denoised)[-1]
    torch.testing.assert_close(ours, by_hand(scheduler, 10), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize(("name", "schedule"), KNOWN)
def test_every_sampler_takes_the_steps_asked_for_and_arrives_where_the_model_points(
    name: str, schedule: str, steps: int
) -> None:
    picture = torch.linspace(-1, 1, 256).reshape(1, 4, 8, 8)
    results = latents(name, schedule, steps, lambda x, sigma: picture)
    assert len(results) == steps
    torch.testing.assert_close(results[-1], picture, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_sampler_evaluates_as_often_as_it_says_and_once_in_its_last_step(name: str) -> None:
    calls: list[float] = []

    def model(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return x * 0.5

    sampler = SAMPLERS[name]
    run = Run(sampler, sampler.prepared(NOISE, AUTOMATIC, 5), LEVELS.sigma, (1,))
    counts = []
    for _ in run.steps(model, (4, 4, 4), CPU):
        counts.append(len(calls))
        calls.clear()
    assert counts == [sampler.evaluations] * 4 + [1]


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "LCM"])
def test_samples_of_a_known_distribution_are_spread_like_it(name: str) -> None:
    """For data ~ N(0, 1) the ideal denoiser is x / (1 + σ²); LCM presumes a distilled one."""
    last = latents(name, AUTOMATIC, 40, lambda x, sigma: x / (1 + sigma**2), side=64)[-1]
    assert last.std().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_each_image_of_a_batch_has_the_noise_of_its_own_seed(name: str) -> None:
    together = latents(name, AUTOMATIC, 3, denoised, seeds=(5, 6))[-1]
    apart = torch.cat([latents(name, AUTOMATIC, 3, denoised, seeds=(seed,))[-1] for seed in (5, 6)])
    torch.testing.assert_close(together, apart, rtol=1e-4, atol=1e-4)
    assert not torch.allclose(together[0], together[1])


@given(sigma=st.floats(0.03, 14.6))
def test_timesteps_and_levels_are_inverse(sigma: float) -> None:
    assert LEVELS.sigma(LEVELS.timestep(sigma)) == pytest.approx(sigma, rel=1e-6)


def test_distilled_models_are_sampled_at_the_levels_they_were_distilled_at() -> None:
    config = {**NOISE, "timestep_spacing": "trailing"}
    automatic = SAMPLERS["Euler"].prepared(config, AUTOMATIC, 4)
    assert torch.equal(automatic.sigmas, SAMPLERS["Euler"].prepared(config, "SGM Uniform", 4).sigmas)


@pytest.mark.parametrize(("name", "flow"), [("Nonsense", False), ("UniPC", True)])
def test_a_sampler_that_cannot_be_used_names_those_that_can(name: str, flow: bool) -> None:
    with pytest.raises(RequestError, match="Euler"):
        find_sampler(name, flow=flow)


@pytest.mark.parametrize(("name", "schedule"), [("Euler", "Nonsense"), ("LCM", "Karras")])
def test_a_schedule_type_that_cannot_be_used_names_those_that_can(name: str, schedule: str) -> None:
    with pytest.raises(RequestError, match="SGM Uniform"):
        SAMPLERS[name].prepared(NOISE, schedule, 3)
