"""The levels of noise that a model was trained on.

A level σ is the noise's standard deviation over a clean latent's own (variance-exploding form, Karras et al. 2022):
x = x₀ + σ·n. Models trained on x = √ᾱ·x₀ + √(1−ᾱ)·n meet it scaled by 1/√(σ²+1).
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler
from torch import Tensor

from app.errors import CheckpointError

TRAINING = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "rescale_betas_zero_snr",
)  # fmt: skip
"""What of a scheduler's configuration is about the model's training, rather than about sampling."""


def training(config: Mapping[str, Any], scheduler: type) -> dict[str, Any]:
    """The part of a checkpoint's scheduler configuration that tells how it was trained, as `scheduler` takes it."""
    taken = inspect.signature(scheduler.__init__).parameters  # type: ignore[misc]
    return {name: config[name] for name in TRAINING if name in config and name in taken}


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
        try:
            scheduler = EulerDiscreteScheduler(**training(config, EulerDiscreteScheduler))
        except NotImplementedError as error:
            kind = config.get("beta_schedule")
            raise CheckpointError(f"The beta schedule {kind!r} is not known.", where="scheduler_config.json") from error
        alphas = scheduler.alphas_cumprod.double()
        return cls(((1 - alphas) / alphas).sqrt())

    def timestep(self, sigma: float) -> float:
        """The (fractional) timestep of a level, interpolated in log σ."""
        logs = self.sigmas.log()
        log = min(max(math.log(sigma), float(logs[0])), float(logs[-1]))
        below = min(int(torch.searchsorted(logs, log, right=True)) - 1, len(logs) - 2)
        return below + (log - float(logs[below])) / float(logs[below + 1] - logs[below])

    def sigma(self, timestep: float) -> float:
        """The level of a (fractional) timestep, interpolated in log σ."""
        below = min(int(timestep), len(self.sigmas) - 2)
        low, high = (float(level) for level in self.sigmas[below : below + 2].log())
        return math.exp(low + (timestep - below) * (high - low))
