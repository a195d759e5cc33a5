"""Adapters that rotate a weight: its rows (OFT, BOFT), or its columns (the OFT of peft and OneTrainer)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from app.networks import rotations
from app.networks.adapters import Adapter, Size, real


@dataclass(frozen=True, slots=True)
class OFT(Adapter):
    """diag(rescale) Rᵀ W, R block-diagonal: blocks (n, b, b), n·b = out.

    `constraint` bounds the norm of all blocks together at constraint · out; 0 does not. `rotation` says that the
    blocks are R itself (LyCORIS before 2.0), not what the Cayley transform makes R of.
    """

    algorithm: ClassVar[str] = "oft"
    blocks: Tensor
    constraint: float = 0.0
    rescale: Tensor | None = None
    rotation: bool = False

    @property
    def size(self) -> Size:
        return self.blocks.shape[-3] * self.blocks.shape[-1], None

    def delta(self, weight: Tensor) -> Tensor:
        blocks = real(self.blocks, weight)
        if not self.rotation:
            blocks = rotations.cayley(rotations.skew(blocks, self.constraint * weight.shape[0]))
        return self._rescaled(self._rotated(weight, blocks)) - weight

    def _rotated(self, weight: Tensor, blocks: Tensor) -> Tensor:
        return rotations.rotated_rows(weight, blocks)

    def _rescaled(self, rotated: Tensor) -> Tensor:
        if self.rescale is None:
            return rotated
        return rotated * real(self.rescale, rotated).reshape(-1, *[1] * (rotated.ndim - 1))


@dataclass(frozen=True, slots=True)
class BOFT(OFT):
    """diag(rescale) B_m … B₁ W, each stage a block rotation of permuted rows: blocks (m, n, b, b), n·b = out."""

    algorithm: ClassVar[str] = "boft"

    def _rotated(self, weight: Tensor, blocks: Tensor) -> Tensor:
        return rotations.butterfly(weight, blocks)


@dataclass(frozen=True, slots=True)
class InputOFT(Adapter):
    """W Rᵀ, R block-diagonal over the flattened columns: vectors (n, b(b−1)/2), n·b = in·kernel, or n = 1 shared.

    `terms` are those of the Neumann series; with 0 it is the Cayley transform itself as peft takes it, which is the
    transpose of what the series approximates. `scaled` divides the vectors by 2√(b−1) first (OneTrainer).
    """

    algorithm: ClassVar[str] = "oft"
    vectors: Tensor
    terms: int = 5
    scaled: bool = False

    @property
    def block(self) -> int:
        """b, from b(b−1)/2."""
        return (1 + math.isqrt(1 + 8 * self.vectors.shape[1])) // 2

    @property
    def size(self) -> Size:
        blocks = self.vectors.shape[0]
        return None, blocks * self.block if blocks > 1 else None

    def fits(self, shape: Sequence[int]) -> bool:
        return Adapter.fits(self, shape) and math.prod(shape[1:]) % self.block == 0

    def delta(self, weight: Tensor) -> Tensor:
        q = rotations.unpacked(real(self.vectors, weight), self.block)
        if self.scaled:
            q = q / (2 * math.sqrt(self.block - 1))
        r = rotations.cayley_neumann(q, self.terms) if self.terms else rotations.cayley(-q)
        return rotations.rotated_columns(weight, r) - weight

    def rows(self, start: int, stop: int) -> InputOFT:
        return self


@dataclass(frozen=True, slots=True)
class InputBOFT(Adapter):
    """diag(gains) (M Wᵀ)ᵀ, M the butterfly of peft: stages (m, n, b, b), n·b = in·kernel; gains out numbers."""

    algorithm: ClassVar[str] = "boft"
    stages: Tensor
    gains: Tensor | None = None

    @property
    def size(self) -> Size:
        rows = None if self.gains is None else self.gains.numel()
        return rows, self.stages.shape[1] * self.stages.shape[-1]

    def delta(self, weight: Tensor) -> Tensor:
        stages = rotations.cayley(-0.5 * rotations.skew(real(self.stages, weight), 0.0))
        rotated = rotations.butterfly_columns(weight.flatten(1), stages).reshape(weight.shape)
        if self.gains is not None:
            rotated = rotated * real(self.gains, weight).reshape(-1, *[1] * (weight.ndim - 1))
        return rotated - weight

    def rows(self, start: int, stop: int) -> InputBOFT:
        return self if self.gains is None else InputBOFT(self.stages, self.gains.flatten()[start:stop])
