"""The equations of the orthogonal adapters: rotations of a weight's rows (OFT, BOFT) or columns (peft's OFT).

Pure functions of float32 tensors on one device, as in `deltas`. B is what was learned; Q is skew-symmetric; R rotates.
"""

from __future__ import annotations

import torch
from torch import Tensor


def skew(blocks: Tensor, limit: float) -> Tensor:
    """Q = B − Bᵀ, shrunk so that its norm over all blocks is at most `limit` (0: no limit). (…, b, b)."""
    q = blocks - blocks.transpose(-1, -2)
    if limit > 0:
        norm = torch.linalg.vector_norm(q) + 1e-8
        q = torch.where(norm > limit, q * (limit / norm), q)
    return q


def unpacked(vectors: Tensor, size: int) -> Tensor:
    """The skew-symmetric blocks (n, b, b) whose strict upper triangles, row by row, are vectors (n, b(b−1)/2)."""
    rows, columns = torch.triu_indices(size, size, offset=1, device=vectors.device)
    q = vectors.new_zeros(vectors.shape[0], size, size)
    q[:, rows, columns] = vectors
    return q - q.transpose(-1, -2)


def cayley(q: Tensor) -> Tensor:
    """R = (I + Q)(I − Q)⁻¹   (OFT, arXiv:2306.07280, equation 5), per block (…, b, b)."""
    eye = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device)
    rotation: Tensor = torch.linalg.solve(eye - q, eye + q, left=False)
    return rotation


def cayley_neumann(q: Tensor, terms: int) -> Tensor:
    """R ≈ I + 2Q + 2Q² + … + Qⁿ   (OFT v2, arXiv:2506.19847): the Neumann series of the Cayley transform as peft
    truncates it, with n = terms − 1, but 3 for three terms. Per block (…, b, b)."""
    rotation = torch.eye(q.shape[-1], dtype=q.dtype, device=q.device) + torch.zeros_like(q)
    if terms > 1:
        rotation = rotation + 2 * q
    if terms > 2:
        power = q @ q
        rotation = rotation + 2 * power
        for _ in range(3, terms - 1):
            power = power @ q
            rotation = rotation + 2 * power
        rotation = rotation + power @ q
    return rotation


def rotated_rows(weight: Tensor, rotations: Tensor) -> Tensor:
    """Rᵀ W, block by block: W' row m of block k is Σₙ R[k, n, m] W[k, n]. rotations (blocks, b, b), blocks·b = out."""
    blocks, size, _ = rotations.shape
    grouped = weight.reshape(blocks, size, -1)
    return torch.einsum("knm,knc->kmc", rotations, grouped).reshape(weight.shape)


def rotated_columns(weight: Tensor, rotations: Tensor) -> Tensor:
    """W Rᵀ, block by block over the flattened (in·kernel) columns. rotations (blocks, b, b); one block is shared."""
    size = rotations.shape[-1]
    columns = weight[0].numel()
    rotations = rotations.expand(columns // size, size, size)
    grouped = weight.reshape(weight.shape[0], columns // size, size)
    return torch.einsum("okc,kdc->okd", grouped, rotations).reshape(weight.shape)


def butterfly(weight: Tensor, stages: Tensor) -> Tensor:
    """Rotate rows through the butterfly of BOFT (arXiv:2311.06243): stages (m, blocks, b, b), blocks·b = out.

    Stage i pairs rows 2ⁱ·b/2 apart before its blocks act, and puts them back afterwards.
    """
    size = stages.shape[-1]
    out = weight.shape[0]
    x = weight.reshape(out, -1)
    for index, rotation in enumerate(stages):
        stride = 2**index * (size // 2)
        x = x.reshape(-1, 2, stride, x.shape[-1]).transpose(1, 2).reshape(-1, size, x.shape[-1])
        x = torch.einsum("bij,bjc->bic", rotation, x)
        x = x.reshape(-1, stride, 2, x.shape[-1]).transpose(1, 2).reshape(out, x.shape[-1])
    return x.reshape(weight.shape)


def butterfly_columns(weight: Tensor, stages: Tensor) -> Tensor:
    """(M Wᵀ)ᵀ for W (out, in), M = B_m … B₁ as peft builds it: stages (m, blocks, b, b), blocks·b = in.

    Stage i takes the columns in runs of b·2ⁱ and of each puts its odd halves of b behind its even ones.
    """
    count, _, size, _ = stages.shape
    columns = weight.shape[1]
    x = weight.T
    for index, rotation in enumerate(stages):
        order = torch.arange(columns, device=weight.device)
        if count > 1:
            halves = order.reshape(-1, 2 ** (index + 1), size // 2)
            order = torch.cat([halves[:, 0::2], halves[:, 1::2]], dim=1).flatten()
        x = (rotation @ x[order.argsort()].reshape(-1, size, x.shape[1])).reshape(columns, -1)[order]
    return x.T
