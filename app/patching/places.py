"""The strength a tag gives to a parameter: by its component, its group of blocks, its own block, and block weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache

from app.errors import Level, Problem
from app.networks.keys import Model
from app.patching.blocks import NUMBERED, OUTSIDE, Blocks, blocks, ratios
from app.prompt.schedule import ScheduledNetwork

ENCODERS: Mapping[str, str] = {"text_encoder": "te1", "text_encoder_2": "te2", "text_encoder_3": "te3"}
MODULES: Mapping[str, tuple[tuple[str, ...], ...]] = {
    "te": (tuple(ENCODERS),),
    "te1": (("text_encoder",),),
    "te2": (("text_encoder_2",),),
    "te3": (("text_encoder_3",),),
    "unet": (("unet",), ("transformer",)),
    "dit": (("transformer",), ("unet",)),
    "transformer": (("transformer",), ("unet",)),
    "transformer_2": (("transformer_2",),),
    "high": (("transformer",),),
    "low": (("transformer_2",),),
    "vae": (("vae",),),
}
"""`module=` by its spelling: the components it means, and those it means where a model has none of the first."""


class Places:
    """A model, seen as the places a tag can give strengths to."""

    def __init__(self, model: Model) -> None:
        self._components = frozenset(model)
        self._blocks: Mapping[str, Blocks] = {
            name: blocks(module) for name, module in model.items() if name not in ENCODERS and name != "vae"
        }
        self._names = frozenset[str]().union(*(found.names for found in self._blocks.values()))
        self._place = cache(self._find)

    def strength(self, tag: ScheduledNetwork, parameter: str) -> tuple[float, ...]:
        """The strength of a tag on "component.parameter" at each step, block weights included."""
        component, keys, name = self._place(parameter)
        if component not in self._wanted(tag):
            return (0.0,) * len(tag.strengths["unet"])
        curve = next(tag.strengths[key] for key in keys if key in tag.strengths)
        ratio = self._ratio(tag, component, name)
        return curve if ratio == 1 else tuple(value * ratio for value in curve)

    def problems(self, tag: ScheduledNetwork) -> Iterable[Problem]:
        """What the tag names that this model does not have."""
        known = {key for component, key in ENCODERS.items() if component in self._components}
        for key in tag.strengths:
            if NUMBERED.fullmatch(key) and key not in self._names:
                yield self._problem(tag, f"the model has no block {key}.", self._shown())
            elif key in ENCODERS.values() and key not in known:
                yield self._problem(tag, f"the model has no text encoder {key}.", _have(known))
        if tag.module is not None and not self._wanted(tag):
            yield self._problem(tag, f"the model has no module {tag.module}.", _have(self._components))
        if tag.lbw is not None:
            weights = {key: ratio for key, ratio in ratios(tag.lbw).items() if not key.startswith("te")}
            missing = sorted(key for key, ratio in weights.items() if ratio and key not in self._names)
            if missing:
                level: Level = "warning" if self._names & weights.keys() else "error"
                message = f"lbw weighs blocks the model does not have ({', '.join(missing)})."
                yield self._problem(tag, message, self._shown(), level)

    def _find(self, parameter: str) -> tuple[str, tuple[str, ...], str | None]:
        """The component of a parameter, the keys its strength may stand under (the nearest first), and its block."""
        component, _, name = parameter.partition(".")
        if component == "vae":
            return component, ("vae",), None
        if component in ENCODERS:
            return component, (ENCODERS[component], "te"), None
        block = self._blocks[component].of(name) if component in self._blocks else OUTSIDE
        return component, tuple(key for key in (block.name, block.group, "unet") if key), block.name

    def _wanted(self, tag: ScheduledNetwork) -> frozenset[str]:
        """The components of this model the tag applies to."""
        if tag.module is None:
            return self._components
        for meant in MODULES.get(tag.module, ((tag.module,),)):
            if found := self._components.intersection(meant):
                return found
        return frozenset()

    def _ratio(self, tag: ScheduledNetwork, component: str, block: str | None) -> float:
        """The block weight of a place; 1 outside all blocks, and everywhere in a denoiser that has none of them."""
        if tag.lbw is None:
            return 1.0
        found = ratios(tag.lbw)
        if component in ENCODERS:
            return found.get(ENCODERS[component], found.get("te", 1.0))
        if block is None or not self._names & found.keys():
            return 1.0
        return found.get(block, 0.0)

    def _shown(self) -> str:
        """The blocks of the model, in ranges."""
        runs = []
        for kind in ("in", "mid", "out", "block"):
            numbers = [int(name.removeprefix(kind)) for name in self._names if name.rstrip("0123456789") == kind]
            if numbers:
                runs.append(f"{kind}{min(numbers)} to {kind}{max(numbers)}")
        return f"Its blocks are {', '.join(runs)}." if runs else "It has no blocks."

    @staticmethod
    def _problem(tag: ScheduledNetwork, what: str, hint: str, level: Level = "error") -> Problem:
        return Problem(level, f"{tag.name}: {what}", tag.span, hint)


def _have(names: Iterable[str]) -> str:
    return f"It has {', '.join(sorted(names)) or 'none'}."
