"""Adapters made of adapters: a decomposed one, a sum, one per run of rows, and one of a narrower layer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from app.networks import deltas
from app.networks.adapters import Adapter, Size, real


@dataclass(frozen=True, slots=True)
class DoRA(Adapter):
    """Any adapter, with its magnitude learned apart from its direction.

    magnitude holds one number per row (`axis` 0) or per column (`axis` 1) of the weight, in whatever shape the file
    gave it; None is per row where the numbers fit, else per column.
    """

    algorithm: ClassVar[str] = "dora"
    base: Adapter
    magnitude: Tensor
    axis: int | None

    @property
    def size(self) -> Size:
        return self.base.size

    @property
    def rank(self) -> int | None:
        return self.base.rank

    def fits(self, shape: Sequence[int]) -> bool:
        return self.base.fits(shape) and len(shape) > 1 and shape[self._axis(shape)] == self.magnitude.numel()

    def _axis(self, shape: Sequence[int]) -> int:
        if self.axis is not None:
            return self.axis
        return 0 if self.magnitude.numel() == shape[0] else 1

    def delta(self, weight: Tensor) -> Tensor:
        magnitude = real(self.magnitude, weight).flatten()
        return deltas.decomposed(weight, self.base.delta(weight), magnitude, self._axis(weight.shape))

    def rows(self, start: int, stop: int) -> DoRA | None:
        """Columns' norms run through all rows, so only a magnitude per row can be split."""
        base = self.base.rows(start, stop)
        out = self.size[0]
        if base is None or (self.axis != 0 and not (self.axis is None and out == self.magnitude.numel())):
            return None
        return DoRA(base, self.magnitude.flatten()[start:stop], 0)

    def truncated(self, ranks: int) -> DoRA:
        return replace(self, base=self.base.truncated(ranks))


@dataclass(frozen=True, slots=True)
class Sum(Adapter):
    """Several changes of one parameter, added; the first names the algorithm."""

    algorithm: ClassVar[str] = "sum"
    parts: tuple[Adapter, ...]

    @property
    def size(self) -> Size:
        return self.parts[0].size

    @property
    def rank(self) -> int | None:
        return self.parts[0].rank

    def fits(self, shape: Sequence[int]) -> bool:
        return all(part.fits(shape) for part in self.parts)

    def delta(self, weight: Tensor) -> Tensor:
        return torch.stack([part.delta(weight) for part in self.parts]).sum(0)

    def rows(self, start: int, stop: int) -> Sum | None:
        parts = [part.rows(start, stop) for part in self.parts]
        split = tuple(part for part in parts if part is not None)
        return Sum(split) if len(split) == len(parts) else None

    def truncated(self, ranks: int) -> Sum:
        return Sum(tuple(part.truncated(ranks) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Stack(Adapter):
    """One adapter for each run of rows, from the top: the parts of a fused q, k, v projection."""

    algorithm: ClassVar[str] = "stack"
    parts: tuple[Adapter, ...]

    @property
    def heights(self) -> tuple[int, ...]:
        """The rows of each part."""
        return tuple(part.size[0] or 0 for part in self.parts)

    @property
    def size(self) -> Size:
        return sum(self.heights), self.parts[0].size[1]

    @property
    def rank(self) -> int | None:
        return self.parts[0].rank

    def fits(self, shape: Sequence[int]) -> bool:
        own = zip(self.parts, self.heights, strict=True)
        return shape[0] == self.size[0] and all(part.fits((height, *shape[1:])) for part, height in own)

    def delta(self, weight: Tensor) -> Tensor:
        pieces = torch.split(weight, list(self.heights))
        return torch.cat([part.delta(piece) for part, piece in zip(self.parts, pieces, strict=True)])

    def rows(self, start: int, stop: int) -> Adapter | None:
        top = 0
        for part, height in zip(self.parts, self.heights, strict=True):
            if (top, top + height) == (start, stop):
                return part
            top += height
        return None

    def truncated(self, ranks: int) -> Stack:
        return Stack(tuple(part.truncated(ranks) for part in self.parts))


@dataclass(frozen=True, slots=True)
class Widened(Adapter):
    """An adapter of a layer with `own` input channels, on one that was given more behind them, `width` in all.

    Inpainting and control models read more channels than the base they were made of; those stay as they are.
    """

    algorithm: ClassVar[str] = "widened"
    base: Adapter
    own: int
    width: int

    @property
    def size(self) -> Size:
        return self.base.size[0], None

    @property
    def rank(self) -> int | None:
        return self.base.rank

    def fits(self, shape: Sequence[int]) -> bool:
        return len(shape) > 1 and shape[1] == self.width and self.base.fits((shape[0], self.own, *shape[2:]))

    def delta(self, weight: Tensor) -> Tensor:
        delta = torch.zeros_like(weight)
        delta[:, : self.own] = self.base.delta(weight[:, : self.own].contiguous())
        return delta

    def factors(self) -> tuple[Tensor, Tensor] | None:
        found = self.base.factors()
        if found is None:
            return None
        up, down = found
        wide = down.new_zeros(down.shape[0], self.width, down.shape[1] // self.own)
        wide[:, : self.own] = down.reshape(down.shape[0], self.own, -1)
        return up, wide.flatten(1)

    def rows(self, start: int, stop: int) -> Widened | None:
        base = self.base.rows(start, stop)
        return None if base is None else replace(self, base=base)

    def truncated(self, ranks: int) -> Widened:
        return replace(self, base=self.base.truncated(ranks))
