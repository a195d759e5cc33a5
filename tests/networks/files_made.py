"""Files and little models for the tests of this folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from app.networks.files import Network, read_network
from app.networks.resolve import Match, resolve


def written(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Path:
    """A safetensors file of copies of the tensors, so that none shares memory with another."""
    save_file(
        {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()},
        path,
        metadata and dict(metadata),
    )
    return path


def network(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None) -> Network:
    return read_network(written(path, tensors, metadata))


def one_layer(layer: nn.Module) -> nn.ModuleDict:
    """A denoiser of one layer, called "layer"."""
    return nn.ModuleDict({"layer": layer})


def on_layer(
    folder: Path, layer: nn.Module, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None
) -> Match:
    """The tensors, saved under kohya's name of the one layer, on a model of it; nothing may be amiss."""
    keyed = {f"lora_unet_layer.{role}": tensor for role, tensor in tensors.items()}
    match = resolve(network(folder / "file.safetensors", keyed, metadata), {"unet": one_layer(layer)}, "unknown")
    assert (match.matched, match.unmatched, match.mismatched, match.problems) == (1, (), (), ())
    assert match.network.problems == ()
    return match


def deltas(match: Match, layer: nn.Module) -> dict[str, Tensor]:
    """The delta of the layer's weight, and of its bias if the file changes it."""
    pristine = {f"unet.layer.{name}": value.detach().float() for name, value in layer.named_parameters()}
    made = {}
    for name, patches in match.patches.items():
        total = torch.stack([patch.delta(pristine.__getitem__) for patch in patches]).sum(0)
        assert total.shape == pristine[name].shape
        assert total.dtype == torch.float32
        for patch in patches:
            factors = patch.factors()
            if factors is not None and len(patches) == 1:
                torch.testing.assert_close((factors[0] @ factors[1]).reshape(total.shape), total, atol=1e-5, rtol=1e-5)
        made[name.removeprefix("unet.layer.")] = total
    return made
