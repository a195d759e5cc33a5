"""Networks applied in the forward pass: y + Σ sₖ Δₖ x beside a layer whose own weight is not written.

For weights that are quantised, live on no device between calls, or have no room for a pristine copy.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from app.patching.kernels import Dense, Formed, LowRank, Term, side_by_side


class Branch:
    """The side branch of one layer. Its strengths are a tensor: a compiled graph stays valid when they change."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._terms: tuple[Term, ...] = ()
        self._strengths = torch.zeros(0)
        self._up: Tensor | None = None
        self._down: Tensor | None = None
        self._delta: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """What the branch holds."""
        return sum(tensor.nbytes for tensor in (self._up, self._down, self._delta) if tensor is not None)

    def set(self, terms: Sequence[Term]) -> None:
        """Add these from the next forward pass on; without any, the layer is as it was, hooks included."""
        if self._handle is None and terms:
            self._handle = self._module.register_forward_hook(self._add)
        if self._handle is not None and not terms:
            self._handle.remove()
            self._handle = None
        split = getattr(self._module, "groups", 1) > 1  # a factor of a grouped convolution is no convolution
        low = [(term.formed, term.strength) for term in terms if isinstance(term.formed, LowRank) and not split]
        self._stack(low, same=[term.formed for term in terms] == [term.formed for term in self._terms])
        self._delta = None
        for term in terms:
            if isinstance(term.formed, Dense) or split:
                delta = _whole(term.formed) * term.strength
                self._delta = delta if self._delta is None else self._delta.add_(delta)
        self._terms = tuple(terms)

    def _stack(self, low: Sequence[tuple[LowRank, float]], *, same: bool) -> None:
        """All low-rank terms as one product; where only the strengths differ, only they are written."""
        strengths = torch.tensor([strength for formed, strength in low for _ in range(formed.up.shape[1])])
        if same and self._up is not None:
            self._strengths.copy_(strengths)
            return
        joined = side_by_side([formed for formed, _ in low]) if low else None
        self._up, self._down = (joined.up, joined.down) if joined else (None, None)
        self._strengths = strengths.to(low[0][0].up.device) if low else strengths

    def _add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0]
        if self._up is not None and self._down is not None:
            if self._up.dtype != x.dtype or self._up.device != x.device:
                self._up, self._down = self._up.to(x), self._down.to(x)
                self._strengths = self._strengths.to(x.device)
            inner = _apply(self._module, x, self._down, self._strengths.to(x.dtype))
            output = output + _outer(self._module, inner, self._up)
        if self._delta is not None:
            if self._delta.dtype != x.dtype or self._delta.device != x.device:
                self._delta = self._delta.to(x)
            output = output + _apply(self._module, x, self._delta, None)
        return output


class BiasBranch:
    """The bias of a layer made without one: y + Σ sₖ Δₖ, kept in one tensor whatever the strengths."""

    def __init__(self, module: nn.Module) -> None:
        self._module = module
        self._handle: torch.utils.hooks.RemovableHandle | None = None
        self._sum: Tensor | None = None

    @property
    def nbytes(self) -> int:
        """What the branch holds."""
        return 0 if self._sum is None else self._sum.nbytes

    def set(self, terms: Sequence[Term]) -> None:
        """Add these from the next forward pass on; without any, the layer is as it was, hooks included."""
        if not terms:
            if self._handle is not None:
                self._handle.remove()
            self._handle = self._sum = None
            return
        total = torch.stack([_vector(term.formed) * term.strength for term in terms]).sum(0)
        if self._sum is None:
            self._sum = total
        else:
            self._sum.copy_(total)
        if self._handle is None:
            self._handle = self._module.register_forward_hook(self._add)

    def _add(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert self._sum is not None
        if self._sum.device != output.device:
            self._sum = self._sum.to(output.device)
        spatial = 0 if isinstance(module, nn.Linear) else len(module.get_parameter("weight").shape) - 2
        return output + self._sum.to(output.dtype).view(-1, *(1,) * spatial)


def _vector(formed: Formed) -> Tensor:
    """The delta of a bias."""
    return (formed.up @ formed.down if isinstance(formed, LowRank) else formed.delta).flatten()


def _whole(formed: Formed) -> Tensor:
    """The delta as a matrix."""
    return formed.up @ formed.down if isinstance(formed, LowRank) else formed.delta.flatten(1)


def _apply(module: nn.Module, x: Tensor, weight: Tensor, gains: Tensor | None) -> Tensor:
    """What a layer with this weight, as a matrix or in its own shape, gives for x; each channel times its gain."""
    if isinstance(module, nn.Linear):
        inner = F.linear(x, weight)
        return inner if gains is None else inner * gains
    assert isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d)
    shaped = weight.reshape(weight.shape[0], -1, *module.kernel_size)
    padded, padding = x, module.padding
    if module.padding_mode != "zeros":
        padded = F.pad(x, module._reversed_padding_repeated_twice, mode=module.padding_mode)
        padding = (0,) * len(module.kernel_size)
    inner = _convolution(shaped)(padded, shaped, None, module.stride, padding, module.dilation, module.groups)
    return inner if gains is None else inner * gains.view(-1, *(1,) * len(module.kernel_size))


def _outer(module: nn.Module, inner: Tensor, up: Tensor) -> Tensor:
    """up, position by position."""
    if isinstance(module, nn.Linear):
        return F.linear(inner, up)
    shaped = up.reshape(*up.shape, *(1,) * (inner.dim() - 2))
    return _convolution(shaped)(inner, shaped)


def _convolution(weight: Tensor) -> Callable[..., Tensor]:
    return (F.conv1d, F.conv2d, F.conv3d)[weight.dim() - 3]
