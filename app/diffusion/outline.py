"""What a checkpoint is made of, from its headers and configurations alone: for telling beforehand what will fit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from app.diffusion.device import CPU
from app.diffusion.flow_files import load_flow_file
from app.diffusion.folders import checked_header
from app.diffusion.layouts import recognised
from app.diffusion.single_file import load_unet_file
from app.diffusion.stored import open_model
from app.errors import CheckpointError
from app.networks.files import DTYPES

SAID = "modelspec.prediction_type"


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
    if path.is_dir():
        stored = open_model(path)
        return Outline(stored.modules, stored.family)
    if path.suffix.lower() != ".safetensors":
        raise CheckpointError("This is a pickle: what it holds is known once it is loaded.", where=str(path))
    header = checked_header(path)
    tensors = {
        name: torch.empty(info.shape, dtype=DTYPES.get(info.dtype, torch.float32), device="meta")
        for name, info in header.tensors.items()
    }
    shapes = {name: info.shape for name, info in header.tensors.items()}
    family = recognised(shapes, str(path))
    if family in ("sd3", "flux"):
        loaded = load_flow_file(path, tensors, family, CPU, lambda: None)
    else:
        # What a file predicts is nothing to its modules, and would be found out by running it.
        loaded = load_unet_file(path, tensors, {SAID: "epsilon", **header.metadata}, CPU)
    return Outline(loaded.components, loaded.family)
