"""Textual inversion: learned vectors that stand in a prompt as a word."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.tokens import CHUNK
from app.errors import NetworkError

ENCODERS: Mapping[str, str] = {"clip_l": "text_encoder", "clip_g": "text_encoder_2"}
"""The names files give the two encoders of SDXL."""
SOLE = "text_encoder"
"""Where the vectors of a file that names no encoder go."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """Vectors by component of the checkpoint, each [n, width] with one n."""

    name: str
    vectors: Mapping[str, Tensor]

    @property
    def count(self) -> int:
        return len(next(iter(self.vectors.values())))


def read_embedding(path: Path) -> dict[str, Tensor]:
    """The vectors of a `.safetensors`, `.pt` or `.bin` file, by the encoder names of the file ("" where it has none).

    Raises:
        NetworkError: for a file that is not an embedding, or cannot be read without running code.
    """
    try:
        if path.suffix == ".safetensors":
            content: object = load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise NetworkError(f"This is not an embedding that can be read safely ({reason}).", where=str(path)) from error
    vectors = _tensors(content)
    if not vectors or not all(tensor.ndim == 2 and tensor.is_floating_point() for tensor in vectors.values()):
        raise NetworkError("This file holds no embedding vectors.", where=str(path))
    if not all(bool(tensor.isfinite().all()) for tensor in vectors.values()):
        raise NetworkError("The vectors of this embedding are not all finite.", where=str(path))
    return vectors


def _tensors(content: object) -> dict[str, Tensor]:
    """The vectors of the layouts in use: the web UI's, SDXL's pairs, and diffusers' one tensor by its token."""
    if isinstance(content, Mapping):
        content = content.get("string_to_param", content)
    if not isinstance(content, Mapping):
        return {}
    tensors = {str(key): value.detach() for key, value in content.items() if isinstance(value, Tensor)}
    if named := {key: _rows(tensors[key]) for key in ENCODERS if key in tensors}:
        return named
    return {"": _rows(next(iter(tensors.values())))} if len(tensors) == 1 else {}


def _rows(tensor: Tensor) -> Tensor:
    return tensor[None] if tensor.ndim == 1 else tensor


def fitted(name: str, vectors: Mapping[str, Tensor], checkpoint: Checkpoint) -> Embedding:
    """An embedding for this checkpoint's text encoders.

    Raises:
        NetworkError: if it lacks an encoder's vectors, or they are of another width: it was made for another model.
    """
    placed = {ENCODERS.get(key, SOLE): _rows(tensor) for key, tensor in vectors.items()}
    chosen: dict[str, Tensor] = {}
    for component, width in checkpoint.clip_widths.items():
        tensor = placed.get(component)
        if tensor is None or tensor.shape[-1] != width:
            found = ", ".join(f"{part.shape[-1]}" for part in placed.values()) or "none"
            message = (
                f"The embedding {name!r} has vectors of width {found}, where this model's {component} has {width}."
            )
            raise NetworkError(message, where=name, hint="It was made for another base model.")
        chosen[component] = tensor
    counts = {len(tensor) for tensor in chosen.values()}
    if len(counts) != 1 or not 0 < counts.pop() <= CHUNK:
        message = f"The embedding {name!r} does not have as many vectors for each encoder, from 1 to {CHUNK}."
        raise NetworkError(message, where=name)
    return Embedding(name, chosen)
