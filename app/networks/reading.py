"""From a module's tensors to its adapters: which algorithm they are, decided by what is there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.networks.adapters import Adapter, Beside
from app.networks.composed import DoRA, Sum
from app.networks.direct import Full, Sparse
from app.networks.parts import Parts, Settings, Unreadable
from app.networks.readers import READERS

Roles = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Module:
    """The adapters of one module: of its weight, of its bias, or both; `notes` is for the user."""

    weight: Adapter | None = None
    bias: Adapter | None = None
    notes: tuple[str, ...] = ()


def read_module(roles: Roles, settings: Settings) -> Module:
    """The adapters that the tensors make, by the first row of `READERS` whose roles are all there.

    Raises:
        Unreadable: the tensors are of no known algorithm, or their shapes contradict each other.
    """
    parts = Parts(dict(roles), settings)
    weights: list[Adapter] = []
    bias: Adapter | None = None
    for needed, reader in READERS:
        if needed <= parts.roles.keys():
            first, bias = reader(parts)
            weights += [] if first is None else [first]
            break
    weights += _beside(parts)
    bias = _bias(parts, bias)
    weight = None
    if weights:
        weight = _decomposed(parts, weights[0] if len(weights) == 1 else Sum(tuple(weights)))
    parts.take("alpha")
    if weight is not None and "reshape_weight" in parts.roles:
        _check_reshaped(parts.array("reshape_weight"), weight)
    if weight is None and bias is None:
        raise Unreadable(f"no algorithm has only {', '.join(sorted(roles))}")
    if parts.roles:
        parts.notes.append(f"has {', '.join(sorted(parts.roles))}, which is not understood and left out")
    return Module(weight, bias, tuple(parts.notes))


def _beside(parts: Parts) -> list[Adapter]:
    """What may stand beside another algorithm: a whole difference, and the sparse residual of an extraction."""
    found: list[Adapter] = []
    if "diff" in parts.roles:
        found.append(Full(parts.array("diff")))
    if "sparse_indices" in parts.roles:
        indices, values, size = (parts.need(f"sparse_{name}") for name in ("indices", "values", "size"))
        found.append(_sparse(indices, values, size))
    return found


def _bias(parts: Parts, learned: Adapter | None) -> Adapter | None:
    """What the algorithm does to the bias, and the bias's own difference."""
    if "diff_b" not in parts.roles or isinstance(learned, Beside):
        return learned
    difference = Full(parts.array("diff_b"))
    return difference if learned is None else Sum((learned, difference))


def _sparse(indices: Tensor, values: Tensor, size: Tensor) -> Sparse:
    if indices.ndim != 2 or indices.shape[0] != 2 or indices.shape[1] != values.numel() or size.numel() != 2:
        raise Unreadable("its sparse residual has indices, values and size that do not agree")
    rows, columns = (int(number) for number in size.flatten().tolist())
    inside = (indices >= 0).all() and (indices[0] < rows).all() and (indices[1] < columns).all()
    if not bool(inside):
        raise Unreadable("its sparse residual has entries outside of it")
    return Sparse(indices, values, (rows, columns))


def _decomposed(parts: Parts, base: Adapter) -> Adapter:
    """The adapter, wrapped if the module has a magnitude. A magnitude's key, then its shape, says its axis."""
    if "magnitude" in parts.roles:
        return DoRA(base, parts.array("magnitude"), 0)
    if "dora_scale" not in parts.roles:
        return base
    magnitude = parts.array("dora_scale")
    if magnitude.ndim < 2:
        return DoRA(base, magnitude, None)
    if magnitude.shape[0] not in (1, magnitude.numel()):
        raise Unreadable(f"its dora_scale of shape {tuple(magnitude.shape)} runs along no one axis")
    return DoRA(base, magnitude, 1 if magnitude.shape[0] == 1 and magnitude.shape[1] > 1 else 0)


def _check_reshaped(reshaped: Tensor, weight: Adapter) -> None:
    """ComfyUI writes the size of a layer that was made wider, which is then the adapter's own: whether it fits the
    live layer is seen like any other's, whose size never changes.

    Raises:
        Unreadable: the two sizes differ.
    """
    rows, *others = (int(side) for side in reshaped.flatten().tolist())
    told = (rows, math.prod(others))
    if any(own not in (None, side) for own, side in zip(weight.size, told, strict=True)):
        raise Unreadable(
            f"its reshape_weight says {told[0]} × {told[1]}, its tensors {weight.size[0]} × {weight.size[1]}"
        )


def is_float(tensor: Tensor) -> bool:
    """Whether the tensor can be part of an adapter's arithmetic."""
    return tensor.is_floating_point() or tensor.dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
