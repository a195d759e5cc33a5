"""Latents as pictures: in full by the VAE, or at a glance while they are made."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from app.diffusion.checkpoint import Checkpoint, module_config, module_dtype
from app.diffusion.device import memory_errors
from app.errors import CheckpointError

SMALL_VAE = 2_000_000
"""Parameters up to which a VAE decodes fast enough for previews."""
SWATCHES = 12
"""Flat colours along one side of the picture that a projection is fitted to."""


@dataclass(frozen=True, slots=True)
class Decoded:
    """The pictures, and whether the VAE overflowed in half precision and was run in float32 instead."""

    images: tuple[Image.Image, ...]
    upcast: bool = False


@torch.no_grad()
def decode(checkpoint: Checkpoint, latents: Tensor) -> Decoded:
    """The pictures of latents [images, channels, h, w], under the VAE's weights of this moment.

    Raises:
        CheckpointError: if the latents are not numbers, or the VAE gives none even in float32.
        OutOfMemory: if the device's memory is exhausted.
    """
    if not latents.isfinite().all():
        hint = "Try another dtype (bf16, fp32), or strengths and weights nearer to 1."
        raise CheckpointError("The model gave values that are not numbers.", where=checkpoint.name, hint=hint)
    vae = checkpoint.vae
    if checkpoint.placement.vae_tiling:
        vae.enable_tiling()
    else:
        vae.disable_tiling()
    upcast = False
    pictures = []
    with checkpoint.at_work("vae"), memory_errors(checkpoint.placement, "decoding the picture"):
        # One at a time: a VAE needs far more memory than a denoiser, and CPU kernels round by the batch.
        for latent in latents:
            pixels = _pixels(vae, latent[None])
            if not upcast and not pixels.isfinite().all():
                # A copy: the live weights keep their storage and dtype.
                vae, upcast = copy.deepcopy(vae).float(), True
                pixels = _pixels(vae, latent[None])
            if not pixels.isfinite().all():
                raise CheckpointError("The VAE gives values that are not numbers.", where=checkpoint.name)
            pictures.append(_picture(pixels[0]))
    return Decoded(tuple(pictures), upcast)


def _pixels(vae: Any, latents: Tensor) -> Tensor:
    """RGB in −1 to 1, [images, 3, height, width], float32."""
    config = module_config(vae)
    unscaled = latents.float() / float(config["scaling_factor"]) + float(config.get("shift_factor") or 0)
    device = next(vae.parameters()).device
    decoded: Tensor = vae.decode(unscaled.to(device, module_dtype(vae)), return_dict=False)[0]
    return decoded.float()


def _picture(pixels: Tensor) -> Image.Image:
    """A picture of RGB in −1 to 1, [3, height, width]."""
    levels = ((pixels / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).contiguous().cpu().numpy())


@dataclass(frozen=True, slots=True)
class Previewer:
    """Pictures of unfinished latents, in milliseconds: by the VAE where it is small, else by a linear map to RGB."""

    checkpoint: Checkpoint
    projection: Tensor | None
    """[channels + 1, 3]; the last row is the constant. None where the VAE itself is small."""

    @classmethod
    @torch.no_grad()
    def of(cls, checkpoint: Checkpoint) -> Previewer:
        """Fits the map by least squares to one picture of flat colours through the VAE's encoder."""
        vae = checkpoint.vae
        if sum(parameter.numel() for parameter in vae.parameters()) <= SMALL_VAE:
            return cls(checkpoint, None)
        generator = torch.Generator("cpu").manual_seed(0)
        colours = torch.rand(1, 3, SWATCHES, SWATCHES, generator=generator) * 2 - 1
        with checkpoint.at_work("vae"), memory_errors(checkpoint.placement, "preparing previews"):
            swatches = functional.interpolate(colours, scale_factor=2 * checkpoint.vae_factor, mode="nearest")
            latents = vae.encode(swatches.to(checkpoint.placement.device, module_dtype(vae))).latent_dist.mode()
        config = module_config(vae)
        scaled = (latents.float().cpu() - float(config.get("shift_factor") or 0)) * float(config["scaling_factor"])
        targets = functional.interpolate(colours, scale_factor=2, mode="nearest")
        rows = torch.cat([scaled, torch.ones_like(scaled[:, :1])], dim=1).flatten(2)[0].T
        projection = torch.linalg.lstsq(rows.nan_to_num(), targets.flatten(2)[0].T).solution
        return cls(checkpoint, projection)

    @torch.no_grad()
    def __call__(self, latents: Tensor) -> Image.Image:
        """A preview of one image's latents [channels, h, w], of a pixel or more for each latent."""
        if self.projection is None:
            return _picture(_pixels(self.checkpoint.vae, latents[None]).nan_to_num()[0])
        channels = latents.float().cpu().nan_to_num()
        pixels = torch.einsum("chw,cr->rhw", channels, self.projection[:-1]) + self.projection[-1][:, None, None]
        return _picture(pixels)
