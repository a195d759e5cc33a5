"""The grouped kernel computes what the plain road computes. Triton's interpreter runs it where there is no GPU."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = """
import torch
from app.patching.grouped import groupable, merge_grouped
from app.patching.kernels import Dense, Job, LowRank, Scratch, Term, merge

torch.manual_seed(0)
for dtype, ulps in ((torch.float32, 32), (torch.float16, 1), (torch.bfloat16, 1)):
    jobs = []
    for shape, rank in (((70, 136), 20), ((64, 64), 16), ((5, 4, 3, 3), 3), ((40,), 1), ((9, 9), 0)):
        base = torch.randn(shape).to(dtype)
        columns = base.numel() // shape[0]
        terms = [
            Term(Dense(torch.randn(shape)), 0.3),
            Term(LowRank(torch.randn(shape[0], rank), torch.randn(rank, columns)), 0.7),
            Term(LowRank(torch.randn(shape[0], 2), torch.randn(2, columns)), -0.7),
        ]
        jobs.append(Job(torch.empty_like(base), base, terms if rank else []))
    expected = [job.base.clone() for job in jobs]
    for job, live in zip(jobs, expected):
        merge(Job(live, job.base, job.terms), Scratch())
    assert all(map(groupable, jobs))
    merge_grouped(jobs)
    for job, live in zip(jobs, expected):
        near = ulps * torch.finfo(dtype).eps
        torch.testing.assert_close(job.live, live, rtol=near, atol=near)
    assert torch.equal(jobs[-1].live, jobs[-1].base)
    whole = [job.live.clone() for job in jobs]
    for job in jobs:
        merge_grouped([job])
    assert all(torch.equal(job.live, live) for job, live in zip(jobs, whole))
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton comes with torch for GPUs")
def test_the_grouped_kernel_gives_each_weight_the_bits_of_its_own_sum() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1"}
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
