"""Where a module of a file lies in the live model."""

from __future__ import annotations

from typing import NamedTuple


class Piece(NamedTuple):
    """Rows [start, stop) of a live weight, and of the bias that is or could be beside it; both by full name."""

    weight: str
    bias: str | None
    start: int
    stop: int

    @property
    def height(self) -> int:
        """How many rows it is."""
        return self.stop - self.start

    def part(self, start: int, stop: int) -> Piece:
        """Rows [start, stop) of this piece."""
        return Piece(self.weight, self.bias, self.start + start, self.start + stop)


Place = tuple[Piece, ...]
"""The rows of a file's module, from its top: one whole weight, several (a fused module), or part of one."""
