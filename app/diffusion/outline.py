"""What a checkpoint is made of, without its weights: for telling beforehand what will fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from app.diffusion.building import building
from app.diffusion.stored_file import open_model
from app.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Outline:
    """The module trees of a checkpoint, on the meta device, and its family."""

    modules: Mapping[str, nn.Module]
    family: str


def outline(path: Path) -> Outline:
    """The outline of a diffusers folder or of a single safetensors file; no weight is read.

    Raises:
        CheckpointError: naming the file and what is wrong with it; pickles have no header to read.
    """
    if path.is_file() and path.suffix.lower() != ".safetensors":
        raise CheckpointError("This is a pickle: what it holds is known once it is loaded.", where=str(path))
    with building:
        stored = open_model(path)
    return Outline(stored.modules, stored.family)
