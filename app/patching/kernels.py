"""W = W₀ + Σ sₖ Δₖ, summed in float32 and rounded once into the dtype that is stored.

W₀ is read once and W written once, whatever the number of patches: by one product that adds to W₀ where that does it
all, else slab by slab of rows that stay in cache.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

SLAB = 1 << 20
"""Numbers in a slab for each thread: 4 MiB of float32, which its share of the last cache holds."""

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


def side_by_side(factors: Sequence[LowRank]) -> LowRank:
    """Low-rank deltas as the factors of one: up (out, Σr) and down (Σr, in·kernel), whose product is their sum."""
    return LowRank(torch.cat([one.up for one in factors], dim=1), torch.cat([one.down for one in factors]))


Join = Callable[[Sequence[LowRank]], LowRank]
"""What puts low-rank deltas side by side: `side_by_side`, or what remembers its results."""


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
    join: Join = side_by_side

    @property
    def matrix(self) -> tuple[int, int]:
        """The rows and columns of the weight as a matrix; a vector is a column."""
        rows = self.live.shape[0] if self.live.dim() else 1
        return rows, self.live.numel() // rows


class Scratch:
    """A float32 buffer that grows to the largest slab asked for, and is used again."""

    def __init__(self) -> None:
        self._buffers: dict[torch.device, Tensor] = {}

    def take(self, size: int, device: torch.device) -> Tensor:
        """`size` uninitialised float32 numbers, good until the next call."""
        buffer = self._buffers.get(device)
        if buffer is None or buffer.numel() < size:
            buffer = self._buffers[device] = torch.empty(size, dtype=torch.float32, device=device)
        return buffer[:size]

    @property
    def nbytes(self) -> int:
        """What the buffers hold."""
        return sum(buffer.nbytes for buffer in self._buffers.values())

    def clear(self) -> None:
        """Give the buffers back."""
        self._buffers.clear()


Product = tuple[Tensor, Tensor, float]
"""up, down and a strength."""


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
    if not job.terms:
        live.copy_(base, non_blocking=live.device.type != "cpu")
        return
    dense = [(term.formed.delta, term.strength) for term in job.terms if isinstance(term.formed, Dense)]
    product = _product(job)
    rows, columns = job.matrix
    flat = live.is_contiguous()
    direct = flat and live.dtype == torch.float32
    alike = base.is_contiguous() and base.dtype == live.dtype and base.device == live.device
    if product and not dense and direct and alike:
        up, down, strength = product
        torch.addmm(_matrix(base), up, down, alpha=strength, out=_matrix(live))
        return
    most = _slab(live.device) // columns if flat else rows
    height = -(-rows // -(-rows // max(1, min(rows, most))))
    for top in range(0, rows, height):
        part = slice(top, top + height) if height < rows else ...
        here = live[part]
        total = here if direct else scratch.take(here.numel(), live.device).view(here.shape)
        total.copy_(base[part], non_blocking=total.device.type != "cpu")
        for delta, strength in dense:
            total.add_(delta[part], alpha=strength)
        if product:
            up, down, strength = product
            _matrix(total).addmm_(up[part], down, alpha=strength)
        if not direct:
            here.copy_(total)


def _slab(device: torch.device) -> int:
    """Numbers in a slab: enough for every thread to work between two meetings."""
    return SLAB * torch.get_num_threads() if device.type == "cpu" else DEVICE_SLAB


def _product(job: Job) -> Product | None:
    """All low-rank terms as one product and one strength; where there are several, a factor has theirs in it."""
    low = [(term.formed, term.strength) for term in job.terms if isinstance(term.formed, LowRank)]
    if not low:
        return None
    if len(low) == 1:
        ((formed, strength),) = low
        return formed.up, formed.down, strength
    joined = job.join([formed for formed, _ in low])
    strengths = np.array([strength for _, strength in low], np.float32)
    gains = torch.from_numpy(np.repeat(strengths, [formed.up.shape[1] for formed, _ in low]))  # quicker than a list's
    gains = gains.to(joined.up.device)
    if joined.up.shape[0] > joined.down.shape[1]:  # the smaller factor takes less time to scale
        return joined.up, joined.down * gains[:, None], 1.0
    return joined.up * gains, joined.down, 1.0


def _matrix(tensor: Tensor) -> Tensor:
    """(out, …) as (out, rest), in the same storage; a vector as a column."""
    return tensor if tensor.dim() == 2 else tensor.view(tensor.shape[0] if tensor.dim() else 1, -1)
