"""The tensors of one module on their way to becoming an adapter."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from app.networks.adapters import real

LIMIT = 1e6
"""No trainer's scale is larger; beyond it float32 sums would overflow."""


class Unreadable(ValueError):
    """A module's tensors do not make an adapter; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file's configuration, rather than its tensors, says of one module."""

    alpha: float | None = None
    rank: int | None = None
    """peft's LoKr scales by alpha/rank even where no factor is decomposed and the tensors tell no rank."""
    rank_stabilised: bool = False
    """alpha/√rank (peft)."""
    glora_rank_stabilised: bool = False
    """The same of LyCORIS, which writes it into every alpha but GLoRA's."""
    feedforward: bool | None = None
    neumann_terms: int = 5
    """Of the series that approximates peft's Cayley transform; 0 takes the transform itself."""
    triplets: str = "principal"
    """Which singular triplets T-LoRA began with."""


@dataclass(slots=True)
class Parts:
    """A module's tensors, taken out as they are understood; what is left over was not."""

    roles: dict[str, Tensor]
    settings: Settings
    notes: list[str] = field(default_factory=list)

    def take(self, role: str) -> Tensor | None:
        return self.roles.pop(role, None)

    def need(self, role: str) -> Tensor:
        if role not in self.roles:
            raise Unreadable(f"{role!r} is missing")
        return self.roles.pop(role)

    def array(self, role: str) -> Tensor:
        """A tensor that must be there, with an axis and an element at least."""
        tensor = self.need(role)
        if tensor.ndim < 1 or tensor.numel() < 1:
            raise Unreadable(f"{role!r} is of shape {tuple(tensor.shape)}")
        return tensor

    def matrix(self, role: str) -> Tensor:
        """A tensor that must be there, with rows and columns, and maybe a kernel."""
        tensor = self.array(role)
        if tensor.ndim < 2:
            raise Unreadable(f"{role!r} of shape {tuple(tensor.shape)} is no matrix")
        return tensor

    def flat(self, role: str) -> Tensor:
        """A matrix (rows, columns), its 1×1 kernel dropped if the file gives it one."""
        tensor = self.matrix(role)
        if math.prod(tensor.shape[2:]) != 1:
            raise Unreadable(f"{role!r} of shape {tuple(tensor.shape)} has a kernel")
        return tensor.flatten(1)

    def core(self, role: str) -> Tensor | None:
        """A Tucker core (r, r, *kernel), if it is there."""
        return self.matrix(role) if role in self.roles else None

    def number(self, role: str) -> float | None:
        """A scalar, whatever its dtype and shape."""
        tensor = self.take(role)
        if tensor is None:
            return None
        if tensor.numel() != 1:
            raise Unreadable(f"{role!r} is not one number")
        return float(real(tensor).item())

    def scale(self, rank: int, *, stabilised: bool = False) -> float:
        """alpha/rank, or alpha/√rank, or what the file says in its place; 1 where it says nothing."""
        alpha, explicit = self.number("alpha"), self.number("scale")
        if explicit is not None:
            return _sane(explicit)
        if alpha is None:
            alpha = self.settings.alpha
        if alpha is None:
            return 1.0
        if alpha == 0:
            self.notes.append("has an alpha of 0, which trainers take for the rank")
            return 1.0
        return _sane(alpha / (math.sqrt(rank) if stabilised or self.settings.rank_stabilised else rank))


def _sane(scale: float) -> float:
    if not abs(scale) <= LIMIT:
        raise Unreadable(f"its alpha makes a scale of {scale:g}")
    return scale
