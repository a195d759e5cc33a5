"""Noise: the levels a model was trained on, the schedules through them, and the noise of each image.

A level σ is the noise's standard deviation over a clean latent's own (variance-exploding form, Karras et al. 2022):
x = x₀ + σ·n. Models trained on x = √ᾱ·x₀ + √(1−ᾱ)·n meet it scaled by 1/√(σ²+1).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from app.errors import CheckpointError, RequestError

ZERO_SNR_ALPHA = 2.0**-24
"""ᾱ of the last timestep of a model with zero terminal signal, kept off 0 so that σ is finite (as diffusers does)."""


@dataclass(frozen=True, slots=True)
class NoiseLevels:
    """The σ of every training timestep, ascending; float64 [T]."""

    sigmas: Tensor

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> NoiseLevels:
        """The levels a diffusers scheduler configuration describes.

        Raises:
            CheckpointError: for a beta schedule that is not known.
        """
        count = int(config.get("num_train_timesteps", 1000))
        start, end = float(config.get("beta_start", 0.00085)), float(config.get("beta_end", 0.012))
        kind = config.get("beta_schedule", "scaled_linear")
        if config.get("trained_betas") is not None:
            betas = torch.tensor(config["trained_betas"], dtype=torch.float64)
        elif kind == "linear":
            betas = torch.linspace(start, end, count, dtype=torch.float64)
        elif kind == "scaled_linear":
            betas = torch.linspace(start**0.5, end**0.5, count, dtype=torch.float64) ** 2
        else:
            raise CheckpointError(f"The beta schedule {kind!r} is not known.", where="scheduler_config.json")
        alphas = torch.cumprod(1 - betas, dim=0)
        if config.get("rescale_betas_zero_snr"):
            alphas = _zero_terminal(alphas)
        return cls(((1 - alphas) / alphas).sqrt())

    @property
    def low(self) -> float:
        return float(self.sigmas[0])

    @property
    def high(self) -> float:
        return float(self.sigmas[-1])

    def timestep(self, sigma: float) -> float:
        """The (fractional) timestep of a level, interpolated in log σ."""
        logs = self.sigmas.log()
        log = min(max(math.log(sigma), float(logs[0])), float(logs[-1]))
        below = min(int(torch.searchsorted(logs, log, right=True)) - 1, len(logs) - 2)
        return below + (log - float(logs[below])) / float(logs[below + 1] - logs[below])

    def sigma(self, timestep: float) -> float:
        """The level of a (fractional) timestep, interpolated in log σ."""
        below = min(int(timestep), len(self.sigmas) - 2)
        logs = self.sigmas[below : below + 2].log()
        return math.exp(float(torch.lerp(logs[0], logs[1], timestep - below)))


def _zero_terminal(alphas: Tensor) -> Tensor:
    """ᾱ shifted and scaled so that the last is zero and the first stays (Lin et al. 2023, algorithm 1)."""
    roots = alphas.sqrt()
    roots = (roots - roots[-1]) * roots[0] / (roots[0] - roots[-1])
    rescaled = roots**2
    rescaled[-1] = ZERO_SNR_ALPHA
    return rescaled


Schedule = Callable[[NoiseLevels, int], list[float]]


def uniform(levels: NoiseLevels, steps: int) -> list[float]:
    """Levels at evenly spaced timesteps, from the noisiest to the cleanest."""
    last = len(levels.sigmas) - 1
    return [levels.sigma(last * (1 - fraction)) for fraction in _ramp(steps)]


def sgm_uniform(levels: NoiseLevels, steps: int) -> list[float]:
    """As uniform over one more step, whose cleanest level is left out ("trailing" spacing)."""
    return uniform(levels, steps + 1)[:-1]


def karras(levels: NoiseLevels, steps: int, rho: float = 7.0) -> list[float]:
    """Equation 5 of Karras et al. (2022)."""
    high, low = levels.high ** (1 / rho), levels.low ** (1 / rho)
    return [(high + fraction * (low - high)) ** rho for fraction in _ramp(steps)]


def exponential(levels: NoiseLevels, steps: int) -> list[float]:
    """Levels evenly spaced in log σ."""
    high, low = math.log(levels.high), math.log(levels.low)
    return [math.exp(high + fraction * (low - high)) for fraction in _ramp(steps)]


def beta(levels: NoiseLevels, steps: int, shape: float = 0.6) -> list[float]:
    """Levels at quantiles of the Beta(0.6, 0.6) distribution (Lee et al. 2024, arXiv:2407.12173)."""
    # x = sin²θ turns the density into one without poles: 2 (sin θ cos θ)^(2·shape − 1).
    theta = torch.linspace(0, math.pi / 2, 20_001, dtype=torch.float64)
    density = (theta.sin() * theta.cos()).clamp_min(0) ** (2 * shape - 1)
    mass = torch.cumulative_trapezoid(density)
    mass = torch.cat([torch.zeros(1, dtype=torch.float64), mass / mass[-1]])
    quantiles = [_interpolated(1 - fraction, mass, theta.sin() ** 2) for fraction in _ramp(steps)]
    return [levels.low + quantile * (levels.high - levels.low) for quantile in quantiles]


def _ramp(steps: int) -> list[float]:
    """`steps` numbers from 0 to 1; one step stands at 0."""
    return [index / max(steps - 1, 1) for index in range(steps)]


def _interpolated(value: float, xs: Tensor, ys: Tensor) -> float:
    below = min(int(torch.searchsorted(xs, value, right=True)) - 1, len(xs) - 2)
    fraction = (value - float(xs[below])) / float(xs[below + 1] - xs[below])
    return float(torch.lerp(ys[below], ys[below + 1], fraction))


SCHEDULES: Mapping[str, Schedule] = {
    "Normal": uniform,
    "Uniform": uniform,
    "Karras": karras,
    "Exponential": exponential,
    "Beta": beta,
    "SGM Uniform": sgm_uniform,
}


AUTOMATIC = "Automatic"
SCHEDULE_TYPES: tuple[str, ...] = (AUTOMATIC, *SCHEDULES)


def scheduled(levels: NoiseLevels, name: str, steps: int, *, skips_next_to_last: bool = False) -> list[float]:
    """The levels of `steps` steps by the schedule of that name, and 0 behind them.

    Raises:
        RequestError: if no schedule has that name.
    """
    if name not in SCHEDULES:
        hint = f"Use {', '.join(SCHEDULE_TYPES)}."
        raise RequestError(f"No schedule type is named {name!r}.", where="schedule_type", hint=hint)
    return [*SCHEDULES[name](levels, steps + skips_next_to_last)[:steps], 0.0]


class ImageNoise:
    """Standard normal noise, each image's from its own seed.

    It is drawn on the CPU in float32, so that every device and every batch that has the image gives the same picture.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...], device: torch.device) -> None:
        self._generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
        self._shape = shape
        self._device = device

    def __call__(self) -> Tensor:
        """The next noise of every image, [images, *shape]."""
        drawn = [torch.randn(self._shape, generator=generator) for generator in self._generators]
        return torch.stack(drawn).to(self._device)
