"""The denoiser at one level of noise: what the model predicts, guided by the prompts, as denoised latents."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint, module_config, module_dtype
from app.diffusion.conditioning import Conditioning, Encoding
from app.diffusion.noise import NoiseLevels
from app.diffusion.samplers import Sampler

AESTHETIC_SCORES = (6.0, 2.5)
"""What SDXL's refiner is told of the prompt's picture and the negative prompt's."""


Side = Callable[[bool], None]
"""Sets the weights to what the negative prompt is evaluated with, or back to what the prompt is."""


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


def predictions(
    rows: Sequence[Row], evaluate: Callable[[Sequence[Row]], Tensor], side: Side | None = None
) -> list[Tensor]:
    """What the model predicts for each row. Rows of one length of text share an evaluation, of one side if it has two.

    `evaluate` gives the predictions of its rows behind one another, [rows · images, …].
    """
    found: dict[int, Tensor] = {}
    kinds = [(row.negative and side is not None, row.encoding.hidden.shape[0]) for row in rows]
    for kind in sorted(set(kinds)):
        if side:
            side(kind[0])
        group = [index for index, other in enumerate(kinds) if other == kind]
        output = evaluate([rows[index] for index in group]).float()
        found.update(zip(group, output.chunk(len(group)), strict=True))
    return [found[index] for index in range(len(rows))]


def stacked_texts(rows: Sequence[Row], images: int, like: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """The rows' texts [rows · images, tokens, width] and pooled vectors (if all have one), on the device of `like`."""
    hidden = torch.cat([row.encoding.hidden.expand(images, -1, -1) for row in rows])
    vectors = [row.encoding.pooled.expand(images, -1) for row in rows if row.encoding.pooled is not None]
    pooled = torch.cat(vectors).to(like.device, dtype) if len(vectors) == len(rows) else None
    return hidden.to(like.device, dtype), pooled


class Denoiser(Protocol):
    """A model at work on latents of one size. `condition` sets what steers it from the next evaluation on."""

    def scheduler(self, sampler: Sampler, schedule_type: str, steps: int) -> Any:
        """diffusers' scheduler for one run of `steps` steps.

        Raises:
            RequestError: for a schedule type that does not exist, or that this kind of model does not use.
        """

    def level(self, timestep: float) -> float:
        """The level σ of a scheduler's timestep."""

    def condition(self, conditioning: Conditioning, side: Side | None = None) -> None:
        """With `side`, the negative prompt is evaluated apart from the prompt, each after a call."""

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        """The denoised latents, float32 like x [images, channels, h, w]."""


class UNetDenoiser:
    """The denoiser of SD 1.x, SD 2.x and SDXL."""

    def __init__(self, checkpoint: Checkpoint, cfg_scale: float, size: tuple[int, int]) -> None:
        """`size` is the picture's height and width in pixels."""
        self._unet = checkpoint.components["unet"]
        self._checkpoint = checkpoint
        self._cfg_scale = cfg_scale
        self._size = size
        self._rows: tuple[Row, ...] = ()
        self._conditioning: Conditioning | None = None
        self._side: Side | None = None
        self._masked = _masked_picture(checkpoint, size) if checkpoint.inpainting else None
        self.levels = NoiseLevels.of(checkpoint.scheduler_config)

    def scheduler(self, sampler: Sampler, schedule_type: str, steps: int) -> Any:
        return sampler.prepared(self._checkpoint.scheduler_config, schedule_type, steps)

    def level(self, timestep: float) -> float:
        return self.levels.sigma(timestep)

    def condition(self, conditioning: Conditioning, side: Side | None = None) -> None:
        self._side = side
        if conditioning is not self._conditioning:
            self._conditioning = conditioning
            self._rows = guided_rows(conditioning, self._cfg_scale)

    def __call__(self, x: Tensor, sigma: float) -> Tensor:
        scale = math.sqrt(sigma**2 + 1)
        evaluate = partial(self._evaluate, x / scale, self.levels.timestep(sigma))
        predicted = guided(predictions(self._rows, evaluate, self._side), self._rows)
        if self._checkpoint.prediction == "v_prediction":
            return x / scale**2 - predicted * (sigma / scale)
        return x - sigma * predicted

    def _evaluate(self, x: Tensor, timestep: float, rows: Sequence[Row]) -> Tensor:
        dtype = module_dtype(self._unet)
        hidden, pooled = stacked_texts(rows, x.shape[0], x, dtype)
        added = {"text_embeds": pooled, "time_ids": self._sizes(rows, x).to(dtype)} if pooled is not None else None
        if self._masked is not None:
            x = torch.cat([x, self._masked.expand(x.shape[0], -1, -1, -1)], dim=1)
        output: Tensor = self._unet(
            x.repeat(len(rows), 1, 1, 1).to(dtype),
            torch.tensor(timestep, device=x.device, dtype=torch.float32),
            encoder_hidden_states=hidden,
            added_cond_kwargs=added,
            return_dict=False,
        )[0]
        return output

    def _sizes(self, rows: Sequence[Row], x: Tensor) -> Tensor:
        """What SDXL is told of each picture: its size, its crop, and the size wanted (the refiner: how fair it is)."""
        height, width = map(float, self._size)
        told: list[list[float]] = []
        for row in rows:
            tail = [AESTHETIC_SCORES[row.negative]] if self._checkpoint.family == "sdxl-refiner" else [height, width]
            told += [[height, width, 0.0, 0.0, *tail]] * x.shape[0]
        return torch.tensor(told, device=x.device)


@torch.no_grad()
def _masked_picture(checkpoint: Checkpoint, size: tuple[int, int]) -> Tensor:
    """What an inpainting UNet is shown of a picture without a mask: a mask of all of it, and grey, [1, 1 + c, h, w].

    So does the web UI. A picture to begin with is in the latents.
    """
    vae = checkpoint.vae
    with checkpoint.at_work("vae"):
        grey = torch.zeros(1, 3, *size, device=checkpoint.placement.device, dtype=module_dtype(vae))
        latents = vae.encode(grey).latent_dist.mode()
    latents = latents.float() * float(module_config(vae)["scaling_factor"])
    return torch.cat([torch.ones_like(latents[:, :1]), latents], dim=1)
