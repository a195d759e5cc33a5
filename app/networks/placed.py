"""An adapter at its place: the change of one parameter of the live model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.networks.adapters import Adapter

Pristine = Callable[[str], Tensor]
"""A parameter's pristine weight in float32, by its full name."""

Pieces = tuple[tuple[str, int, int], ...]
"""Runs of rows [start, stop) of parameters, by full name."""


@dataclass(frozen=True, slots=True)
class RowsPatch:
    """An adapter on rows of one parameter, or on all of it.

    The adapter's own rows are those of `pieces`, from the top; only those of them that lie in `target` are changed,
    though the others may be needed to know how (an input-axis DoRA's norm runs through q, k and v). `beside` are the
    same rows of the weights, where the target is a bias that depends on them.
    """

    adapter: Adapter
    target: str
    shape: tuple[int, ...]
    pieces: Pieces
    beside: Pieces = ()

    @property
    def rank(self) -> int | None:
        return self.adapter.rank

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for name, _, _ in (*self.pieces, *self.beside)))

    @property
    def _whole(self) -> bool:
        return self.pieces == ((self.target, 0, self.shape[0]),) and not self.beside

    def delta(self, pristine: Pristine) -> Tensor:
        if self._whole:
            return self.adapter.delta(pristine(self.target))
        weights = {name: pristine(name) for name in self.sources}
        block = _joined(weights, self.pieces)
        if self.beside:
            block = torch.cat([block[:, None], _joined(weights, self.beside).flatten(1)], dim=1)
        change = self.adapter.delta(block)
        delta = torch.zeros_like(weights[self.target])
        top = 0
        for name, start, stop in self.pieces:
            if name == self.target:
                delta[start:stop] = change[top : top + stop - start]
            top += stop - start
        return delta

    def factors(self) -> tuple[Tensor, Tensor] | None:
        found = self.adapter.factors()
        if found is None or self._whole:
            return found
        if any(name != self.target for name, _, _ in self.pieces):
            return None
        up, down = found
        placed = up.new_zeros(self.shape[0], up.shape[1])
        top = 0
        for _, start, stop in self.pieces:
            placed[start:stop] = up[top : top + stop - start]
            top += stop - start
        return placed, down

    def truncated(self, ranks: int) -> RowsPatch:
        return replace(self, adapter=self.adapter.truncated(ranks))


def _joined(weights: Mapping[str, Tensor], pieces: Pieces) -> Tensor:
    """The rows of the pieces, from the top."""
    return torch.cat([weights[name][start:stop] for name, start, stop in pieces])
