"""The denoisers of SD3 and Flux: transformers that predict the velocity of a straight path, x = (1 − σ) x₀ + σ n."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from app.diffusion.checkpoint import PATCH, Checkpoint, module_config, module_dtype
from app.diffusion.conditioning import Conditioning
from app.diffusion.denoiser import Row, Side, guided, guided_rows, predictions, stacked_texts
from app.diffusion.samplers import AUTOMATIC, Sampler
from app.errors import RequestError

SCHEDULE_SWITCHES = {
    AUTOMATIC: {},
    "Karras": {"use_karras_sigmas": True},
    "Exponential": {"use_exponential_sigmas": True},
}
"""Schedule types of flow models, as switches of diffusers' scheduler."""
TIMESTEPS = 1000


class FlowDenoiser:
    """A flow transformer at work on latents of one size.

    SD3 is guided by the negative prompt. Flux has its guidance distilled in: where it takes the scale as an input it is
    given cfg_scale, and the negative prompt is not evaluated.
    """

    def __init__(self, checkpoint: Checkpoint, cfg_scale: float, size: tuple[int, int]) -> None:
        """`size` is the picture's height and width in pixels."""
        self._transformer = checkpoint.components["transformer"]
        self._scheduler_config = checkpoint.scheduler_config
        self._flux = checkpoint.family == "flux"
        self._cfg_scale = cfg_scale
        unit = checkpoint.vae_factor * PATCH
        self._tokens = (size[0] // unit, size[1] // unit)
        self._rows: tuple[Row, ...] = ()
        self._conditioning: Conditioning | None = None
        self._side: Side | None = None

    def scheduler(self, sampler: Sampler, schedule_type: str, steps: int) -> Any:
        if schedule_type not in SCHEDULE_SWITCHES:
            hint = f"Flow models use {', '.join(SCHEDULE_SWITCHES)}."
            raise RequestError(f"{schedule_type!r} is not for this model.", where="schedule_type", hint=hint)
        switches = SCHEDULE_SWITCHES[schedule_type]
        scheduler = sampler.scheduler.from_config(dict(self._scheduler_config), **switches)
        even = np.linspace(1.0, 1 / steps, steps) if self._flux else None
        if scheduler.config.use_dynamic_shifting:
            scheduler.set_timesteps(steps, sigmas=even, mu=self._shift())
        else:
            scheduler.set_timesteps(steps, sigmas=even)
        return scheduler

    def level(self, timestep: float) -> float:
        return timestep / TIMESTEPS

    def _shift(self) -> float:
        """The shift of the noise levels, which grows with the picture (Esser et al. 2024, section 5.3.2)."""
        config = self._scheduler_config
        few, many = int(config.get("base_image_seq_len", 256)), int(config.get("max_image_seq_len", 4096))
        low, high = float(config.get("base_shift", 0.5)), float(config.get("max_shift", 1.15))
        return low + (self._tokens[0] * self._tokens[1] - few) * (high - low) / (many - few)

    def condition(self, conditioning: Conditioning, side: Side | None = None) -> None:
        self._side = side
        if conditioning is not self._conditioning:
            self._conditioning = conditioning
            self._rows = guided_rows(conditioning, 1.0 if self._flux else self._cfg_scale)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        evaluate = partial(self._flux_velocity if self._flux else self._sd3_velocity, x, sigma)
        return x - sigma * guided(predictions(self._rows, evaluate, self._side), self._rows)

    def _sd3_velocity(self, x: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        dtype = module_dtype(self._transformer)
        hidden, pooled = stacked_texts(rows, x.shape[0], x, dtype)
        output: Tensor = self._transformer(
            hidden_states=x.repeat(len(rows), 1, 1, 1).to(dtype),
            timestep=torch.full((hidden.shape[0],), sigma * TIMESTEPS, device=x.device),
            encoder_hidden_states=hidden,
            pooled_projections=pooled,
            return_dict=False,
        )[0]
        return output

    def _flux_velocity(self, x: Tensor, sigma: float, rows: Sequence[Row]) -> Tensor:
        dtype = module_dtype(self._transformer)
        hidden, pooled = stacked_texts(rows, x.shape[0], x, dtype)
        guidance = None
        if module_config(self._transformer)["guidance_embeds"]:
            guidance = torch.full((hidden.shape[0],), self._cfg_scale, device=x.device)
        output: Tensor = self._transformer(
            hidden_states=packed(x).repeat(len(rows), 1, 1).to(dtype),
            timestep=torch.full((hidden.shape[0],), sigma, device=x.device, dtype=dtype),
            guidance=guidance,
            encoder_hidden_states=hidden,
            pooled_projections=pooled,
            txt_ids=torch.zeros(hidden.shape[1], 3, device=x.device, dtype=dtype),
            img_ids=_places(*self._tokens).to(x.device, dtype),
            return_dict=False,
        )[0]
        return unpacked(output, *self._tokens)


def packed(x: Tensor) -> Tensor:
    """Patches of 2 × 2 latents as tokens: (b, c, 2h, 2w) → (b, h·w, 4c)."""
    batch, channels, height, width = x.shape
    patches = x.reshape(batch, channels, height // PATCH, PATCH, width // PATCH, PATCH)
    return patches.permute(0, 2, 4, 1, 3, 5).reshape(batch, -1, channels * PATCH * PATCH)


def unpacked(tokens: Tensor, height: int, width: int) -> Tensor:
    """The inverse of `packed`, for height × width tokens."""
    batch, _, channels = tokens.shape
    patches = tokens.reshape(batch, height, width, channels // PATCH**2, PATCH, PATCH)
    return patches.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height * PATCH, width * PATCH)


def _places(height: int, width: int) -> Tensor:
    """Where each token stands, [h·w, 3]: 0, its row, its column."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([torch.zeros_like(rows), rows, columns], dim=-1).reshape(-1, 3)
