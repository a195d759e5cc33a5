"""The deltas a plan needs, formed from pristine weights and kept while they fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor

from app.errors import NetworkError
from app.networks.resolve import PlacedPatch
from app.patching.kernels import Dense, Formed, LowRank, side_by_side
from app.patching.slots import Slot

META = torch.device("meta")


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """A patch with the ranks kept of it. Two are equal if they are the same patch, not merely alike."""

    patch: PlacedPatch
    ranks: int | None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Source) and self.patch is other.patch and self.ranks == other.ranks

    def __hash__(self) -> int:
        return hash((id(self.patch), self.ranks))


def form(source: Source, slot: Slot, pristine: Callable[[str], Tensor]) -> Formed:
    """The delta of a patch for a parameter, float32 on its device: factored where it is of low rank.

    Raises:
        NetworkError: the delta has not the shape of the parameter.
    """
    patch = source.patch if source.ranks is None else source.patch.truncated(source.ranks)
    shape, device = slot.shape, slot.live.device
    factors = patch.factors()
    if factors is None:
        delta = patch.delta(pristine)
        if tuple(delta.shape) != shape:
            raise NetworkError(f"a delta of {tuple(delta.shape)} cannot be added to one of {shape}.", where=slot.name)
        return Dense(_placed(delta, device))
    up, down = factors
    rows = shape[0] if shape else 1
    if up.shape[0] != rows or up.shape[1] != down.shape[0] or rows * down.shape[1] != prod(shape):
        found = f"{tuple(up.shape)} times {tuple(down.shape)}"
        raise NetworkError(f"a delta of shape {found} cannot be added to one of {shape}.", where=slot.name)
    return LowRank(_placed(up, device), _placed(down, device))


def _placed(tensor: Tensor, device: torch.device) -> Tensor:
    """On the device the weight is summed on; where that is none (a weight that is loaded for each call), as it is."""
    place = tensor.device if device == META else device
    return tensor.detach().to(place, torch.float32).contiguous()


def size(formed: Formed) -> int:
    """The bytes a formed delta holds."""
    if isinstance(formed, LowRank):
        return formed.up.nbytes + formed.down.nbytes
    return formed.delta.nbytes


class Kept:
    """Formed deltas by parameter, and its low-rank ones side by side, up to a budget of bytes.

    What does not fit is formed again each time it is needed.
    """

    def __init__(self, budget: int | None) -> None:
        self.budget = budget
        self.nbytes = 0
        self._formed: dict[str, dict[Source, Formed]] = {}
        self._joined: dict[str, tuple[Sequence[LowRank], LowRank]] = {}

    def take(self, source: Source, name: str, device: torch.device, make: Callable[[], Formed]) -> Formed:
        """The kept delta, or a new one, kept if it fits."""
        found = self._formed.get(name, {}).get(source)
        if found is not None:
            if device in (_device(found), META):
                return found
            self._drop(name, source)
        formed = make()
        while self._joined and not self._has_room(formed):  # forming a delta costs more than joining some
            self._part(next(iter(self._joined)))
        if self._has_room(formed):
            self._formed.setdefault(name, {})[source] = formed
            self.nbytes += size(formed)
        return formed

    def join(self, name: str, factors: Sequence[LowRank]) -> LowRank:
        """Low-rank deltas of a parameter side by side: those of its last sum, or new ones, kept if they fit."""
        kept, joined = self._joined.get(name, ((), None))
        if joined is not None and [*map(id, kept)] == [*map(id, factors)]:
            return joined
        self._part(name)
        joined = side_by_side(factors)
        here = [*map(id, self._formed.get(name, {}).values())]
        if self._has_room(joined) and all(id(one) in here for one in factors):
            self._joined[name] = factors, joined
            self.nbytes += size(joined)
        return joined

    def keep_only(self, wanted: Mapping[str, frozenset[Source]], covers: Callable[[str], bool]) -> None:
        """Drop what is not wanted of the parameters that `covers` names."""
        for name in [name for name in self._formed if covers(name)]:
            for source in [one for one in self._formed[name] if one not in wanted.get(name, ())]:
                self._drop(name, source)

    def _has_room(self, formed: Formed) -> bool:
        return self.budget is None or self.nbytes + size(formed) <= self.budget

    def _drop(self, name: str, source: Source) -> None:
        self.nbytes -= size(self._formed[name].pop(source))
        if not self._formed[name]:
            del self._formed[name]
        self._part(name)

    def _part(self, name: str) -> None:
        """Forget the deltas of a parameter that stand side by side."""
        if name in self._joined:
            self.nbytes -= size(self._joined.pop(name)[1])


def _device(formed: Formed) -> torch.device:
    return formed.up.device if isinstance(formed, LowRank) else formed.delta.device
