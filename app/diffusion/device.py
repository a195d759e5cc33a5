"""Where a model runs: device, dtype, attention, and how it shares memory that is short."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch

from app.errors import DeviceError

Attention = Literal["pytorch", "xformers"]
Offload = Literal["none", "model"]
"""`model`: a component is on the device only while it works, and in RAM otherwise."""

DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
EXHAUSTED = ("can't allocate memory", "MPS backend out of memory", "CUBLAS_STATUS_ALLOC_FAILED")
"""What the CPU's, Apple's and cuBLAS' allocators say in a plain RuntimeError."""
SMALL_MEMORY = 6 * 1024**3
"""Bytes of device memory below which components take turns from the start."""


class OutOfMemory(DeviceError):
    """The device's memory is exhausted; `Placement.thriftier` may still fit."""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where and how a checkpoint runs. ROCm devices are called "cuda", as PyTorch calls them."""

    device: torch.device
    dtype: torch.dtype
    attention: Attention = "pytorch"
    offload: Offload = "none"
    vae_tiling: bool = False

    @property
    def on_cpu(self) -> bool:
        return self.device.type == "cpu"

    def thriftier(self) -> Placement | None:
        """The placement to retry with once memory has run out, or None when this is already the thriftiest."""
        tried = replace(self, offload="none" if self.on_cpu else "model", vae_tiling=True)
        return None if tried == self else tried

    def __str__(self) -> str:
        dtype = next((name for name, dtype in DTYPES.items() if dtype == self.dtype), str(self.dtype))
        extras = [f"{self.attention} attention"]
        extras += ["components take turns on the device"] if self.offload == "model" else []
        extras += ["the VAE works in tiles"] if self.vae_tiling else []
        return f"{self.device}, {dtype}, {', '.join(extras)}"


CPU = Placement(torch.device("cpu"), torch.float32)


def choose_placement(
    device: str = "auto", dtype: str = "auto", attention: str = "auto", offload: str = "auto", vae_tiling: bool = False
) -> Placement:
    """The placement the hardware suggests, where the arguments leave it open.

    `device` is "auto", "cpu", "cuda", "cuda:1" or "mps"; `dtype` "auto" or a key of DTYPES; `attention` "auto",
    "pytorch" or "xformers"; `offload` "auto", "none" or "model".

    Raises:
        DeviceError: for a device, dtype or attention that this machine does not have.
    """
    chosen = _device(device)
    if offload not in ("auto", "none", "model"):
        raise DeviceError(f"{offload!r} is not one of auto, none, model.", where="offload")
    short = _memory(chosen) < SMALL_MEMORY
    turns = offload == "model" or (offload == "auto" and short)
    return Placement(
        device=chosen,
        dtype=_dtype(dtype, chosen),
        attention=_attention(attention, chosen),
        offload="model" if turns and chosen.type != "cpu" else "none",
        vae_tiling=vae_tiling,
    )


def _device(name: str) -> torch.device:
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"{name!r} is not a device.", where="device", hint="Use auto, cpu, cuda or mps.") from error
    count = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= count.get(device.type, 0):
        raise DeviceError(f"This machine's PyTorch has no device {name!r}.", where="device", hint="Use auto or cpu.")
    return device


def _dtype(name: str, device: torch.device) -> torch.dtype:
    if name != "auto":
        if name not in DTYPES:
            raise DeviceError(f"{name!r} is not one of auto, {', '.join(DTYPES)}.", where="dtype")
        return DTYPES[name]
    # Half precision is emulated on CPUs, and slower than float32 there.
    return torch.float32 if device.type == "cpu" else torch.float16


def _memory(device: torch.device) -> float:
    """Bytes of memory the device has of its own; infinite where it shares the machine's."""
    return torch.cuda.get_device_properties(device).total_memory if device.type == "cuda" else float("inf")


def _attention(name: str, device: torch.device) -> Attention:
    match name:
        case "pytorch":
            return "pytorch"
        case "auto":
            return "xformers" if _xformers_works(device) else "pytorch"
        case "xformers":
            if not _xformers_works(device):
                raise DeviceError(f"xformers is not installed, or cannot use {device}.", where="attention")
            return "xformers"
        case _:
            raise DeviceError(f"{name!r} is not one of auto, pytorch, xformers.", where="attention")


def _xformers_works(device: torch.device) -> bool:
    """Whether xformers is installed and its attention runs here: a build for another GPU imports and then fails."""
    if device.type != "cuda" or importlib.util.find_spec("xformers") is None:
        return False
    try:
        from xformers.ops import memory_efficient_attention

        query = torch.zeros(1, 8, 1, 40, device=device, dtype=torch.float16)
        memory_efficient_attention(query, query, query)
    except (ImportError, NotImplementedError, RuntimeError, OSError):
        return False
    return True


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator raised this."""
    return isinstance(error, torch.OutOfMemoryError) or any(words in str(error) for words in EXHAUSTED)


@contextmanager
def memory_errors(placement: Placement, doing: str) -> Iterator[None]:
    """Tells an allocator's failure inside the block as OutOfMemory, with what would help; `doing` is a gerund."""
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        hint = "Make the picture or the batch smaller"
        hint += ", or let components take turns (offload) and tile the VAE." if placement.thriftier() else "."
        raise OutOfMemory(f"{placement.device} ran out of memory while {doing}.", hint=hint) from error


def leave_a_core() -> None:
    """Keep one core from a model that computes on the CPU: it would take them all, and the page would stand still.

    For the calling thread alone; OMP_NUM_THREADS in the environment decides where it is set.
    """
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(max(1, torch.get_num_threads() - 1))


def release_memory() -> None:
    """Gives the memory of dropped tensors back to the device."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
