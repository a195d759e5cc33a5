"""Adapters that are products of small matrices without being of low rank: LoHa, LoKr, GLoRA, T-LoRA."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor

from app.networks import deltas
from app.networks.adapters import Adapter, Size, kernel, real


@dataclass(frozen=True, slots=True)
class LoHa(Adapter):
    """scale · (w1_a w1_b) ⊙ (w2_a w2_b): w*_a (out, r), w*_b (r, in·kernel).

    With Tucker cores t1, t2 (r, r, *kernel): w*_a (r, out), w*_b (r, in).
    """

    algorithm: ClassVar[str] = "loha"
    w1_a: Tensor
    w1_b: Tensor
    w2_a: Tensor
    w2_b: Tensor
    t1: Tensor | None = None
    t2: Tensor | None = None
    scale: float = 1.0

    @property
    def size(self) -> Size:
        if self.t1 is None:
            return self.w1_a.shape[0], math.prod(self.w1_b.shape[1:])
        return self.w1_a.shape[1], self.w1_b.shape[1] * math.prod(self.t1.shape[2:])

    @property
    def rank(self) -> int:
        return int(self.w1_b.shape[0])

    def fits(self, shape: Sequence[int]) -> bool:
        return Adapter.fits(self, shape) and (self.t1 is None or kernel(self.t1) in ((), tuple(shape[2:])))

    def delta(self, weight: Tensor) -> Tensor:
        first = self._product(self.w1_a, self.w1_b, self.t1, weight)
        second = self._product(self.w2_a, self.w2_b, self.t2, weight)
        return self.scale * deltas.hadamard(first, second).reshape(weight.shape)

    @staticmethod
    def _product(a: Tensor, b: Tensor, core: Tensor | None, like: Tensor) -> Tensor:
        a, b = real(a, like), real(b, like)
        return deltas.low_rank(a, b.flatten(1)) if core is None else deltas.tucker(real(core, like), a, b)

    def rows(self, start: int, stop: int) -> LoHa:
        if self.t1 is None:
            return replace(self, w1_a=self.w1_a[start:stop], w2_a=self.w2_a[start:stop])
        return replace(self, w1_a=self.w1_a[:, start:stop], w2_a=self.w2_a[:, start:stop])

    def truncated(self, ranks: int) -> LoHa:
        w1_b, w2_b = self.w1_b[:ranks], self.w2_b[:ranks]
        if self.t1 is None or self.t2 is None:
            return LoHa(self.w1_a[:, :ranks], w1_b, self.w2_a[:, :ranks], w2_b, None, None, self.scale)
        t1, t2 = self.t1[:ranks, :ranks], self.t2[:ranks, :ranks]
        return LoHa(self.w1_a[:ranks], w1_b, self.w2_a[:ranks], w2_b, t1, t2, self.scale)


@dataclass(frozen=True, slots=True)
class Factor:
    """One side of a LoKr: whole (o, i, *kernel), or a (o, r) and b (r, i·kernel), or a (r, o), b (r, i) and a core."""

    whole: Tensor | None = None
    a: Tensor | None = None
    b: Tensor | None = None
    core: Tensor | None = None

    def matrix(self, like: Tensor) -> Tensor:
        """The factor in float32: (o, i) or (o, i, *kernel)."""
        if self.whole is not None:
            return real(self.whole, like)
        assert self.a is not None and self.b is not None  # as the file was read
        if self.core is None:
            return deltas.low_rank(real(self.a, like), real(self.b, like).flatten(1))
        return deltas.tucker(real(self.core, like), real(self.a, like), real(self.b, like))

    @property
    def rank(self) -> int | None:
        return None if self.b is None else int(self.b.shape[0])

    @property
    def size(self) -> tuple[int, int]:
        if self.whole is not None:
            return self.whole.shape[0], math.prod(self.whole.shape[1:])
        assert self.a is not None and self.b is not None  # as the file was read
        if self.core is None:
            return self.a.shape[0], math.prod(self.b.shape[1:])
        return self.a.shape[1], self.b.shape[1] * math.prod(self.core.shape[2:])

    @property
    def kernel(self) -> tuple[int, ...]:
        """The spatial axes that the tensors have; none where they are flattened into the columns, or 1×1."""
        own = self.whole if self.whole is not None else self.core
        return () if own is None else kernel(own)

    def truncated(self, ranks: int) -> Factor:
        if self.a is None or self.b is None:
            return self
        if self.core is None:
            return replace(self, a=self.a[:, :ranks], b=self.b[:ranks])
        return replace(self, a=self.a[:ranks], b=self.b[:ranks], core=self.core[:ranks, :ranks])


@dataclass(frozen=True, slots=True)
class LoKr(Adapter):
    """scale · left ⊗ right: left (o₁, i₁), right (o₂, i₂, *kernel), o₁·o₂ = out and i₁·i₂ = in."""

    algorithm: ClassVar[str] = "lokr"
    left: Factor
    right: Factor
    scale: float = 1.0

    @property
    def size(self) -> Size:
        (o1, i1), (o2, i2) = self.left.size, self.right.size
        return o1 * o2, i1 * i2

    @property
    def rank(self) -> int | None:
        return self.right.rank or self.left.rank

    def fits(self, shape: Sequence[int]) -> bool:
        return Adapter.fits(self, shape) and self.right.kernel in ((), tuple(shape[2:]))

    def delta(self, weight: Tensor) -> Tensor:
        left, right = self.left.matrix(weight), self.right.matrix(weight)
        return self.scale * deltas.kronecker(left.flatten(1), right).reshape(weight.shape)

    def truncated(self, ranks: int) -> LoKr:
        return replace(self, left=self.left.truncated(ranks), right=self.right.truncated(ranks))


@dataclass(frozen=True, slots=True)
class GLoRA(Adapter):
    """scale · (W a1 a2 + b1 b2): a1 (in, r), a2 (r, in), b1 (out, r), b2 (r, in, *kernel), 1×1 axes aside."""

    algorithm: ClassVar[str] = "glora"
    a1: Tensor
    a2: Tensor
    b1: Tensor
    b2: Tensor
    scale: float = 1.0

    @property
    def size(self) -> Size:
        return self.b1.shape[0], math.prod(self.b2.shape[1:])

    @property
    def rank(self) -> int:
        return int(self.a2.shape[0])

    def fits(self, shape: Sequence[int]) -> bool:
        return Adapter.fits(self, shape) and self.a1.shape[0] == shape[1]

    def delta(self, weight: Tensor) -> Tensor:
        a1, a2, b1, b2 = (real(factor, weight).flatten(1) for factor in (self.a1, self.a2, self.b1, self.b2))
        return self.scale * deltas.generalized(weight, (a1, a2), (b1, b2))

    def rows(self, start: int, stop: int) -> GLoRA:
        return replace(self, b1=self.b1[start:stop])

    def truncated(self, ranks: int) -> GLoRA:
        return GLoRA(self.a1[:, :ranks], self.a2[:ranks], self.b1[:, :ranks], self.b2[:ranks], self.scale)


@dataclass(frozen=True, slots=True)
class TLoRA(Adapter):
    """scale · (P diag(λ) Q − U S Vᵀ), the latter r of W's own singular triplets (T-LoRA, arXiv:2507.05964).

    p (out, r), q (r, in), gains λ (1, r); `triplets` is "principal", "middle" or "last". The mask over timesteps is
    that of training; here all ranks act.
    """

    algorithm: ClassVar[str] = "tlora"
    p: Tensor
    q: Tensor
    gains: Tensor
    scale: float = 1.0
    triplets: str = "principal"

    @property
    def size(self) -> Size:
        return self.p.shape[0], math.prod(self.q.shape[1:])

    @property
    def rank(self) -> int:
        return int(self.q.shape[0])

    def delta(self, weight: Tensor) -> Tensor:
        up = real(self.p, weight).flatten(1) * real(self.gains, weight).flatten()
        learned = deltas.low_rank(up, real(self.q, weight).flatten(1))
        base = deltas.triplets(weight.flatten(1), self.rank, self.triplets)
        return self.scale * (learned - base).reshape(weight.shape)
