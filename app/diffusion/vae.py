"""VAEs that stand in for a checkpoint's own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import init_empty_weights
from diffusers import AutoencoderKL
from diffusers.loaders.single_file_utils import convert_ldm_vae_checkpoint
from torch import nn

from app.diffusion.building import building
from app.diffusion.checkpoint import Checkpoint, module_config, vae_factor
from app.diffusion.device import Placement
from app.diffusion.folders import load_component, reading
from app.diffusion.layouts import vae_config
from app.diffusion.single_file import filled, read_tensors, shapes_of
from app.errors import CheckpointError


def with_vae(checkpoint: Checkpoint, path: Path) -> Checkpoint:
    """The checkpoint with another VAE: an AutoencoderKL in one file (original or diffusers' names), or in a folder.

    Raises:
        CheckpointError: if the VAE cannot be read, or is for latents of another kind than the checkpoint's.
    """
    own = module_config(checkpoint.vae)
    with building:
        vae = load_vae(path, checkpoint.placement, float(own["scaling_factor"]), float(own.get("shift_factor") or 0))
    for what, has, needs in (
        ("latent channels", int(module_config(vae)["latent_channels"]), checkpoint.latent_channels),
        ("pixels along a latent", vae_factor(vae), checkpoint.vae_factor),
    ):
        if has != needs:
            message = f"This VAE has {has} {what}, where {checkpoint.name} needs {needs}."
            raise CheckpointError(message, where=str(path), hint="It was made for another base model.")
    return replace(checkpoint, components={**checkpoint.components, "vae": vae})


def load_vae(path: Path, placement: Placement, scaling: float, shift: float = 0.0) -> nn.Module:
    """An AutoencoderKL. A single file does not say how its latents are scaled; a folder does, and is believed.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    if path.is_dir():
        folder = path if (path / "config.json").exists() else path / "vae"
        return load_component(AutoencoderKL, folder, placement.dtype)
    tensors, _ = read_tensors(path)
    prefix = next((known for known in ("first_stage_model.", "vae.") if any(n.startswith(known) for n in tensors)), "")
    tensors = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    try:
        config = vae_config(shapes_of(tensors), "")
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"It is not a VAE that can be used: {error}.", where=str(path)) from error
    with reading(path):
        with init_empty_weights():
            scaled = {**config, "scaling_factor": scaling, "shift_factor": shift or None}
            model: Any = AutoencoderKL.from_config(scaled)
        if not any(name.startswith("encoder.down_blocks.") for name in tensors):
            tensors = convert_ldm_vae_checkpoint(tensors, model.config)
        return filled(model, tensors, placement.dtype, "vae")
