"""The weights of a loaded model, made to follow a plan, and given back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from app.patching.formed import Kept, Source, form
from app.patching.kernels import Formed, Scratch, Term, merge
from app.patching.plan import PatchPlan
from app.patching.sources import Model

At = Callable[[int], None]
"""Sets every weight of the plan's scope to what it is at a step, counted from 1."""

Mix = tuple[tuple[Source, float], ...]
"""What a weight holds besides W₀: patches and their strengths, none of them 0."""

Curves = tuple[tuple[Source, tuple[float, ...]], ...]


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes a patcher holds: pristine weights, formed deltas (at most `budget`), and the buffer it sums in."""

    pristine: int
    formed: int
    scratch: int
    budget: int

    @property
    def kept(self) -> int:
        """What stays between generations."""
        return self.pristine + self.formed


@dataclass(slots=True)
class Weight:
    """A parameter that has been touched: its pristine copy, and what its live storage holds.

    `holds` is () when it is pristine, and None while it is being written: after an interrupt, nobody knows.
    """

    module: nn.Module
    leaf: str
    pristine: Tensor
    holds: Mix | None = ()

    @property
    def live(self) -> Tensor:
        """The live parameter's storage, outside autograd."""
        return _storage(self.module, self.leaf)


class Patcher:
    """Keeps W₀ of every parameter it has touched beside the live one, and the formed deltas, between generations.

    Networks are told apart by the identity of their patches: with the same Match again, only what changed is written.
    Not for use by two threads at once.
    """

    def __init__(self, model: Model, *, budget: int | None = None) -> None:
        self._model = model
        self._weights: dict[str, Weight] = {}
        self._kept = Kept(budget if budget is not None else 1 << 40)
        self._scratch = Scratch()
        self._standing: tuple[object, object] = (None, None)

    @contextmanager
    def patched(self, plan: PatchPlan) -> Iterator[At]:
        """Set the weights of the plan's scope to its first step, and yield `at(step)`, which sets them to another.

        Left cleanly, the weights stay as they are, so that the next plan changes only what differs. Left by any error,
        interrupt or close, every bit of every component is restored.
        """
        curves = {
            name: tuple((Source(one.patch, one.ranks), one.strengths) for one in planned)
            for name, planned in plan.patches.items()
        }
        token = object()

        def at(step: int) -> None:
            if not 1 <= step <= plan.steps:
                raise ValueError(f"Step {step} is not among 1 to {plan.steps}.")
            standing = (token, plan.state(step))
            if self._standing != standing:
                self._standing = (None, None)
                self._set(plan, curves, step)
                self._standing = standing

        left_cleanly = False
        try:
            wanted = {name: frozenset(source for source, _ in pairs) for name, pairs in curves.items()}
            self._kept.keep_only(wanted, plan.covers)
            if plan.steps:
                at(1)
            yield at
            left_cleanly = True
        finally:
            if not left_cleanly:
                self.restore()

    def restore(self) -> None:
        """Give every touched weight its pristine bits back, an interrupt meanwhile notwithstanding."""
        interrupted: KeyboardInterrupt | None = None
        while True:
            try:
                self._standing = (None, None)
                for weight in self._weights.values():
                    self._write(weight, "", ())
                break
            except KeyboardInterrupt as interrupt:
                interrupted = interrupt
        if interrupted:
            raise interrupted

    @property
    def touched(self) -> frozenset[str]:
        """The parameters whose pristine weights are kept."""
        return frozenset(self._weights)

    def memory(self) -> Memory:
        """What is held now."""
        pristine = sum(weight.pristine.nbytes for weight in self._weights.values())
        return Memory(pristine, self._kept.nbytes, self._scratch.nbytes, self._kept.budget)

    def pristine(self, name: str) -> Tensor:
        """W₀ of a parameter, whatever its live weight holds: a float32 copy on the live weight's device."""
        weight = self._weights.get(name)
        live = weight.live if weight else _storage(*_place(self._model, name))
        return (weight.pristine if weight else live).to(live.device, torch.float32, copy=True)

    def _set(self, plan: PatchPlan, curves: Mapping[str, Curves], step: int) -> None:
        """Write the weights that are to change; the scheduled ones first, whose deltas are the ones worth keeping."""
        others = [name for name in self._weights if name not in curves and plan.covers(name)]
        for name in (*sorted(curves, key=lambda name: name not in plan.scheduled), *others):
            mix = tuple((one, curve[step - 1]) for one, curve in curves.get(name, ()) if curve[step - 1])
            weight = self._weights.get(name) or (self._touch(name) if mix else None)
            if weight:
                self._write(weight, name, mix)

    def _touch(self, name: str) -> Weight:
        """Keep the pristine weight of a parameter, before anything is written to it."""
        module, leaf = _place(self._model, name)
        weight = self._weights[name] = Weight(module, leaf, _storage(module, leaf).clone())
        return weight

    def _write(self, weight: Weight, name: str, mix: Mix) -> None:
        if weight.holds == mix:
            return
        with torch.inference_mode(False), torch.no_grad():
            live = weight.live
            terms = [Term(self._form(name, one, live), strength) for one, strength in mix]
            weight.holds = None
            merge(live, weight.pristine, terms, self._scratch)
            weight.holds = mix

    def _form(self, name: str, source: Source, live: Tensor) -> Formed:
        return self._kept.take(name, source, lambda: form(source, name, live, self.pristine), live.device)


@contextmanager
def patched(model: Model, plan: PatchPlan) -> Iterator[At]:
    """`Patcher.patched` for once: every bit is restored on leaving, cleanly or not."""
    patcher = Patcher(model)
    try:
        with patcher.patched(plan) as at:
            yield at
    finally:
        patcher.restore()


def _place(model: Model, name: str) -> tuple[nn.Module, str]:
    """The module that owns a parameter, and the parameter's name in it."""
    component, _, path = name.partition(".")
    parent, _, leaf = path.rpartition(".")
    return model[component].get_submodule(parent), leaf


def _storage(module: nn.Module, leaf: str) -> Tensor:
    parameter = getattr(module, leaf)
    assert isinstance(parameter, Tensor)
    return parameter.data
