"""Where pristine weights are kept: beside the live ones, in pinned host memory, or nowhere."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

MemoryMode = Literal["auto", "device", "pinned", "forward"]
"""`forward` keeps no copies: deltas are applied in the forward pass."""

Keeping = Literal["device", "pinned", "forward"]

RESERVE = 1 << 30
"""Bytes left to the activations of a generation."""

SHARE = 4
"""Formed deltas may take this part of what is free when the patcher is made."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes a patcher holds: pristine weights, formed deltas (at most `budget`), and the buffer it sums in."""

    pristine: int
    formed: int
    scratch: int
    budget: int

    @property
    def kept(self) -> int:
        """What stays between generations."""
        return self.pristine + self.formed


def free(device: torch.device) -> int:
    """Bytes that can still be allocated on a device, what its allocator holds in reserve included."""
    if device.type == "cuda":
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return torch.cuda.mem_get_info(device)[0] + cached
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.driver_allocated_memory()
    return int(psutil.virtual_memory().available)


def fits(need: int, device: torch.device) -> bool:
    """Whether a device has room for `need` bytes and for the generation after them."""
    return need + RESERVE <= free(device)


def choose(mode: MemoryMode, need: int, device: torch.device) -> Keeping:
    """How to keep `need` bytes of pristine weights whose live ones are on `device`; said in the log."""
    keeping = _fitting(need, device) if mode == "auto" else mode
    if keeping == "pinned" and device.type != "cuda":
        keeping = "device"
    place = {"device": f"on {device}", "pinned": "in pinned host memory", "forward": ""}[keeping]
    size = f"{need / 2**20:.0f} MiB of pristine weights"
    room = f"{free(device) / 2**20:.0f} MiB free on {device}"
    if keeping == "forward":
        logger.info("Applying networks in the forward pass instead of keeping %s (%s, %s).", size, mode, room)
    else:
        logger.info("Keeping %s %s (%s, %s).", size, place, mode, room)
    return keeping


def _fitting(need: int, device: torch.device) -> Keeping:
    if fits(need, device):
        return "device"
    return "pinned" if device.type == "cuda" and fits(need, torch.device("cpu")) else "forward"
