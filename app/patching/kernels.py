"""W = W₀ + Σ sₖ Δₖ, summed in float32 and rounded once into the dtype that is stored.

The sum runs over slabs of rows that stay in cache: W₀ is read once and W written once, whatever the number of patches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

SLAB = 1 << 19
"""Numbers in a slab: 2 MiB of float32, which a core's cache holds."""

DEVICE_SLAB = 1 << 22
"""The same on an accelerator, whose launches cost more and whose cache holds more."""


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """Δ = up · down, as a matrix of the parameter's rows: up (out, r) and down (r, in·kernel), float32."""

    up: Tensor
    down: Tensor


@dataclass(frozen=True, slots=True, eq=False)
class Dense:
    """Δ as it is, in the parameter's shape, float32."""

    delta: Tensor


Formed = LowRank | Dense


@dataclass(frozen=True, slots=True)
class Term:
    """One summand: a formed delta and its strength."""

    formed: Formed
    strength: float


class Scratch:
    """A float32 buffer that grows to the largest slab asked for, and is used again."""

    def __init__(self) -> None:
        self._buffers: dict[torch.device, Tensor] = {}

    def take(self, rows: int, columns: int, device: torch.device) -> Tensor:
        """An uninitialised (rows, columns) float32 matrix, good until the next call."""
        size = rows * columns
        buffer = self._buffers.get(device)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[device] = torch.empty(size, dtype=torch.float32, device=device)
        return buffer[:size].view(rows, columns)

    @property
    def nbytes(self) -> int:
        """What the buffers hold."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def clear(self) -> None:
        """Give the buffers back."""
        self._buffers.clear()


@contextmanager
def precise() -> Iterator[None]:
    """Products of float32 are of float32, whatever else the process computes in, and nothing is recorded."""
    precision = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        torch.set_float32_matmul_precision(precision)


def merge(live: Tensor, base: Tensor, terms: Sequence[Term], scratch: Scratch) -> None:
    """Write base + Σ strength · Δ into `live`, which keeps its storage.

    `base` has the shape and dtype of `live`, on its device or in host memory; the deltas are float32 on the device of
    `live`. The result depends on the arguments alone: the dense terms in their order, then the low-rank ones as one
    product, so equal arguments give equal bits. Without terms it is a copy.
    """
    if live.numel() == 0:
        return
    if not terms:
        live.copy_(base, non_blocking=True)
        return
    dense = [(_matrix(term.formed.delta), term.strength) for term in terms if isinstance(term.formed, Dense)]
    product = _stacked([(term.formed, term.strength) for term in terms if isinstance(term.formed, LowRank)])
    rows = live.shape[0] if live.dim() else 1
    columns = live.numel() // rows
    direct = live.is_contiguous()
    target, source = (_matrix(live), _matrix(base)) if direct else (live, base)
    height = rows if not direct else _height(rows, columns, SLAB if live.device.type == "cpu" else DEVICE_SLAB)
    in_place = direct and live.dtype == torch.float32
    for top in range(0, rows, height):
        part = slice(top, min(top + height, rows))
        here, there = (target[part], source[part]) if direct else (target, source)
        total = here if in_place else scratch.take(part.stop - part.start, columns, live.device)
        (total if direct else total.view(live.shape)).copy_(there, non_blocking=True)
        for delta, strength in dense:
            total.add_(delta[part], alpha=strength)
        if product:
            up, down, strength = product
            total.addmm_(up[part], down, alpha=strength)
        if not in_place:
            here.copy_(total if direct else total.view(live.shape))


def _stacked(factors: Sequence[tuple[LowRank, float]]) -> tuple[Tensor, Tensor, float] | None:
    """All low-rank terms as one product and one strength, folded into up where they differ."""
    if not factors:
        return None
    if len(factors) == 1:
        ((formed, strength),) = factors
        return formed.up, formed.down, strength
    ups = torch.cat([formed.up * strength for formed, strength in factors], dim=1)
    return ups, torch.cat([formed.down for formed, _ in factors]), 1.0


def _height(rows: int, columns: int, slab: int) -> int:
    """Rows of equal slabs of at most `slab` numbers."""
    slabs = -(-rows // max(1, min(rows, slab // columns)))
    return -(-rows // slabs)


def _matrix(tensor: Tensor) -> Tensor:
    """(out, …) as (out, rest); a vector as a column."""
    return tensor.reshape(tensor.shape[0], -1) if tensor.dim() else tensor.reshape(1, 1)
