"""The samplers against diffusers' own implementations of the same papers, on a model that is an equation."""

from __future__ import annotations

import inspect
import math
from itertools import pairwise
from typing import Any

import diffusers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from app.diffusion.noise import SCHEDULE_TYPES, SCHEDULES, ImageNoise, NoiseLevels, scheduled
from app.diffusion.samplers import SAMPLERS, find_sampler
from app.errors import RequestError

NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "num_train_timesteps": 1000}
LEVELS = NoiseLevels.of(NOISE)
MODEL_ERROR = 0.3


def predicted_noise(x: Tensor, timestep: float) -> Tensor:
    """A smooth, non-linear stand-in for a UNet, of the scaled latents and the timestep."""
    return torch.tanh(x * 0.7 + MODEL_ERROR * math.cos(timestep / 300))


def denoised(x: Tensor, sigma: float) -> Tensor:
    return x - sigma * predicted_noise(x / math.sqrt(sigma**2 + 1), LEVELS.timestep(sigma))


def ours(name: str, sigmas: list[float], *, vp: bool = False, seed: int = 3) -> Tensor:
    """`vp`: the run starts as variance-preserving schedulers start theirs."""
    noise = ImageNoise([seed], (4, 8, 8), torch.device("cpu"))
    start = noise() * (math.sqrt(sigmas[0] ** 2 + 1) if vp else sigmas[0])
    run = SAMPLERS[name].steps(denoised, start, sigmas, noise)
    return [x for x, _ in run][-1]


def theirs(scheduler: Any, steps: int, seed: int = 3) -> Tensor:
    generator = torch.Generator("cpu").manual_seed(seed)
    scheduler.set_timesteps(steps)
    x = torch.randn((1, 4, 8, 8), generator=generator) * scheduler.init_noise_sigma
    extra = {"generator": generator} if "generator" in inspect.signature(scheduler.step).parameters else {}
    for timestep in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, timestep)
        x = scheduler.step(predicted_noise(scaled, float(timestep)), timestep, x, **extra).prev_sample
    return x


