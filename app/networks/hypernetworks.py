"""Hypernetworks: small perceptrons that change what an attention layer makes its keys and values from.

Two layouts are read. The pickles of the original web UI hold, under each width as a whole number, the perceptron for
the keys and that for the values, each as tensors named `linear.N.weight` and `linear.N.bias` (`linear1`, `linear2` in
the first files), beside `activation_func`, `activate_output` and what only training needs. A safetensors file holds
the same tensors as `WIDTH.k.linear.N.weight` and `WIDTH.v.linear.N.weight`, and `activation_func` and
`activate_output` (`true` or `false`) as metadata.

Which layers there are is read from the tensors: a matrix is a linear layer, a vector the scale of a layer norm.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor

from app.errors import NetworkError
from app.networks.header import read_header
from app.networks.pickles import is_plain, load_pickle

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = MappingProxyType(
    {
        "linear": lambda x: x,
        "relu": F.relu,
        "leakyrelu": F.leaky_relu,
        "elu": F.elu,
        "swish": F.hardswish,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "celu": F.celu,
        "gelu": F.gelu,
        "hardshrink": F.hardshrink,
        "hardsigmoid": F.hardsigmoid,
        "hardswish": F.hardswish,
        "hardtanh": F.hardtanh,
        "logsigmoid": F.logsigmoid,
        "mish": F.mish,
        "relu6": F.relu6,
        "rrelu": F.rrelu,
        "selu": F.selu,
        "silu": F.silu,
        "softplus": F.softplus,
        "softshrink": F.softshrink,
        "softsign": F.softsign,
        "tanhshrink": F.tanhshrink,
    }
)
"""By the names files give them; what the web UI calls swish is the hard one."""
WIDTH_LIMIT = 1 << 16
SIDES = ("k", "v")
_TENSOR = re.compile(r"linear\.?(?P<index>\d{1,3})\.(?P<role>weight|bias)")
_KEY = re.compile(r"(?P<width>\d{1,5})\.(?P<side>[kv])\.(?P<name>.+)")


@dataclass(frozen=True, slots=True)
class Layer:
    """A linear layer: weight [out, in] and bias [out], then its activation, then a layer norm's scale and shift."""

    weight: Tensor
    bias: Tensor
    activation: str
    norm: tuple[Tensor, Tensor] | None = None

    def __call__(self, x: Tensor) -> Tensor:
        y = ACTIVATIONS[self.activation](F.linear(x, self.weight, self.bias))
        return y if self.norm is None else F.layer_norm(y, y.shape[-1:], *self.norm)

    def to(self, device: torch.device) -> Layer:
        """The layer on a device."""
        norm = (self.norm[0].to(device), self.norm[1].to(device)) if self.norm else None
        return Layer(self.weight.to(device), self.bias.to(device), self.activation, norm)


