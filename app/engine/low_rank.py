"""The sum of deltas as one product of two small matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from app.patching.kernels import Dense, Formed

NOISE = 1e-14
"""Squares of singular values below this part of the greatest are rounding: no ranks are spent on them."""


@dataclass(frozen=True, slots=True)
class Factored:
    """up (out, r) · down (r, in·kernel) in place of `whole` (out, in·kernel).

    `tail` is the square of the least error that any matrices of this rank have; 0 where they are exact.
    """

    up: Tensor
    down: Tensor
    whole: Tensor
    tail: float = 0.0


def stacked(terms: Sequence[tuple[Formed, float]], shape: tuple[int, ...], rank: int) -> Factored | Tensor:
    """Σ strength · Δ: side by side, exactly, where all are factored and `rank` (0: any) is enough; else as it is."""
    products = [(formed, strength) for formed, strength in terms if not isinstance(formed, Dense)]
    total = torch.zeros(shape[0], prod(shape[1:]))
    for formed, strength in terms:
        delta = formed.delta.reshape(total.shape) if isinstance(formed, Dense) else formed.up @ formed.down
        total += strength * delta
    ranks = sum(formed.down.shape[0] for formed, _ in products)
    if len(products) < len(terms) or (rank and ranks > rank):
        return total.reshape(shape)
    up = torch.cat([strength * formed.up for formed, strength in products], dim=1)
    return Factored(up, torch.cat([formed.down for formed, _ in products]), total)


def nearest(delta: Tensor, rank: int) -> Factored:
    """The matrices of `rank` whose product is nearest to delta (out, in, *kernel) in the Frobenius norm.

    The truncated singular value decomposition, its error the root of the squares of the values left out (Eckart and
    Young 1936). The values are those of ΔΔᵀ or ΔᵀΔ, whichever is smaller, in float64; each side gets the root of its
    value, so that neither overflows in float16.
    """
    whole = delta.flatten(1)
    matrix = whole.double()
    wide = matrix.shape[0] <= matrix.shape[1]
    squares, vectors = torch.linalg.eigh(matrix @ matrix.T if wide else matrix.T @ matrix)
    squares, vectors = squares.flip(0).clamp(min=0), vectors.flip(1)
    kept = max(1, min(rank, int((squares > NOISE * squares[0]).sum())))
    basis = vectors[:, :kept]
    roots = squares[:kept].sqrt().sqrt() if float(squares[0]) else torch.ones(kept, dtype=torch.float64)
    up, down = (basis, basis.T @ matrix) if wide else (matrix @ basis, basis.T)
    up, down = (up * roots, down / roots[:, None]) if wide else (up / roots, down * roots[:, None])
    return Factored(up.float(), down.float(), whole, float(squares[kept:].sum()))