VE = {**NOISE, "timestep_spacing": "linspace"}
KARRAS = {**VE, "use_karras_sigmas": True}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [4, 10])  # 999 divides into as many whole timesteps, which is where diffusers rounds
@pytest.mark.parametrize(
    ("name", "schedule", "scheduler"),
    [
        ("Euler", "Normal", diffusers.EulerDiscreteScheduler(**VE)),
        ("Euler", "Karras", diffusers.EulerDiscreteScheduler(**KARRAS)),
        ("Euler", "Exponential", diffusers.EulerDiscreteScheduler(**VE, use_exponential_sigmas=True)),
        ("Euler a", "Normal", diffusers.EulerAncestralDiscreteScheduler(**VE)),
        ("Heun", "Normal", diffusers.HeunDiscreteScheduler(**VE)),
        ("Heun", "Karras", diffusers.HeunDiscreteScheduler(**KARRAS)),
        ("DPM2", "Karras", diffusers.KDPM2DiscreteScheduler(**KARRAS)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, diffusers.SchedulerMixin) else str(value),
)
def test_a_sampler_gives_what_diffusers_gives(name: str, schedule: str, scheduler: Any, steps: int) -> None:
    result = ours(name, scheduled(LEVELS, schedule, steps))
    torch.testing.assert_close(result, theirs(scheduler, steps), rtol=2e-4, atol=2e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("steps", [3, 9])
@pytest.mark.parametrize(
    ("name", "scheduler"),
    [
        ("DPM++ 2M", diffusers.DPMSolverMultistepScheduler(**VE)),
        ("DPM++ 2M SDE", diffusers.DPMSolverMultistepScheduler(**VE, algorithm_type="sde-dpmsolver++")),
        ("UniPC", diffusers.UniPCMultistepScheduler(**VE, final_sigmas_type="zero")),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, diffusers.SchedulerMixin) else str(value),
)
def test_a_multistep_sampler_gives_what_diffusers_gives(name: str, scheduler: Any, steps: int) -> None:
    result = ours(name, scheduled(LEVELS, "SGM Uniform", steps), vp=True)
    torch.testing.assert_close(result, theirs(scheduler, steps), rtol=2e-4, atol=2e-4)


def test_ddim_gives_what_diffusers_gives() -> None:
    scheduler = diffusers.DDIMScheduler(**NOISE, timestep_spacing="trailing", clip_sample=False)
    sigmas = [*(LEVELS.sigma(timestep) for timestep in range(999, 0, -100)), 0.0]
    torch.testing.assert_close(ours("DDIM", sigmas, vp=True), theirs(scheduler, 10), rtol=2e-4, atol=2e-4)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("name", list(SAMPLERS))
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_every_sampler_on_every_schedule_arrives_where_the_model_points(name: str, schedule: str, steps: int) -> None:
    picture = torch.linspace(-1, 1, 64).reshape(1, 4, 4, 4)
    sigmas = scheduled(LEVELS, schedule, steps, skips_next_to_last=SAMPLERS[name].skips_next_to_last)
    noise = ImageNoise([1], (4, 4, 4), torch.device("cpu"))
    run = SAMPLERS[name].steps(lambda x, sigma: picture, noise() * sigmas[0], sigmas, noise)
    results = [x for x, _ in run]
    assert len(results) == steps
    torch.testing.assert_close(results[-1], picture, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", list(SAMPLERS))
def test_a_sampler_evaluates_as_often_as_it_says_and_less_only_in_its_last_step(name: str) -> None:
    calls: list[float] = []
    sigmas = scheduled(LEVELS, "Karras", 5)
    noise = ImageNoise([1], (4, 4, 4), torch.device("cpu"))

    def model(x: Tensor, sigma: float) -> Tensor:
        calls.append(sigma)
        return x * 0.5

    counts = []
    for _ in SAMPLERS[name].steps(model, noise() * sigmas[0], sigmas, noise):
        counts.append(len(calls))
        calls.clear()
    assert counts[:-1] == [SAMPLERS[name].evaluations] * 4
    assert counts[-1] == 1 if name != "DPM2 a" else counts[-1] in (1, 2)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "LCM"])
def test_samples_of_a_known_distribution_are_spread_like_it(name: str) -> None:
    """For data ~ N(0, 1) the ideal denoiser is x / (1 + σ²); LCM presumes a distilled one."""
    sigmas = scheduled(LEVELS, "Karras", 40)
    noise = ImageNoise([5], (4, 64, 64), torch.device("cpu"))
    run = SAMPLERS[name].steps(lambda x, sigma: x / (1 + sigma**2), noise() * sigmas[0], sigmas, noise)
    assert [x for x, _ in run][-1].std().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("schedule", list(SCHEDULES))
@pytest.mark.parametrize("steps", [1, 2, 20])
def test_a_schedule_falls_from_the_noisiest_level_to_none(schedule: str, steps: int) -> None:
    sigmas = scheduled(LEVELS, schedule, steps)
    assert len(sigmas) == steps + 1
    assert sigmas[0] == pytest.approx(LEVELS.high)
    assert sigmas[-1] == 0
    assert all(before > after for before, after in pairwise(sigmas))


def test_the_beta_schedule_is_the_quantiles_of_its_distribution() -> None:
    """∫₀^q of the density is the fraction asked for, integrated here in another variable (x = y^(1/0.6))."""
    sigmas = scheduled(LEVELS, "Beta", 5)
    quantile = (sigmas[1] - LEVELS.low) / (LEVELS.high - LEVELS.low)
    grid = torch.linspace(0, 0.5**0.6, 100_001, dtype=torch.float64)
    half = torch.trapezoid((1 - grid ** (1 / 0.6)) ** -0.4, grid)
    tail = torch.linspace(0, (1 - quantile) ** 0.6, 100_001, dtype=torch.float64)
    above = torch.trapezoid((1 - tail ** (1 / 0.6)) ** -0.4, tail)
    assert float(above / (2 * half)) == pytest.approx(0.25, abs=1e-4)


@given(sigma=st.floats(0.03, 14.6))
def test_timesteps_and_levels_are_inverse(sigma: float) -> None:
    assert LEVELS.sigma(LEVELS.timestep(sigma)) == pytest.approx(sigma, rel=1e-6)


def test_zero_snr_levels_are_what_diffusers_has() -> None:
    scheduler = diffusers.EulerDiscreteScheduler(**NOISE, rescale_betas_zero_snr=True)
    levels = NoiseLevels.of({**NOISE, "rescale_betas_zero_snr": True})
    expected = ((1 - scheduler.alphas_cumprod) / scheduler.alphas_cumprod).sqrt().double()
    torch.testing.assert_close(levels.sigmas, expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("name", "flow"), [("Nonsense", False), ("UniPC", True)])
def test_a_sampler_that_cannot_be_used_names_those_that_can(name: str, flow: bool) -> None:
    with pytest.raises(RequestError, match="Euler"):
        find_sampler(name, flow=flow)


def test_an_unknown_schedule_type_names_those_there_are() -> None:
    with pytest.raises(RequestError, match=SCHEDULE_TYPES[-1]):
        scheduled(LEVELS, "Nonsense", 3)
