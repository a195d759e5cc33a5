"""Hypernetworks in the denoiser: what keys and values are made from is changed on its way in, no weight is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from math import fsum

import torch
from torch import Tensor, nn

from app.errors import NetworkError, Problem
from app.networks.hypernetworks import Hypernetwork, Pair, Perceptron
from app.networks.keys import Model
from app.patching.patcher import At
from app.patching.places import Places
from app.patching.plan import Curve
from app.prompt.schedule import ScheduledNetwork

UNET = "unet"
CROSS = "attn2"
"""What diffusers calls the attention of a block that reads the text; "attn1" reads the picture itself."""


@dataclass(frozen=True, slots=True)
class Influence:
    """A hypernetwork on one attention layer, and its strength at each step."""

    pair: Pair
    strengths: Curve


@dataclass(frozen=True, slots=True)
class Influences:
    """What acts on each attention layer of the UNet, by the layer's name: in the order of the tags, one on another."""

    steps: int
    layers: Mapping[str, tuple[Influence, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()


def attended(model: Model) -> dict[str, int]:
    """The attention layers of the model's UNet, by name: how wide the vectors are that keys and values are made from.

    A model without a UNet has none.
    """
    unet = model.get(UNET)
    layers: dict[str, int] = {}
    for name, module in unet.named_modules() if unet is not None else ():
        key, value = getattr(module, "to_k", None), getattr(module, "to_v", None)
        if isinstance(key, nn.Linear) and isinstance(value, nn.Linear):
            layers[name] = key.in_features
    return layers


def acting(hypernetwork: Hypernetwork, model: Model) -> dict[str, Pair]:
    """What a hypernetwork does to each attention layer, by the layer's name; self-attention too, if it has its width.

    Raises:
        NetworkError: it was made for another model. It changes neither the vectors of the text, nor is it one for
            self-attention alone, all of whose widths the model has.
    """
    layers, pairs = attended(model), hypernetwork.pairs
    cross = sorted({width for name, width in layers.items() if name.rpartition(".")[2] == CROSS})
    if not layers or not (any(width in pairs for width in cross) or set(layers.values()).issuperset(pairs)):
        has = f"this model's text has {_numbers(cross)}" if layers else "this model has no UNet"
        message = f"It changes vectors of {_numbers(pairs)} numbers; {has}."
        raise NetworkError(message, where=str(hypernetwork.path), hint="It was made for another base model.")
    return {name: pairs[width] for name, width in layers.items() if width in pairs}


def influences(networks: Sequence[tuple[ScheduledNetwork, Hypernetwork]], model: Model, steps: int) -> Influences:
    """Give every hypernetwork its strength on every layer at every step.

    Several tags of one hypernetwork add up, where the first of them stands.

    Raises:
        NetworkError: a hypernetwork was made for another model.
    """
    places = Places(model)
    sums: dict[str, dict[int, list[Influence]]] = {}
    problems: list[Problem] = []
    for tag, hypernetwork in networks:
        problems += places.problems(tag)
        for layer, pair in acting(hypernetwork, model).items():
            curve = places.strength(tag, f"{UNET}.{layer}.to_k.weight")
            sums.setdefault(layer, {}).setdefault(id(pair), []).append(Influence(pair, curve))
    layers = {
        layer: tuple(kept for same in by.values() if any((kept := _added(same)).strengths))
        for layer, by in sums.items()
    }
    return Influences(steps, {layer: kept for layer, kept in layers.items() if kept}, tuple(problems))


def _added(same: Sequence[Influence]) -> Influence:
    return Influence(same[0].pair, tuple(map(fsum, zip(*(one.strengths for one in same), strict=True))))


def _numbers(widths: Sequence[int] | Mapping[int, object]) -> str:
    return ", ".join(map(str, widths)) or "none"


_SIDES: Mapping[str, Callable[[Pair], Perceptron]] = {"to_k": lambda pair: pair.key, "to_v": lambda pair: pair.value}
"""The projections that a pair's perceptrons stand before."""


@dataclass(slots=True)
class _Stand:
    """Where a run stands, for all its hooks; a perceptron is copied to a device once for all of them."""

    step: int
    copies: dict[tuple[int, torch.device], Perceptron] = field(default_factory=dict)

    def on(self, device: torch.device, perceptron: Perceptron) -> Perceptron:
        """The perceptron on a device."""
        if perceptron.layers[0].weight.device == device:
            return perceptron
        key = (id(perceptron), device)
        if key not in self.copies:
            self.copies[key] = perceptron.to(device)
        return self.copies[key]


@dataclass(frozen=True, slots=True)
class _Hook:
    """Changes the input of a projection: x + strength · P(x), one after another, in float32 and rounded once."""

    stand: _Stand
    terms: tuple[tuple[Perceptron, Curve], ...]

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        now = self.stand.step - 1
        active = [(perceptron, curve[now]) for perceptron, curve in self.terms if curve[now]]
        if not active:
            return None
        x = inputs[0]
        changed = x.float()
        for perceptron, strength in active:
            changed = changed + strength * self.stand.on(x.device, perceptron)(changed)
        return changed.to(x.dtype), *inputs[1:]


@contextmanager
def hypernetted(model: Model, influences: Influences, first: int = 1) -> Iterator[At]:
    """Let hypernetworks act on the model's UNet at step `first`, and yield `at(step)`, which sets another.

    A layer on which nothing acts, or nothing but strengths of 0, computes what it always does, bit for bit. On every
    exit the hooks are gone.
    """
    stand = _Stand(first)

    def at(step: int) -> None:
        if not 1 <= step <= influences.steps:
            raise ValueError(f"Step {step} is not among 1 to {influences.steps}.")
        stand.step = step

    with ExitStack() as stack:
        for name, here in influences.layers.items():
            for projection, side in _SIDES.items():
                hook = _Hook(stand, tuple((side(one.pair), one.strengths) for one in here))
                module = model[UNET].get_submodule(f"{name}.{projection}")
                stack.callback(module.register_forward_pre_hook(hook).remove)
        at(first)
        yield at
