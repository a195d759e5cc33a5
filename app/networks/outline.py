"""A network without its numbers: enough to find its places in a model, and quick however large its file is."""

from __future__ import annotations

from math import prod
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO

import torch
from torch import Tensor

from app.errors import NetworkError
from app.networks.files import DTYPES, Network, network_of
from app.networks.header import Header, TensorInfo, read_header

SMALL = 64
"""Numbers that a tensor may have and is still read: alphas, marks and sizes are needed as they are."""
INDICES = "bias_indices"
"""How the name of the one large tensor ends whose numbers say whether its module can be read."""


def network_outline(path: Path, file: Path) -> Network:
    """The network at `path`, whose tensors are in the safetensors `file`; its large tensors are on the meta device.

    Raises:
        NetworkError: in one line, the file and what is wrong with it. Numbers that are none go unnoticed.
    """
    header = read_header(file)
    try:
        with file.open("rb") as opened:
            tensors = {name: _tensor(name, info, header, opened) for name, info in header.tensors.items()}
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(file)) from error
    return network_of(path, MappingProxyType(tensors), header.metadata)


def _tensor(name: str, info: TensorInfo, header: Header, file: BinaryIO) -> Tensor:
    dtype = DTYPES.get(info.dtype)
    if dtype is None:
        raise NetworkError(f"Tensor {name!r} is stored as {info.dtype}, which no network is.", where=str(file.name))
    if prod(info.shape) > SMALL and not name.endswith(INDICES):
        return torch.empty(info.shape, dtype=dtype, device="meta")
    file.seek(header.data_start + info.begin)
    data = file.read(info.end - info.begin)
    if len(data) != info.end - info.begin:
        raise NetworkError("The file shrank while it was read.", where=str(file.name))
    return (
        torch.frombuffer(bytearray(data), dtype=dtype).reshape(info.shape)
        if data
        else torch.empty(info.shape, dtype=dtype)
    )
