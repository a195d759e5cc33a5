"""Writes sums into weights: in one launch where the device has the grouped kernel, else one weight after another."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from subprocess import SubprocessError
from types import ModuleType

import torch
from torch import Tensor

from app.patching.kernels import Dense, Job, LowRank, Scratch, Term, merge

logger = logging.getLogger(__name__)

BATCH = 1 << 28
"""Numbers written in one launch: it bounds what their deltas hold meanwhile, where they may not be kept."""

TOLERANCE = 1e-5
"""How far two float32 sums of the trial may differ."""


class Merger:
    """Remembers the scratch buffer, and which devices have proved able to run the grouped kernel."""

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._kernels: dict[torch.device, ModuleType | None] = {}

    @contextmanager
    def batch(self) -> Iterator[Callable[[Job | None], None]]:
        """Yield what takes jobs. All are done when the block is left, unless by an error; some are done at once."""
        waiting: list[Job] = []

        def take(job: Job | None) -> None:
            if job is None:
                return
            kernel = self._kernel(job.live.device)
            if kernel is None or not kernel.groupable(job):
                merge(job, self.scratch)
                return
            if waiting and waiting[0].live.device != job.live.device:
                self._flush(waiting)
            waiting.append(job)
            if sum(one.live.numel() for one in waiting) > BATCH:
                self._flush(waiting)

        yield take
        self._flush(waiting)

    def _flush(self, waiting: list[Job]) -> None:
        if waiting:
            kernel = self._kernel(waiting[0].live.device)
            assert kernel is not None
            kernel.merge_grouped(waiting)
            waiting.clear()

    def _kernel(self, device: torch.device) -> ModuleType | None:
        if device.type != "cuda":
            return None
        if device not in self._kernels:
            self._kernels[device] = _proved(device)
        return self._kernels[device]


def _proved(device: torch.device) -> ModuleType | None:
    """The grouped kernel, if it can be compiled for a device and computes there what `merge` computes."""
    try:
        kernel = import_module("app.patching.grouped")
    except ImportError:
        logger.info("Triton is not installed: weights are merged one by one on %s.", device)
        return None
    job, expected = _trial(device)
    try:
        kernel.merge_grouped([job])
        right = torch.allclose(job.live, expected, rtol=TOLERANCE, atol=TOLERANCE)
    except (RuntimeError, OSError, SubprocessError, kernel.TritonError) as error:
        logger.warning("The grouped kernel does not run on %s (%s): weights are merged one by one.", device, error)
        return None
    if not right:
        logger.warning("The grouped kernel is wrong on %s: weights are merged one by one.", device)
    return kernel if right else None


def _trial(device: torch.device) -> tuple[Job, Tensor]:
    """A job with terms of both kinds, whose sizes fill no tile, and its result."""
    generator = torch.Generator().manual_seed(0)

    def some(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator).to(device)

    low, dense = LowRank(some(72, 5), some(5, 40)), Dense(some(72, 40))
    job = Job(some(72, 40), some(72, 40), (Term(low, 0.5), Term(dense, -0.25)))
    expected = Job(job.live.clone(), job.base, job.terms)
    merge(expected, Scratch())
    return job, expected.live
