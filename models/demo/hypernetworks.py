"""Hypernetworks: perceptrons that change what the denoiser's cross-attention makes its keys and values from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from .captions import tokenize
from .options import NetworkOptions

ACTIVATION = "relu"
WIDENING = 2  # "layer structure" 1, 2, 1


class HypernetworkLearner(nn.Module):
    """A perceptron before all keys and one before all values; it adds to what comes in."""

    def __init__(self, pipeline: StableDiffusionPipeline, options: NetworkOptions) -> None:
        super().__init__()
        self._pipeline = pipeline
        self.strength = 1.0
        self.width = pipeline.unet.config.cross_attention_dim
        self.sides = nn.ModuleDict({side: _perceptron(self.width) for side in ("k", "v")})
        self._hooks = [
            module.register_forward_pre_hook(self._hook(side))
            for side, ending in (("k", "attn2.to_k"), ("v", "attn2.to_v"))
            for name, module in pipeline.unet.named_modules()
            if name.endswith(ending)
        ]

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids, padded as pipelines pad them."""
        return tokenize(self._pipeline.tokenizer, captions)

    def set_strength(self, strength: float) -> None:
        """How much of it is added."""
        self.strength = strength

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """What learns, with its share of the learning rate."""
        return [(list(self.parameters()), 1.0)]

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write it as safetensors: ``WIDTH.k.linear.0.weight`` and so on, and how it computes as metadata."""
        tensors = {
            f"{self.width}.{side}.linear.{name}": tensor.detach().half().contiguous()
            for side, perceptron in self.sides.items()
            for name, tensor in perceptron.named_parameters()
        }
        save_file(tensors, path, {**metadata, "activation_func": ACTIVATION, "activate_output": "false"})

    def detach(self) -> None:
        """Take the hooks away."""
        for hook in self._hooks:
            hook.remove()

    def _hook(self, side: str):  # noqa: ANN202 - torch's own type of a hook
        def change(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return inputs[0] + self.strength * self.sides[side](inputs[0]), *inputs[1:]

        return change


def _perceptron(width: int) -> nn.Sequential:
    """Two layers; the second starts silent, so that training begins with the model as it is."""
    perceptron = nn.Sequential(nn.Linear(width, width * WIDENING), nn.ReLU(), nn.Linear(width * WIDENING, width))
    nn.init.zeros_(perceptron[2].weight)
    nn.init.zeros_(perceptron[2].bias)
    return perceptron
