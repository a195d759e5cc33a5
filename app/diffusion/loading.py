"""Finding out what a path holds, and loading it."""

from __future__ import annotations

from pathlib import Path

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import Placement
from app.diffusion.folders import load_folder
from app.errors import CheckpointError


def load_checkpoint(path: Path, placement: Placement, vae: Path | None = None) -> Checkpoint:
    """A checkpoint from a diffusers folder or a single file, with another VAE in place of its own if one is named.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
        OutOfMemory: if the memory is exhausted.
    """
    if not path.exists():
        raise CheckpointError("There is no such file or folder.", where=str(path))
    return load_folder(path, placement)
