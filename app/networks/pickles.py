"""Pickles, opened by torch's restricted loader: plain tensors and containers come out, nothing is executed."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path

import torch
from torch import Tensor, nn

from app.errors import NetworkError

REFUSALS = (
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    ArithmeticError,
    MemoryError,
    struct.error,
)
"""What torch's restricted loader raises for files that are not what it reads."""


def load_pickle(path: Path) -> object:
    """What a pickle holds, on the CPU.

    Raises:
        NetworkError: naming the file: it is not a pickle, it is damaged, or it wants more than plain tensors.
    """
    try:
        # Early embeddings keep their vectors in a ParameterDict, which is a plain container of tensors.
        with torch.serialization.safe_globals([nn.ParameterDict, nn.Parameter]):
            loaded: object = torch.load(path, map_location="cpu", weights_only=True)
    except REFUSALS as error:
        reason = str(error).partition("\n")[0][:200] or type(error).__name__
        raise NetworkError(f"It is no pickle of plain tensors ({reason}).", where=str(path)) from error
    return loaded


def is_plain(value: object) -> bool:
    """Whether it is a tensor whose every number is stored: a stride of 0 would make a few bytes endless."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized:
        return False
    return value.device.type == "cpu" and value.numel() * value.itemsize <= value.untyped_storage().nbytes()
