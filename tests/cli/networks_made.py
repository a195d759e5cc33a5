"""Network files made for the small checkpoint of this folder's tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

Named = Iterable[tuple[str, nn.Module]]


def lora(path: Path, modules: Named, *, rank: int = 2, seed: int = 0, metadata: dict[str, str] | None = None) -> Path:
    """kohya's layout, for linear layers and convolutions by their names in the file."""
    generator = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, module in modules:
        weight = module.get_parameter("weight")
        taps = weight.shape[2:]
        tensors[f"{name}.lora_down.weight"] = torch.randn(rank, *weight.shape[1:], generator=generator)
        tensors[f"{name}.lora_up.weight"] = torch.randn(weight.shape[0], rank, *(1 for _ in taps), generator=generator)
        tensors[f"{name}.alpha"] = torch.tensor(rank / 2)
    return written(path, tensors, metadata)


def named(prefix: str, model: nn.Module, *parts: str) -> list[tuple[str, nn.Module]]:
    """The linear layers and convolutions whose names hold one of `parts`, by flattened names."""
    found = [
        (f"{prefix}_{name.replace('.', '_')}", module)
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d) and any(part in name for part in parts)
    ]
    assert found
    return found


def written(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str] | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path, metadata)
    return path
