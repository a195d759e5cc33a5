"""The deltas a plan needs, formed from pristine weights and kept while they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from app.errors import NetworkError
from app.patching.kernels import Dense, Formed, LowRank
from app.patching.sources import Patch


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A patch with the ranks kept of it. Two are equal if they are the same patch, not merely alike."""

    patch: Patch
    ranks: int | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self.patch is other.patch and self.ranks == other.ranks

    def __hash__(self) -> int:
        return hash((id(self.patch), self.ranks))


def form(source: Source, name: str, live: Tensor, pristine: Callable[[str], Tensor]) -> Formed:
    """The delta of a patch for the parameter `name`, float32 on its device: factored where it is of low rank.

    Raises:
        NetworkError: the delta has not the shape of the parameter.
    """
    patch = source.patch if source.ranks is None else source.patch.truncated(source.ranks)
    shape = tuple(live.shape)
    factors = patch.factors()
    if factors is None:
        delta = patch.delta(pristine)
        if tuple(delta.shape) != shape:
            raise NetworkError(f"a delta of shape {tuple(delta.shape)} cannot be added to one of {shape}.", where=name)
        return Dense(_placed(delta, live))
    up, down = factors
    rows = shape[0] if shape else 1
    if up.shape[0] != rows or up.shape[1] != down.shape[0] or rows * down.shape[1] != live.numel():
        found = f"{tuple(up.shape)} times {tuple(down.shape)}"
        raise NetworkError(f"a delta of shape {found} cannot be added to one of {shape}.", where=name)
    return LowRank(_placed(up, live), _placed(down, live))


def _placed(tensor: Tensor, live: Tensor) -> Tensor:
    return tensor.detach().to(live.device, torch.float32).contiguous()


def size(formed: Formed) -> int:
    """The bytes a formed delta holds."""
    if isinstance(formed, LowRank):
        return formed.up.nbytes + formed.down.nbytes
    return formed.delta.nbytes


class Kept:
    """Formed deltas by parameter, up to a budget of bytes. What does not fit is formed again each time it is needed."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.nbytes = 0
        self._formed: dict[str, dict[Source, Formed]] = {}

    def take(self, name: str, source: Source, form: Callable[[], Formed], device: torch.device) -> Formed:
        """The kept delta, or a new one, kept if it fits."""
        found = self._formed.get(name, {}).get(source)
        if found is not None:
            if _device(found) == device:
                return found
            self._drop(name, source)
        formed = form()
        if self.nbytes + size(formed) <= self.budget:
            self._formed.setdefault(name, {})[source] = formed
            self.nbytes += size(formed)
        return formed

    def keep_only(self, wanted: Mapping[str, frozenset[Source]], covers: Callable[[str], bool]) -> None:
        """Drop what is not wanted of the parameters that `covers` names."""
        for name in [name for name in self._formed if covers(name)]:
            for source in [one for one in self._formed[name] if one not in wanted.get(name, ())]:
                self._drop(name, source)

    def _drop(self, name: str, source: Source) -> None:
        self.nbytes -= size(self._formed[name].pop(source))
        if not self._formed[name]:
            del self._formed[name]


def _device(formed: Formed) -> torch.device:
    return formed.up.device if isinstance(formed, LowRank) else formed.delta.device
