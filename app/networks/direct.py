"""Adapters whose tensors are as large as the parameter, or run along one of its axes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from app.networks import deltas
from app.networks.adapters import Adapter, Size, kernel, real


def same_shape(own: Tensor, shape: Sequence[int]) -> bool:
    """Whether a stored tensor is a parameter of this shape, 1×1 kernels aside."""
    flat = tuple(own.shape[:2]) + kernel(own)
    taps = tuple(shape[2:])
    return flat == tuple(shape[:2]) + (taps if math.prod(taps) > 1 else ())


@dataclass(frozen=True, slots=True)
class Full(Adapter):
    """The difference itself, of the parameter's shape; also the way of every learned bias."""

    algorithm: ClassVar[str] = "full"
    difference: Tensor
    scale: float = 1.0

    @property
    def size(self) -> Size:
        return self.difference.shape[0], math.prod(self.difference.shape[1:])

    def fits(self, shape: Sequence[int]) -> bool:
        return same_shape(self.difference, shape)

    def delta(self, weight: Tensor) -> Tensor:
        return real(self.difference, weight).reshape(weight.shape) * self.scale

    def rows(self, start: int, stop: int) -> Full:
        return replace(self, difference=self.difference[start:stop])


@dataclass(frozen=True, slots=True)
class Norm(Full):
    """The difference of a normalisation layer's weight or bias (channels,)."""

    algorithm: ClassVar[str] = "norm"


@dataclass(frozen=True, slots=True)
class Absolute(Adapter):
    """The parameter's value at strength 1, of its shape."""

    algorithm: ClassVar[str] = "set"
    value: Tensor

    @property
    def size(self) -> Size:
        return self.value.shape[0], math.prod(self.value.shape[1:])

    def fits(self, shape: Sequence[int]) -> bool:
        return same_shape(self.value, shape)

    def delta(self, weight: Tensor) -> Tensor:
        return real(self.value, weight).reshape(weight.shape) - weight

    def rows(self, start: int, stop: int) -> Absolute:
        return replace(self, value=self.value[start:stop])


@dataclass(frozen=True, slots=True)
class Sparse(Adapter):
    """The few large entries of a difference: indices (2, n) rows and flattened columns, values (n)."""

    algorithm: ClassVar[str] = "sparse"
    indices: Tensor
    values: Tensor
    dense: tuple[int, int]

    @property
    def size(self) -> Size:
        return self.dense

    def delta(self, weight: Tensor) -> Tensor:
        indices = self.indices.to(device=weight.device).long()
        return deltas.sparse(indices, real(self.values, weight).flatten(), self.dense).reshape(weight.shape)

    def rows(self, start: int, stop: int) -> Sparse:
        kept = (self.indices[0] >= start) & (self.indices[0] < stop)
        indices = self.indices[:, kept].long()
        indices[0] -= start
        return replace(self, indices=indices, values=self.values.flatten()[kept], dense=(stop - start, self.dense[1]))


@dataclass(frozen=True, slots=True)
class Gain(Adapter):
    """W ⊙ g along one axis (0 rows, 1 columns): IA³. The stored vector is g, or 1 + g where `centre` is 1."""

    algorithm: ClassVar[str] = "ia3"
    vector: Tensor
    axis: int
    centre: float = 0.0

    @property
    def size(self) -> Size:
        return (self.vector.numel(), None) if self.axis == 0 else (None, None)

    def fits(self, shape: Sequence[int]) -> bool:
        return len(shape) > self.axis and shape[self.axis] == self.vector.numel()

    def delta(self, weight: Tensor) -> Tensor:
        shape = [-1 if axis == self.axis else 1 for axis in range(weight.ndim)]
        return deltas.scaled(weight, (real(self.vector, weight).flatten() - self.centre).reshape(shape))

    def rows(self, start: int, stop: int) -> Gain:
        return self if self.axis == 1 else replace(self, vector=self.vector.flatten()[start:stop])
