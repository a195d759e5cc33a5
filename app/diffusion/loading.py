"""Finding out what a path holds, and loading it. Only what is on this disk is read."""

from __future__ import annotations

from pathlib import Path

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import Placement, memory_errors
from app.diffusion.folders import load_folder
from app.diffusion.single_file import load_single_file
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
    with memory_errors(placement, f"loading {path.name}"):
        checkpoint = load_folder(path, placement) if path.is_dir() else load_single_file(path, placement)
        return with_vae(checkpoint, vae) if vae is not None else checkpoint
