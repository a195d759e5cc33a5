"""What patching takes from the layers below: the tags of a prompt over its steps, and what networks change in a model.

Stated as protocols, so that a plan can be made of anything that keeps them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from app.errors import Span

Model = Mapping[str, nn.Module]
"""The live components: "unet" or "transformer" (and "transformer_2"), "text_encoder", "text_encoder_2", …, "vae"."""


class Patch(Protocol):
    """One change of one parameter, at strength 1."""

    def delta(self, pristine: Callable[[str], Tensor], /) -> Tensor:
        """The difference it makes to the pristine weight: float32, of the parameter's shape."""

    def factors(self) -> tuple[Tensor, Tensor] | None:
        """up (out, r) and down (r, in·kernel) in float32, whose product is the delta; None if it is not low-rank."""

    def truncated(self, ranks: int, /) -> Patch:
        """The patch with its first `ranks` ranks alone."""


class File(Protocol):
    """The file a network was read from."""

    @property
    def path(self) -> Path: ...


class Match(Protocol):
    """A network resolved against a model: its patches by "unet.down_blocks.0….to_q.weight"."""

    @property
    def network(self) -> File: ...

    @property
    def patches(self) -> Mapping[str, Sequence[Patch]]: ...


class Tag(Protocol):
    """A tag over the steps: one number per step under te, unet, in, mid, out, vae, and under the names it spells."""

    @property
    def name(self) -> str: ...

    @property
    def span(self) -> Span: ...

    @property
    def strengths(self) -> Mapping[str, tuple[float, ...]]: ...

    @property
    def lbw(self) -> tuple[float, ...] | None: ...

    @property
    def dyn(self) -> int | None: ...

    @property
    def module(self) -> str | None: ...
