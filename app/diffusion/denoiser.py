"""The denoiser at one level of noise: what the model predicts, guided by the prompts, as denoised latents."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint, module_config, module_dtype
from app.diffusion.conditioning import Conditioning, Encoding
from app.diffusion.noise import AUTOMATIC, NoiseLevels, scheduled
from app.diffusion.samplers import Sampler

AESTHETIC_SCORES = (6.0, 2.5)
"""What SDXL's refiner is told of the prompt's picture and the negative prompt's."""


@dataclass(frozen=True, slots=True)
class Row:
    """One evaluation that a step needs: a text, and its factor in the sum Σ factor · prediction."""

    encoding: Encoding
    factor: float
    negative: bool = False


def guided_rows(conditioning: Conditioning, cfg_scale: float) -> tuple[Row, ...]:
    """The evaluations of u + cfg · Σ wᵢ (cᵢ − u) (Liu et al. 2022, arXiv:2206.01714), without those of factor 0.

    At cfg 1 with one branch the negative prompt has none.
    """
    rows = [Row(encoding, cfg_scale * weight) for encoding, weight in conditioning.positive]
    rest = 1 - math.fsum(row.factor for row in rows)
    rows.insert(0, Row(conditioning.negative, rest, negative=True))
    return tuple(row for row in rows if row.factor != 0) or (rows[0],)


def guided(predictions: Sequence[Tensor], rows: Sequence[Row]) -> Tensor:
    """Σ factor · prediction; factors sum to 1, so it is taken as the first plus the others' differences from it."""
    first, *others = predictions
    combined = first
    for prediction, row in zip(others, rows[1:], strict=True):
        combined = combined + row.factor * (prediction - first)
    return combined


class UNetDenoiser:
    """A UNet at work on latents of one size. `condition` sets what steers it from the next evaluation on."""

    def __init__(self, checkpoint: Checkpoint, cfg_scale: float, size: tuple[int, int]) -> None:
        """`size` is the picture's height and width in pixels."""
        self._unet = checkpoint.components["unet"]
        self._checkpoint = checkpoint
        self._cfg_scale = cfg_scale
        self._size = size
        self._rows: tuple[Row, ...] = ()
        self._conditioning: Conditioning | None = None
        self._masked = _masked_picture(checkpoint, size) if checkpoint.inpainting else None
        self.levels = NoiseLevels.of(checkpoint.scheduler_config)

    def sigmas(self, sampler: Sampler, schedule_type: str, steps: int) -> list[float]:
        """The levels of the steps, and 0 behind them.

        Raises:
            RequestError: for a schedule type that does not exist.
        """
        if schedule_type == AUTOMATIC:
            trailing = self._checkpoint.scheduler_config.get("timestep_spacing") == "trailing"
            # Distilled models say so; away from the levels they were distilled at they only blur.
            schedule_type = "SGM Uniform" if trailing else sampler.schedule
        return scheduled(self.levels, schedule_type, steps, skips_next_to_last=sampler.skips_next_to_last)

    def condition(self, conditioning: Conditioning) -> None:
        if conditioning is not self._conditioning:
            self._conditioning = conditioning
            self._rows = guided_rows(conditioning, self._cfg_scale)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """The denoised latents, float32 like x [images, channels, h, w]."""
        scale = math.sqrt(sigma**2 + 1)
        predicted = guided(self._predictions(x / scale, self.levels.timestep(sigma)), self._rows)
        if self._checkpoint.prediction == "v_prediction":
            return x / scale**2 - predicted * (sigma / scale)
        return x - sigma * predicted

    def _predictions(self, x: Tensor, timestep: float) -> list[Tensor]:
        """What the UNet predicts for each row; rows of one length of text share an evaluation."""
        predictions: dict[int, Tensor] = {}
        lengths = {row.encoding.hidden.shape[0] for row in self._rows}
        for length in sorted(lengths):
            group = [index for index, row in enumerate(self._rows) if row.encoding.hidden.shape[0] == length]
            output = self._evaluate(x, timestep, [self._rows[index] for index in group])
            predictions.update(zip(group, output.chunk(len(group)), strict=True))
        return [predictions[index] for index in range(len(self._rows))]

    def _evaluate(self, x: Tensor, timestep: float, rows: Sequence[Row]) -> Tensor:
        images = x.shape[0]
        dtype = module_dtype(self._unet)
        hidden = torch.cat([row.encoding.hidden.expand(images, -1, -1) for row in rows])
        if self._masked is not None:
            x = torch.cat([x, self._masked.expand(images, -1, -1, -1)], dim=1)
        output: Tensor = self._unet(
            x.repeat(len(rows), 1, 1, 1).to(dtype),
            torch.tensor(timestep, device=x.device, dtype=torch.float32),
            encoder_hidden_states=hidden.to(x.device, dtype),
            added_cond_kwargs=self._added(rows, images, dtype, x.device),
            return_dict=False,
        )[0]
        return output.float()

    def _added(
        self, rows: Sequence[Row], images: int, dtype: torch.dtype, device: torch.device
    ) -> Mapping[str, Tensor] | None:
        """SDXL's second conditioning: pooled texts, and the picture's size and crop."""
        pooled = [row.encoding.pooled for row in rows]
        vectors = [vector.expand(images, -1) for vector in pooled if vector is not None]
        if len(vectors) < len(rows):
            return None
        height, width = map(float, self._size)
        times: list[list[float]] = []
        for row in rows:
            tail = [AESTHETIC_SCORES[row.negative]] if self._checkpoint.family == "sdxl-refiner" else [height, width]
            times += [[height, width, 0.0, 0.0, *tail]] * images
        return {
            "text_embeds": torch.cat(vectors).to(device, dtype),
            "time_ids": torch.tensor(times, device=device, dtype=dtype),
        }


@torch.inference_mode()
def _masked_picture(checkpoint: Checkpoint, size: tuple[int, int]) -> Tensor:
    """What an inpainting UNet is shown when there is no picture: a mask of everything, and grey, [1, 1 + c, h, w]."""
    vae = checkpoint.vae
    with checkpoint.at_work("vae"):
        grey = torch.zeros(1, 3, *size, device=checkpoint.placement.device, dtype=module_dtype(vae))
        latents = vae.encode(grey).latent_dist.mode()
    latents = latents.float() * float(module_config(vae)["scaling_factor"])
    return torch.cat([torch.ones_like(latents[:, :1]), latents], dim=1)
