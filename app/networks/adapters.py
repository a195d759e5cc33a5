"""What one module of a network file holds: an adapter, which gives the delta of one parameter.

    Adapter
    ├── LoRA                                  a product of two small matrices (this file)
    ├── LoHa, LoKr, GLoRA, TLoRA              other products of small matrices (products)
    ├── PathGLoRA, PathBias                   peft's GLoRA (generalized)
    ├── Full, Absolute, Sparse, Gain          tensors of the parameter's own size, or vectors along it (direct)
    ├── OFT, BOFT, InputOFT, InputBOFT        rotations (orthogonal)
    └── DoRA, Sum, Stack                      adapters made of adapters (composed)

Tensors stay as the file stores them (fp16, fp8, …) and become float32, on the weight's device, where a delta is made.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from app.networks import deltas

Size = tuple[int | None, int | None]
"""The rows (out) and flattened columns (in · kernel) of a parameter; None where an adapter fits any number."""


class Adapter(ABC):
    """The change one module makes to one parameter of shape (out, in, *kernel), or (out,) for vectors."""

    __slots__ = ()

    algorithm: ClassVar[str]

    @property
    @abstractmethod
    def size(self) -> Size:
        """The parameter's size as these tensors tell it."""

    @property
    def rank(self) -> int | None:
        """How many ranks the tensors hold; None where there is no such thing."""
        return None

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether the adapter belongs to a parameter of this shape. Nothing is ever broadcast."""
        rows, columns = self.size
        return len(shape) > 1 and rows in (None, shape[0]) and columns in (None, math.prod(shape[1:]))

    @abstractmethod
    def delta(self, weight: Tensor) -> Tensor:
        """ΔW at strength 1 for the pristine float32 weight, on its device and of its shape."""

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """up (out, r) and down (r, in·kernel) in float32, scale included, with ΔW = up · down; None if ΔW has none."""
        return None

    def rows(self, start: int, stop: int) -> Adapter | None:
        """The adapter of rows [start, stop) alone; None where those rows depend on the others."""
        return None

    def truncated(self, ranks: int) -> Adapter:
        """The adapter with its first `ranks` ranks; itself where it has no more, or none."""
        return self


class Beside(Adapter):
    """A change of a bias that depends on the weight beside it.

    Its parameter is the matrix (out, 1 + in·kernel) of the bias, a column, and the weight; its delta is the bias's.
    """

    __slots__ = ()

    @staticmethod
    def parted(matrix: Tensor) -> tuple[Tensor, Tensor]:
        """The bias (out,) and the weight (out, in·kernel)."""
        return matrix[:, 0], matrix[:, 1:]


def real(tensor: Tensor, like: Tensor | None = None) -> Tensor:
    """The stored tensor in float32, on the device of `like`."""
    return tensor.to(device=tensor.device if like is None else like.device, dtype=torch.float32)


def kernel(tensor: Tensor) -> tuple[int, ...]:
    """The spatial axes of a weight or factor; none for a 1×1 convolution, which is a Linear in all but name."""
    axes = tuple(tensor.shape[2:])
    return axes if math.prod(axes) > 1 else ()


@dataclass(frozen=True, slots=True)
class LoRA(Adapter):
    """scale · B A: up is B (out, r, 1…), down is A (r, in, *kernel), core the Tucker core (r, r, *kernel)."""

    algorithm: ClassVar[str] = "lora"
    up: Tensor
    down: Tensor
    core: Tensor | None = None
    scale: float = 1.0

    @property
    def size(self) -> Size:
        taps = 1 if self.core is None else math.prod(self.core.shape[2:])
        return self.up.shape[0], math.prod(self.down.shape[1:]) * taps

    @property
    def rank(self) -> int:
        return int(self.down.shape[0])

    def fits(self, shape: Sequence[int]) -> bool:
        own = kernel(self.down if self.core is None else self.core)
        return Adapter.fits(self, shape) and (not own or own == tuple(shape[2:]))

    def delta(self, weight: Tensor) -> Tensor:
        up, down = self._factors(weight)
        return deltas.low_rank(up, down).reshape(weight.shape)

    def factors(self) -> tuple[Tensor, Tensor]:
        return self._factors(self.up)

    def _factors(self, like: Tensor) -> tuple[Tensor, Tensor]:
        up, down = real(self.up, like).flatten(1) * self.scale, real(self.down, like).flatten(1)
        return up, down if self.core is None else deltas.tucker_down(real(self.core, like), down)

    def rows(self, start: int, stop: int) -> LoRA:
        """Ranks that do not reach these rows (block-diagonal files) are left out; the scale stays.

        Without numbers (see `outline`) none is known not to.
        """
        up = self.up[start:stop]
        if self.core is not None or up.is_meta:
            return replace(self, up=up)
        used = (up.to(torch.float32).flatten(1) != 0).any(dim=0)
        if bool(used.all()) or not bool(used.any()):
            return replace(self, up=up)
        return replace(self, up=up[:, used], down=self.down[used])

    def truncated(self, ranks: int) -> LoRA:
        core = None if self.core is None else self.core[:ranks, :ranks]
        return replace(self, up=self.up[:, :ranks], down=self.down[:ranks], core=core)
