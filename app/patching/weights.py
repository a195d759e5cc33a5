"""A parameter under a patcher: written in place over a pristine copy, or left alone with a side branch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from app.errors import NetworkError
from app.patching.branch import BiasBranch, Branch
from app.patching.kernels import Job, Join, Term
from app.patching.memory import Keeping
from app.patching.slots import Slot


class Weight(Protocol):
    """W₀ is never lost: set to no terms, the module acts bit for bit as before it was touched."""

    @property
    def slot(self) -> Slot: ...

    @property
    def nbytes(self) -> int:
        """What is kept so that W₀ can come back."""

    def pristine(self) -> Tensor:
        """A float32 copy of W₀."""

    def set(self, terms: Sequence[Term], join: Join) -> Job | None:
        """Act as W₀ + Σ strength · Δ: done, or the job that does it, with `join` for its low-rank deltas."""


class MergedWeight:
    """The sum is written into the live storage; W₀ is beside it, on its device or in pinned host memory."""

    def __init__(self, slot: Slot, *, pinned: bool) -> None:
        self.slot = slot
        live = slot.live
        if pinned:
            self._base = torch.empty_like(live, device="cpu", pin_memory=True).copy_(live)
        else:
            self._base = live.clone()

    @property
    def nbytes(self) -> int:
        return self._base.nbytes

    def pristine(self) -> Tensor:
        return self._base.to(self.slot.live.device, torch.float32, copy=True)

    def set(self, terms: Sequence[Term], join: Join) -> Job:
        return Job(self.slot.live, self._base, terms, join)


class BranchedWeight:
    """The stored weight is W₀ and stays so; the deltas are applied in the forward pass."""

    def __init__(self, slot: Slot) -> None:
        self.slot = slot
        self._branch = BiasBranch(slot.module) if slot.missing else Branch(slot.module)

    @property
    def nbytes(self) -> int:
        return self._branch.nbytes

    def pristine(self) -> Tensor:
        return self.slot.read()

    def set(self, terms: Sequence[Term], join: Join) -> None:
        self._branch.set(terms)


def keep(slot: Slot, keeping: Keeping) -> Weight:
    """Take charge of a parameter, whose weight is pristine now.

    Raises:
        NetworkError: it is quantised, and in a layer that no network can run beside.
    """
    if not slot.mergeable and not slot.branchable:
        kind = type(slot.module).__name__
        raise NetworkError(f"no network can be applied to a quantised {kind}.", where=slot.name)
    if not slot.mergeable or (keeping == "forward" and slot.branchable):
        return BranchedWeight(slot)
    return MergedWeight(slot, pinned=keeping == "pinned")
