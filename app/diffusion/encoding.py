"""Pictures as latents, and both made larger."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from app.diffusion.checkpoint import Checkpoint, module_config, module_dtype
from app.diffusion.device import memory_errors
from app.errors import CheckpointError

LATENT_MODES: Mapping[str, Mapping[str, Any]] = {
    "Latent": {"mode": "bilinear"},
    "Latent (antialiased)": {"mode": "bilinear", "antialias": True},
    "Latent (bicubic)": {"mode": "bicubic"},
    "Latent (bicubic antialiased)": {"mode": "bicubic", "antialias": True},
    "Latent (nearest)": {"mode": "nearest"},
    "Latent (nearest-exact)": {"mode": "nearest-exact"},
}
"""How the web UI's names for enlarging latents are spelt for `interpolate`."""
PICTURE_MODES = {"Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}


def enlarged_latents(latents: Tensor, size: tuple[int, int], upscaler: str) -> Tensor:
    """Latents [images, channels, h, w] brought to `size`, h and w, by one of LATENT_MODES."""
    return functional.interpolate(latents.float(), size=size, **LATENT_MODES[upscaler])


def enlarged_picture(picture: Image.Image, size: tuple[int, int], upscaler: str = "Lanczos") -> Image.Image:
    """A picture brought to `size`, width and height, by one of PICTURE_MODES."""
    return picture if picture.size == size else picture.resize(size, PICTURE_MODES[upscaler])


@torch.no_grad()
def encode_picture(checkpoint: Checkpoint, picture: Image.Image) -> Tensor:
    """The latents [1, channels, h, w], float32, of an RGB picture, under the VAE's weights of this moment.

    They are the mean of what the encoder holds possible, so that a picture always has the same.

    Raises:
        CheckpointError: the VAE gives values that are not numbers, even in float32.
        OutOfMemory: the device's memory is exhausted.
    """
    vae = checkpoint.vae
    if checkpoint.placement.vae_tiling:
        vae.enable_tiling()
    else:
        vae.disable_tiling()
    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)[None].float() / 127.5 - 1
    with checkpoint.at_work("vae"), memory_errors(checkpoint.placement, "encoding the picture"):
        latents = _latents(vae, pixels)
        if not latents.isfinite().all():
            # A copy: the live weights keep their storage and dtype.
            latents = _latents(copy.deepcopy(vae).float(), pixels)
    if not latents.isfinite().all():
        raise CheckpointError("The VAE gives values that are not numbers.", where=checkpoint.name)
    return latents


def _latents(vae: Any, pixels: Tensor) -> Tensor:
    """The scaled latents of RGB in −1 to 1, [images, 3, height, width]."""
    config = module_config(vae)
    device = next(vae.parameters()).device
    mean: Tensor = vae.encode(pixels.to(device, module_dtype(vae))).latent_dist.mode()
    return (mean.float() - float(config.get("shift_factor") or 0)) * float(config["scaling_factor"])
