"""A parameter's place in its model, however its weight is stored."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.errors import NetworkError

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
BRANCHABLE = (nn.Linear, *CONVOLUTIONS)
"""The layers beside which a network can run."""

STORED = frozenset({torch.float32, torch.float16, torch.bfloat16, torch.float64})
"""The dtypes a sum can be written into; anything else is a quantisation."""


@dataclass(frozen=True, slots=True)
class Slot:
    """Where a parameter hangs. The parameter object is looked up each time: it may be moved, cast or replaced."""

    name: str
    module: nn.Module
    leaf: str

    @property
    def missing(self) -> bool:
        """Whether it is the bias of a layer made without one, which counts as zeros."""
        return self.leaf == "bias" and isinstance(self.module, BRANCHABLE) and self.module.bias is None

    @property
    def live(self) -> Tensor:
        """The live storage, outside autograd; zeros of no storage for a bias that is missing."""
        if self.missing:
            weight = self.module.get_parameter("weight")
            rows = self.module.out_features if isinstance(self.module, nn.Linear) else weight.shape[0]
            return torch.zeros(rows, device=weight.device)
        found = getattr(self.module, self.leaf)
        assert isinstance(found, Tensor)
        return found.data

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the weight, however it is packed."""
        if self.leaf == "weight" and isinstance(self.module, nn.Linear):
            return self.module.out_features, self.module.in_features
        return tuple(self.live.shape)

    @property
    def mergeable(self) -> bool:
        """Whether a sum can be written into the storage: one number per element, in memory, of a dtype with a sum."""
        live = self.live
        return not self.missing and type(live) is Tensor and live.dtype in STORED and live.device.type != "meta"

    @property
    def branchable(self) -> bool:
        """Whether the deltas can be applied beside the layer instead."""
        return (self.leaf == "weight" or self.missing) and isinstance(self.module, BRANCHABLE)

    def read(self) -> Tensor:
        """A float32 copy of the weight: where the storage is packed, what the layer does to the unit vectors.

        Raises:
            NetworkError: it is packed, and not a linear layer's.
        """
        live = self.live
        if self.missing:
            return torch.zeros_like(live, device="cpu" if live.device.type == "meta" else live.device)
        if type(live) is Tensor and live.is_floating_point() and live.device.type != "meta":
            return live.to(torch.float32, copy=True)
        if self.leaf != "weight" or not isinstance(self.module, nn.Linear):
            raise NetworkError("this network needs a weight that is quantised and cannot be read.", where=self.name)
        return self._acting(self.module)

    @staticmethod
    def _acting(layer: nn.Linear) -> Tensor:
        """The weight the layer acts with; `forward` is called past any hook of ours."""
        bias = layer.bias
        compute = getattr(layer, "compute_dtype", None) or (torch.float32 if bias is None else bias.dtype)
        near = layer.weight if layer.weight.device.type != "meta" or bias is None else bias
        unit = torch.eye(layer.in_features, dtype=compute)
        columns: Tensor = layer.forward(unit if near.device.type == "meta" else unit.to(near.device))
        return (columns if bias is None else columns - bias.to(columns)).float().T.contiguous()
