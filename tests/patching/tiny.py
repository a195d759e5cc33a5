"""Tiny real models and real patches, for the laws of patching."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from app.patching.plan import PatchPlan, PlannedPatch

DTYPES = (torch.float32, torch.float16, torch.bfloat16)


class Denoiser(nn.Module):
    """A linear layer, a convolution and a norm, with names as a UNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.to_q = nn.Linear(24, 40)
        self.conv = nn.Conv2d(4, 6, 3, padding=1)
        self.norm = nn.LayerNorm(24)
        self.other = nn.Linear(8, 8)

    def forward(self, x: Tensor) -> Tensor:
        return self.to_q(self.norm(x))


def model(dtype: torch.dtype = torch.float32, seed: int = 0) -> dict[str, nn.Module]:
    torch.manual_seed(seed)
    return {"unet": Denoiser().to(dtype), "text_encoder": nn.Sequential(nn.Linear(16, 16), nn.Linear(16, 4)).to(dtype)}


@dataclass(frozen=True, slots=True)
class LowRankPatch:
    up: Tensor
    down: Tensor
    shape: tuple[int, ...]

    def delta(self, pristine: Callable[[str], Tensor]) -> Tensor:
        return (self.up @ self.down).reshape(self.shape)

    def factors(self) -> tuple[Tensor, Tensor]:
        return self.up, self.down

    def truncated(self, ranks: int) -> LowRankPatch:
        return LowRankPatch(self.up[:, :ranks], self.down[:ranks], self.shape)


@dataclass(frozen=True, slots=True)
class FullPatch:
    difference: Tensor

    def delta(self, pristine: Callable[[str], Tensor]) -> Tensor:
        return self.difference

    def factors(self) -> None:
        return None

    def truncated(self, ranks: int) -> FullPatch:
        return self


@dataclass(frozen=True, slots=True)
class GainPatch:
    """A delta that depends on the weight, as IA³ and DoRA do."""

    name: str
    gain: float

    def delta(self, pristine: Callable[[str], Tensor]) -> Tensor:
        return self.gain * pristine(self.name)

    def factors(self) -> None:
        return None

    def truncated(self, ranks: int) -> GainPatch:
        return self


AnyPatch = LowRankPatch | FullPatch | GainPatch
LAYERS: Mapping[str, tuple[int, ...]] = {
    "unet.to_q.weight": (40, 24),
    "unet.to_q.bias": (40,),
    "unet.conv.weight": (6, 4, 3, 3),
    "unet.norm.weight": (24,),
    "text_encoder.0.weight": (16, 16),
}


@dataclass(frozen=True)
class Network:
    """A network file's patches, resolved."""

    path: Path
    patches: Mapping[str, tuple[AnyPatch, ...]]

    @property
    def network(self) -> Network:
        return self


def low_rank(shape: tuple[int, ...], rank: int = 3, size: float = 0.2) -> LowRankPatch:
    columns = torch.Size(shape[1:]).numel()
    return LowRankPatch(torch.randn(shape[0], rank) * size, torch.randn(rank, columns) * size, shape)


def network(name: str, seed: int, kinds: Sequence[str] = ("low", "full", "gain")) -> Network:
    torch.manual_seed(seed)
    patches: dict[str, tuple[AnyPatch, ...]] = {}
    for place, (layer, shape) in enumerate(LAYERS.items()):
        kind = kinds[(place + seed) % len(kinds)]
        if kind == "low":
            patches[layer] = (low_rank(shape),)
        elif kind == "full":
            patches[layer] = (FullPatch(torch.randn(shape) * 0.1),)
        else:
            patches[layer] = (GainPatch(layer, 0.3 + seed % 7 / 10),)
    return Network(Path(f"{name}.safetensors"), patches)


@dataclass(frozen=True)
class Tag:
    """A scheduled tag, as the prompt gives it."""

    name: str = "ink"
    strengths: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    lbw: tuple[float, ...] | None = None
    dyn: int | None = None
    module: str | None = None
    span: tuple[int, int] = (0, 5)


def tag(*unet: float, **named: tuple[float, ...] | float) -> Tag:
    """One strength per step for everything; `te=` and so on replace it."""
    strengths = dict.fromkeys(("te", "unet", "in", "mid", "out", "vae"), tuple(unet))
    for key, value in named.items():
        strengths[key] = value if isinstance(value, tuple) else (value,) * len(unet)
        if key == "unet":
            strengths.update({group: strengths[key] for group in ("in", "mid", "out") if group not in named})
    return Tag(strengths=strengths)


def constant(found: Network, strength: float, steps: int = 1) -> PatchPlan:
    """The network at one strength, everywhere."""
    return PatchPlan(
        steps,
        {
            name: tuple(PlannedPatch(one, (strength,) * steps, None, (found.path.as_posix(), 0, 0)) for one in patches)
            for name, patches in found.patches.items()
        }
        if strength
        else {},
    )


def bits(components: Mapping[str, nn.Module]) -> dict[str, bytes]:
    """Every parameter's bytes."""
    return {
        f"{component}.{name}": tensor.detach().contiguous().view(torch.uint8).numpy().tobytes()
        for component, module in components.items()
        for name, tensor in module.named_parameters()
    }


def pointers(components: Mapping[str, nn.Module]) -> dict[str, tuple[int, int]]:
    """Every parameter's identity and storage."""
    return {
        f"{component}.{name}": (id(tensor), tensor.data_ptr())
        for component, module in components.items()
        for name, tensor in module.named_parameters()
    }