@dataclass(frozen=True, slots=True)
class Perceptron:
    """Layers, float32, from vectors of one width to vectors of the same: x + strength · P(x) is what it does to x."""

    layers: tuple[Layer, ...]

    def __call__(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x

    def to(self, device: torch.device) -> Perceptron:
        """The perceptron on a device."""
        return Perceptron(tuple(layer.to(device) for layer in self.layers))


@dataclass(frozen=True, slots=True)
class Pair:
    """The perceptron for what keys are made from, and that for what values are made from."""

    key: Perceptron
    value: Perceptron

    def to(self, device: torch.device) -> Pair:
        """The pair on a device."""
        return Pair(self.key.to(device), self.value.to(device))


@dataclass(frozen=True, slots=True)
class Hypernetwork:
    """What a file holds, by the width of the vectors it changes (768 is the cross-attention of SD 1.x)."""

    path: Path
    pairs: Mapping[int, Pair]


def read_hypernetwork(path: Path) -> Hypernetwork:
    """Read a hypernetwork: a pickle of the original web UI, or safetensors. No pickle is executed.

    Raises:
        NetworkError: in one line, the file and what is wrong with it.
    """
    tensors, settings = _safetensors(path) if path.suffix.lower() == ".safetensors" else _pickle(path)
    activation = settings.get("activation_func")
    name = "linear" if activation is None else activation
    if not isinstance(name, str) or name.lower() not in ACTIVATIONS:
        raise NetworkError(f"Its activation function {str(activation)[:60]!r} is not known.", where=str(path))
    activate_output = settings.get("activate_output", True) not in (False, "false", "False")
    if not tensors:
        raise NetworkError("It holds no hypernetwork.", where=str(path))
    pairs: dict[int, Pair] = {}
    for width in sorted(tensors):
        made = []
        for side in SIDES:
            try:
                made.append(_perceptron(width, tensors[width].get(side, {}), name.lower(), activate_output))
            except ValueError as error:
                raise NetworkError(f"Its layers {width}.{side} cannot be read: {error}.", where=str(path)) from error
        pairs[width] = Pair(*made)
    return Hypernetwork(path, MappingProxyType(pairs))


Tensors = Mapping[int, Mapping[str, Mapping[str, object]]]
"""By width, then by side: what has a name there."""


def _pickle(path: Path) -> tuple[Tensors, Mapping[object, object]]:
    loaded = load_pickle(path)
    if not isinstance(loaded, dict):
        raise NetworkError("It holds no hypernetwork.", where=str(path))
    found: dict[int, dict[str, Mapping[str, object]]] = {}
    for width, pair in loaded.items():
        if type(width) is not int:
            continue
        sides = pair if isinstance(pair, tuple | list) and len(pair) == len(SIDES) else ()
        if not 0 < width < WIDTH_LIMIT or not sides or not all(isinstance(side, dict) for side in sides):
            raise NetworkError("It is laid out as no hypernetwork is.", where=str(path))
        found[width] = dict(zip(SIDES, sides, strict=True))
    return found, loaded


def _safetensors(path: Path) -> tuple[Tensors, Mapping[str, str]]:
    header = read_header(path)
    try:
        tensors = load(path.read_bytes())
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise NetworkError(f"It cannot be read ({str(error)[:200]}).", where=str(path)) from error
    found: dict[int, dict[str, dict[str, object]]] = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        if match is None:
            raise NetworkError(f"Tensor {key[:100]!r} belongs to no hypernetwork.", where=str(path))
        found.setdefault(int(match["width"]), {}).setdefault(match["side"], {})[match["name"]] = tensor
    return found, header.metadata


def _perceptron(width: int, state: Mapping[str, object], activation: str, activate_output: bool) -> Perceptron:
    """The layers that tensors of these names make.

    Raises:
        ValueError: they do not fit together, or are not numbers.
    """
    places: dict[int, dict[str, Tensor]] = {}
    for name, value in state.items():
        match = _TENSOR.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(f"{str(name)[:100]!r} is no tensor of a layer")
        places.setdefault(int(match["index"]), {})[match["role"]] = _numbers(name, value)
    parts = [_parts(index, places[index]) for index in sorted(places)]
    layers: list[Layer] = []
    inner = width
    for weight, bias in parts:
        if weight.ndim == 1 and layers and layers[-1].norm is None and len(weight) == inner:
            last = layers[-1]
            layers[-1] = Layer(last.weight, last.bias, activation, (weight, bias))
        elif weight.ndim == 2 and weight.shape[1] == inner:
            inner = len(weight)
            layers.append(Layer(weight, bias, activation))
        else:
            raise ValueError(f"a weight of {tuple(weight.shape)} does not follow {inner} numbers")
    if not layers or inner != width:
        raise ValueError(f"they end with {inner} numbers" if layers else "there are none")
    if not activate_output:
        layers[-1] = Layer(layers[-1].weight, layers[-1].bias, "linear", layers[-1].norm)
    return Perceptron(tuple(layers))


def _parts(index: int, roles: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    if roles.keys() != {"weight", "bias"} or roles["bias"].shape != roles["weight"].shape[:1]:
        raise ValueError(f"linear.{index} has no weight and bias that fit")
    return roles["weight"], roles["bias"]


def _numbers(name: str, value: object) -> Tensor:
    if not isinstance(value, Tensor) or not is_plain(value) or not value.is_floating_point():
        raise ValueError(f"{name} is no tensor of numbers")
    numbers = value.detach().float()
    if not bool(numbers.isfinite().all()):
        raise ValueError(f"{name} has numbers that are not finite")
    return numbers
