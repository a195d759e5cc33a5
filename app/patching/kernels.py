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


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """A sum to write: base + Σ strength · Δ into `live`, which keeps its storage.

    `base` has the shape and dtype of `live`, on its device or in host memory; the deltas are on the device of `live`.
    """

    live: Tensor
    base: Tensor
    terms: Sequence[Term]

    @property
    def rows(self) -> int:
        """The rows of the weight as a matrix."""
        return self.live.shape[0] if self.live.dim() else 1

    @property
    def columns(self) -> int:
        """The columns of the weight as a matrix: 1 for a vector."""
        return self.live.numel() // self.rows


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


def merge(job: Job, scratch: Scratch) -> None:
    """Do one job. The result depends on the job alone: the dense terms in their order, then the low-rank ones as one
    product, so equal jobs give equal bits. Without terms it is a copy.
    """
    live, base = job.live, job.base
    if live.numel() == 0:
        return
    ahead = live.device.type != "cpu"
    if not job.terms:
        live.copy_(base, non_blocking=ahead)
        return
    dense = [(_matrix(term.formed.delta), term.strength) for term in job.terms if isinstance(term.formed, Dense)]
    product = _stacked([(term.formed, term.strength) for term in job.terms if isinstance(term.formed, LowRank)])
    flat = live.is_contiguous()
    target, source = (_matrix(live), _matrix(base)) if flat else (live, base)
    for part in _slabs(job) if flat else (slice(0, job.rows),):
        here = target[part] if flat else target
        in_place = flat and live.dtype == torch.float32
        total = _matrix(here) if in_place else scratch.take(part.stop - part.start, job.columns, live.device)
        (total if flat else total.view(live.shape)).copy_(source[part] if flat else source, non_blocking=ahead)
        for delta, strength in dense:
            total.add_(delta[part], alpha=strength)
        if product:
            up, down, strength = product
            total.addmm_(up[part], down, alpha=strength)
        if not in_place:
            here.copy_(total if flat else total.view(live.shape))


def _slabs(job: Job) -> Iterator[slice]:
    """Runs of rows, of equal height, that together are all of them."""
    most = max(1, min(job.rows, (SLAB if job.live.device.type == "cpu" else DEVICE_SLAB) // job.columns))
    height = -(-job.rows // -(-job.rows // most))
    for top in range(0, job.rows, height):
        yield slice(top, min(top + height, job.rows))


def _stacked(factors: Sequence[tuple[LowRank, float]]) -> tuple[Tensor, Tensor, float] | None:
    """All low-rank terms as one product and one strength, folded into up where they differ."""
    if not factors:
        return None
    if len(factors) == 1:
        ((formed, strength),) = factors
        return formed.up, formed.down, strength
    ups = torch.cat([formed.up * strength for formed, strength in factors], dim=1)
    return ups, torch.cat([formed.down for formed, _ in factors]), 1.0


def _matrix(tensor: Tensor) -> Tensor:
    """(out, …) as (out, rest); a vector as a column."""
    return tensor.reshape(tensor.shape[0], -1) if tensor.dim() else tensor.reshape(1, 1)
