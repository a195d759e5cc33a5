"""GLoRA as peft writes it: five paths A to E, of which A to C may be products, vectors or numbers.

    W' = W + W ⊙ A + B        b' = b + b ⊙ D + E + W C        (GLoRA, arXiv:2306.07967, element by element)

LyCORIS' GLoRA multiplies matrices instead, and is in `products`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from app.networks import deltas
from app.networks.adapters import Adapter, Beside, Size, real


@dataclass(frozen=True, slots=True)
class Path:
    """One path: Xd (rows, r) times Xu (r, columns); or, without Xu, X: a number for each row, or one for all."""

    first: Tensor
    second: Tensor | None = None

    def matrix(self, like: Tensor) -> Tensor:
        """The path in float32, (rows, columns) or (rows or 1, 1)."""
        first = real(self.first, like)
        return first.reshape(-1, 1) if self.second is None else deltas.low_rank(first, real(self.second, like))

    @property
    def size(self) -> Size:
        if self.second is not None:
            return self.first.shape[0], self.second.shape[1]
        return (self.first.numel() if self.first.numel() > 1 else None), None

    @property
    def rank(self) -> int | None:
        return None if self.second is None else int(self.second.shape[0])

    def rows(self, start: int, stop: int) -> Path:
        """The path of rows [start, stop)."""
        return self if self.size[0] is None else replace(self, first=self.first[start:stop])

    def truncated(self, ranks: int) -> Path:
        return self if self.second is None else Path(self.first[:, :ranks], self.second[:ranks])


@dataclass(frozen=True, slots=True)
class PathGLoRA(Adapter):
    """W ⊙ A + B, element by element; None is a path of zeros."""

    algorithm: ClassVar[str] = "glora"
    gain: Path | None
    shift: Path | None

    @property
    def paths(self) -> tuple[Path, ...]:
        return tuple(path for path in (self.gain, self.shift) if path is not None)

    @property
    def size(self) -> Size:
        return _agreed([path.size[0] for path in self.paths]), _agreed([path.size[1] for path in self.paths])

    @property
    def rank(self) -> int | None:
        return next((path.rank for path in self.paths if path.rank is not None), None)

    def fits(self, shape: Sequence[int]) -> bool:
        sizes = zip(
            (shape[0], math.prod(shape[1:])), zip(*(path.size for path in self.paths), strict=True), strict=True
        )
        return len(shape) > 1 and all(own in (None, side) for side, axis in sizes for own in axis)

    def delta(self, weight: Tensor) -> Tensor:
        flat = weight.flatten(1)
        change = torch.zeros_like(flat)
        if self.gain is not None:
            change = change + deltas.scaled(flat, self.gain.matrix(weight))
        if self.shift is not None:
            change = change + self.shift.matrix(weight)
        return change.reshape(weight.shape)

    def rows(self, start: int, stop: int) -> PathGLoRA:
        return PathGLoRA(*(path and path.rows(start, stop) for path in (self.gain, self.shift)))

    def truncated(self, ranks: int) -> PathGLoRA:
        return PathGLoRA(*(path and path.truncated(ranks) for path in (self.gain, self.shift)))


@dataclass(frozen=True, slots=True)
class PathBias(Beside):
    """b ⊙ D + E + W C: gain D and shift E a number for each row or one for all, mix C (in, 1); None is zeros."""

    algorithm: ClassVar[str] = "glora"
    gain: Path | None
    shift: Path | None
    mix: Path | None

    @property
    def size(self) -> Size:
        return _agreed([path.size[0] for path in (self.gain, self.shift) if path is not None]), None

    def fits(self, shape: Sequence[int]) -> bool:
        paths = [path for path in (self.gain, self.shift) if path is not None]
        mixes = self.mix is None or self.mix.first.shape[0] == shape[1] - 1
        return mixes and all(path.size[0] in (None, shape[0]) for path in paths)

    def delta(self, weight: Tensor) -> Tensor:
        bias, beside = self.parted(weight)
        change = torch.zeros_like(bias)
        if self.gain is not None:
            change = change + bias * self.gain.matrix(bias).flatten()
        if self.shift is not None:
            change = change + self.shift.matrix(bias).flatten()
        if self.mix is not None:
            change = change + (beside @ self.mix.matrix(bias)).flatten()
        return change

    def rows(self, start: int, stop: int) -> PathBias:
        gain, shift = (path and path.rows(start, stop) for path in (self.gain, self.shift))
        return PathBias(gain, shift, self.mix)

    def truncated(self, ranks: int) -> PathBias:
        return replace(self, mix=self.mix and self.mix.truncated(ranks))


def _agreed(sizes: Sequence[int | None]) -> int | None:
    """The first size that one of the paths has."""
    return next((size for size in sizes if size is not None), None)
