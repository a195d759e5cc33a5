"""Every sum of a re-merge in one launch: a Triton kernel that reads each W₀ once and writes each W once.

Each program owns one tile of one weight. It finds its weight in a table, loads the tile of W₀, adds strength · Δ for
each term in turn, in float32, and stores the tile rounded. A tile's result depends on nothing else in the launch, so a
weight gets the same bits whatever is written beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
import triton
import triton.language as tl
from triton.errors import TritonError

from app.patching.kernels import Formed, Job, LowRank

__all__ = ["TritonError", "groupable", "merge_grouped"]

ROWS, COLUMNS, RANKS = tl.constexpr(64), tl.constexpr(64), tl.constexpr(16)
"""The size of a tile, and the ranks multiplied at a time."""


@triton.jit  # type: ignore[untyped-decorator]
def _sum_tiles(  # type: ignore[no-untyped-def]  # noqa: ANN202
    tiles,  # noqa: ANN001  (tiles): the job of each tile
    jobs,  # noqa: ANN001  (jobs, 7): live, base, rows, columns, first tile, first term, end of terms
    terms,  # noqa: ANN001  (terms, 3): up or delta, down or 0, rank or 0
    strengths,  # noqa: ANN001  (terms): float32
    stored: tl.constexpr,
    aligned: tl.constexpr,
):
    tile = tl.program_id(0)
    job = jobs + tl.load(tiles + tile).to(tl.int64) * 7
    live = tl.load(job).to(tl.pointer_type(stored))
    base = tl.load(job + 1).to(tl.pointer_type(stored))
    rows = tl.load(job + 2)
    columns = tl.load(job + 3)
    if aligned:
        live = tl.multiple_of(live, 16)
        base = tl.multiple_of(base, 16)
        columns = tl.multiple_of(columns, 8)
    place = tile - tl.load(job + 4)
    across = tl.cdiv(columns, COLUMNS)
    row = (place // across) * ROWS + tl.arange(0, ROWS).to(tl.int64)
    column = (place % across) * COLUMNS + tl.arange(0, COLUMNS).to(tl.int64)
    inside = (row[:, None] < rows) & (column[None, :] < columns)
    offsets = row[:, None] * columns + column[None, :]
    total = tl.load(base + offsets, mask=inside, other=0.0).to(tl.float32)
    for term in range(tl.load(job + 5), tl.load(job + 6)):
        left = tl.load(terms + term * 3).to(tl.pointer_type(tl.float32))
        right = tl.load(terms + term * 3 + 1).to(tl.pointer_type(tl.float32))
        rank = tl.load(terms + term * 3 + 2)
        strength = tl.load(strengths + term)
        if aligned:
            right = tl.multiple_of(right, 16)
        if rank == 0:
            delta = tl.multiple_of(left, 16) if aligned else left
            total += strength * tl.load(delta + offsets, mask=inside, other=0.0)
        else:
            product = tl.zeros((ROWS, COLUMNS), dtype=tl.float32)
            for first in range(0, rank, RANKS):
                ranks = first + tl.arange(0, RANKS)
                up = tl.load(
                    left + row[:, None] * rank + ranks[None, :],
                    mask=(row[:, None] < rows) & (ranks[None, :] < rank),
                    other=0.0,
                )
                down = tl.load(
                    right + ranks[:, None] * columns + column[None, :],
                    mask=(ranks[:, None] < rank) & (column[None, :] < columns),
                    other=0.0,
                )
                product = tl.dot(up, down, product, input_precision="ieee")
            total += strength * product
    tl.store(live + offsets, total.to(stored), mask=inside)


STORED = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}


def groupable(job: Job) -> bool:
    """Whether the kernel can do a job: plain storage on one device, of a dtype it knows."""
    live, base = job.live, job.base
    plain = live.is_contiguous() and base.is_contiguous() and live.device == base.device
    return plain and live.dtype in STORED and live.numel() > 0


def merge_grouped(jobs: Sequence[Job]) -> None:
    """Do groupable jobs of one device, in one launch for each dtype and alignment among them."""
    groups: dict[tuple[torch.dtype, bool], list[Job]] = {}
    for job in jobs:
        groups.setdefault((job.live.dtype, _aligned(job)), []).append(job)
    for (dtype, aligned), group in groups.items():
        _launch(group, dtype, aligned)


def _aligned(job: Job) -> bool:
    """Whether every row of every operand begins where a vector of 16 bytes may be read."""
    terms = [(term.formed.down if isinstance(term.formed, LowRank) else term.formed.delta) for term in job.terms]
    return job.matrix[1] % 8 == 0 and all(one.data_ptr() % 16 == 0 for one in (job.live, job.base, *terms))


def _launch(jobs: Sequence[Job], dtype: torch.dtype, aligned: bool) -> None:
    table: list[int] = []
    terms: list[int] = []
    strengths: list[float] = []
    counts: list[int] = []
    tiles = 0
    for job in jobs:
        first = len(strengths)
        for term in job.terms:
            strengths.append(term.strength)
            terms += _operands(term.formed)
        rows, columns = job.matrix
        counts.append(-(-rows // ROWS.value) * -(-columns // COLUMNS.value))
        table += (job.live.data_ptr(), job.base.data_ptr(), rows, columns, tiles, first, len(strengths))
        tiles += counts[-1]
    owners = torch.repeat_interleave(torch.arange(len(jobs), dtype=torch.int32), torch.tensor(counts))
    device = jobs[0].live.device
    with torch.device(device):
        table_there, terms_there = torch.tensor(table), torch.tensor(terms or [0])
        strengths_there = torch.tensor(strengths or [0.0], dtype=torch.float32)
    with torch.cuda.device(device) if device.type == "cuda" else nullcontext():
        _sum_tiles[(tiles,)](
            *(owners.to(device), table_there, terms_there, strengths_there),
            STORED[dtype],
            aligned,
        )


def _operands(formed: Formed) -> tuple[int, int, int]:
    """A term as the kernel reads it: up, down and rank, or the delta and no rank."""
    if isinstance(formed, LowRank):
        return formed.up.data_ptr(), formed.down.data_ptr(), formed.up.shape[1]
    return formed.delta.data_ptr(), 0, 0
