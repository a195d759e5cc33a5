"""The equations: each gives ΔW, the difference one adapter makes to a weight at strength 1.

Pure functions of float32 tensors on one device. Throughout, W is the pristine weight (out, in, *kernel), r a rank,
and `scale` is alpha/r. What multiplies a delta (the strength) is the caller's: every delta here is applied as
W + strength · ΔW. Rotations (OFT, BOFT) are in `rotations`.
"""

from __future__ import annotations

import torch
from torch import Tensor


def low_rank(up: Tensor, down: Tensor) -> Tensor:
    """B A   (LoRA, arXiv:2106.09685). up is B (out, r), down is A (r, in); the result is (out, in)."""
    return up @ down


def tucker_down(core: Tensor, down: Tensor) -> Tensor:
    """The core (r, r', *kernel) times down (r', in), so that a Tucker LoCon is `low_rank(up, this)`: (r, in·kernel).

    LyCORIS, arXiv:2309.14859, section 3.2 (Tucker decomposition of convolutions).
    """
    return torch.einsum("mn...,nj->mj...", core, down).flatten(1)


def tucker(core: Tensor, first: Tensor, second: Tensor) -> Tensor:
    """core ×₁ first ×₂ second: core (r, q, *kernel), first (r, out), second (q, in) give (out, in, *kernel)."""
    return torch.einsum("ij...,ip,jq->pq...", core, first, second)


def hadamard(first: Tensor, second: Tensor) -> Tensor:
    """(B₁ A₁) ⊙ (B₂ A₂)   (FedPara, arXiv:2108.06098; LoHa, arXiv:2309.14859), its two products given."""
    return first * second


def kronecker(left: Tensor, right: Tensor) -> Tensor:
    """left ⊗ right   (LoKr, arXiv:2309.14859). left (o₁, i₁), right (o₂, i₂, *kernel): (o₁·o₂, i₁·i₂, *kernel)."""
    left = left.reshape(*left.shape, *[1] * (right.ndim - left.ndim))
    return torch.kron(left, right.contiguous())


def decomposed(weight: Tensor, delta: Tensor, magnitude: Tensor, axis: int) -> Tensor:
    """m (W + ΔW) / ‖W + ΔW‖ − W   (DoRA, arXiv:2402.09353).

    magnitude is a vector along `axis` of W: 0 for one number per row (out), 1 for one per column (in). The norm runs
    over every other axis.
    """
    merged = weight + delta
    others = [other for other in range(merged.ndim) if other != axis]
    norm = torch.linalg.vector_norm(merged, dim=others, keepdim=True) + torch.finfo(merged.dtype).eps
    change: Tensor = magnitude.reshape(norm.shape) * merged / norm - weight
    return change


def generalized(weight: Tensor, a: tuple[Tensor, Tensor], b: tuple[Tensor, Tensor]) -> Tensor:
    """W A + B   (GLoRA, arXiv:2306.07967), A = a₁ a₂ and B = b₁ b₂.

    a₁ (in, r) and a₂ (r, in) act on the input axis of W; b₁ is (out, r), b₂ (r, in·kernel).
    """
    rotated = torch.einsum("oi...,ir,rj->oj...", weight, *a)
    return rotated + low_rank(*b).reshape(weight.shape)


def scaled(weight: Tensor, gain: Tensor) -> Tensor:
    """W ⊙ g   (IA³, arXiv:2205.05638), g being the learned vector less 1, shaped to broadcast over W."""
    return weight * gain


def sparse(indices: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """A residual kept as its few large entries: indices (2, n) rows and columns, values (n), dense (rows, columns)."""
    dense = values.new_zeros(size)
    return dense.index_put((indices[0], indices[1]), values, accumulate=True)


def triplets(weight: Tensor, rank: int, which: str) -> Tensor:
    """U_r S_r V_rᵀ, the part of W (out, in) that `rank` of its singular values make: the "principal", "middle" or
    "last" ones."""
    u, s, vh = torch.linalg.svd(weight, full_matrices=False)
    start = {"principal": 0, "middle": (s.shape[0] - rank) // 2, "last": s.shape[0] - rank}[which]
    kept = slice(max(start, 0), max(start, 0) + rank)
    part: Tensor = (u[:, kept] * s[kept]) @ vh[kept]
    return part
