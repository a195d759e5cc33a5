"""Finding out what a path holds, and loading it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

from app.diffusion.building import building
from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import Placement, memory_errors
from app.diffusion.flow_files import T5_FOLDER, load_flow_file, t5_tokenizer
from app.diffusion.folders import load_folder
from app.diffusion.layouts import recognised
from app.diffusion.single_file import load_unet_file, read_tensors, shapes_of
from app.diffusion.vae import with_vae
from app.errors import CheckpointError


def load_checkpoint(path: Path, placement: Placement, vae: Path | None = None) -> Checkpoint:
    """A checkpoint from a diffusers folder or a single file, with another VAE in place of its own if one is named.

    The modules are in RAM; they move to the placement's device when they first work.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        OutOfMemory: if the memory is exhausted.
    """
    if not path.exists():
        raise CheckpointError("There is no such file or folder.", where=str(path))
    with building, memory_errors(placement, f"loading {path.name}"):
        checkpoint = load_folder(path, placement) if path.is_dir() else _load_file(path, placement)
        checkpoint = with_vae(checkpoint, vae) if vae is not None else checkpoint
    if placement.attention == "xformers" and "unet" in checkpoint.components:
        unet: Any = checkpoint.components["unet"]
        unet.enable_xformers_memory_efficient_attention()
    return checkpoint


def _load_file(path: Path, placement: Placement) -> Checkpoint:
    tensors, metadata = read_tensors(path)
    family = recognised(shapes_of(tensors), str(path))
    if family not in ("sd3", "flux"):
        return load_unet_file(path, tensors, metadata, placement)
    models = next((folder for folder in path.parents if folder.name == "models"), path.parent)
    return load_flow_file(path, tensors, family, placement, partial(t5_tokenizer, models / T5_FOLDER))
