"""Textual inversion: learned vectors that stand in a prompt as a word."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

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
