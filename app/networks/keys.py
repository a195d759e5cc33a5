"""Where a file's module names lead: every spelling of every module of the live model.

A spelling is made from the model's own module tree, forwards: dotted, flattened, as the original checkpoints named
it, as older libraries named it. A flattened name is looked up, never parsed back, so `transformer_blocks_1` cannot
be taken for the beginning of `transformer_blocks_10`. Only the prefix that names a component is cut off first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import Tensor, nn

from app.networks import fused, spellings
from app.networks.places import Piece, Place
from app.networks.prefixes import components_of

Model = Mapping[str, nn.Module]
"""The live modules by component: "unet", "transformer", "transformer_2", "text_encoder", …, "vae"."""


@dataclass(frozen=True, slots=True)
class Names:
    """One model's table: for each component, spelling → place; and the shape of every parameter by its full name.

    `absent` are the biases of layers made without one: they count as zeros that a network may change.
    """

    places: Mapping[str, Mapping[str, Place]]
    shapes: Mapping[str, tuple[int, ...]]
    absent: frozenset[str]

    def find(self, module: str) -> Iterator[tuple[str, Place]]:
        """Where a file's module may be: component and place, likeliest first; nothing where no name is like it."""
        components, name = components_of(module)
        for component in components:
            place = self.places.get(component, {}).get(name)
            if place is not None:
                yield component, place


def names(model: Model) -> Names:
    """The table of a model, made from its modules' own names and the spellings known for its architecture."""
    shapes: dict[str, tuple[int, ...]] = {}
    absent: set[str] = set()
    places: dict[str, Mapping[str, Place]] = {}
    for component, module in model.items():
        tree = _tree(component, module, shapes, absent)
        places[component] = MappingProxyType(_spelled(tree))
    return Names(MappingProxyType(places), MappingProxyType(shapes), frozenset(absent))


def _tree(component: str, root: nn.Module, shapes: dict[str, tuple[int, ...]], absent: set[str]) -> dict[str, Place]:
    """Every module with a weight of its own, by its live name; notes the shapes of weights and biases."""
    tree: dict[str, Place] = {}
    for name, module in root.named_modules():
        own = dict(module.named_parameters(recurse=False))
        plain = name.replace("_orig_mod.", "")  # what torch.compile puts before a module's name
        for weight_name, bias_name, alias in _OWN:
            weight = own.get(weight_name)
            if weight is None or not weight.ndim:
                continue
            path = f"{component}.{name}." if name else f"{component}."
            shapes[path + weight_name] = shape = _shape(module, weight)
            bias = path + bias_name if own.get(bias_name) is not None or isinstance(module, BIASABLE) else None
            if bias is not None:
                shapes[bias] = shape[:1]
            if bias is not None and own.get(bias_name) is None:
                absent.add(bias)
            piece = Piece(path + weight_name, bias, 0, shape[0])
            tree[f"{plain}{alias}" if plain else alias.removeprefix(".")] = (piece,)
    return tree


_OWN: tuple[tuple[str, str, str], ...] = (("weight", "bias", ""), ("in_proj_weight", "in_proj_bias", ".in_proj"))
"""A module's parameters: its weight, its bias, and what its name is followed by."""


BIASABLE = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
"""Layers to whose output a bias can be added, though they were made without."""


def _shape(module: nn.Module, weight: Tensor) -> tuple[int, ...]:
    """A weight's shape, however its numbers are packed."""
    return (module.out_features, module.in_features) if isinstance(module, nn.Linear) else tuple(weight.shape)


def _spelled(tree: Mapping[str, Place]) -> dict[str, Place]:
    """The tree under every spelling. A module's own name is never another's alias."""
    table: dict[str, Place] = dict(tree)
    widths = {name: place[0].stop for name, place in tree.items()}
    aliases: list[tuple[str, Place]] = []
    for alias, name in spellings.aliases(widths.keys()):
        aliases.append((alias, tree[name]))
    aliases.extend(fused.places(tree))
    for alias, place in aliases:
        table.setdefault(alias, place)
    for name, place in _flattened(table.items()):
        table.setdefault(name, place)
    return table


def _flattened(table: Iterable[tuple[str, Place]]) -> list[tuple[str, Place]]:
    return [(name.replace(".", "_"), place) for name, place in table]
