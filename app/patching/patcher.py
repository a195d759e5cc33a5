"""The weights of a loaded model, made to follow a plan, and given back bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial

import torch
from torch import Tensor

from app.networks.keys import Model
from app.patching.formed import Kept, Source, form
from app.patching.kernels import Formed, Term, precise
from app.patching.memory import SHARE, Memory, MemoryMode, choose, fits, free
from app.patching.merger import Merger
from app.patching.plan import PatchPlan
from app.patching.slots import Slot
from app.patching.weights import Weight, keep

At = Callable[[int], None]
"""Sets every weight of the plan's scope to what it is at a step, counted from 1."""

Mix = tuple[tuple[Source, float], ...]
"""What a weight holds besides W₀: patches and their strengths, none of them 0."""

Curves = Mapping[str, tuple[tuple[Source, tuple[float, ...]], ...]]
"""By parameter: its patches, and their strength at each step."""


class Patcher:
    """Keeps W₀ of every parameter it has touched beside the live one, and the formed deltas, between generations.

    Networks are told apart by the identity of their patches: with the same Match again, only what changed is written.
    `budget` bounds the bytes of formed deltas; what does not fit is formed when it is needed. For one thread at a time.
    """

    def __init__(self, model: Model, memory: MemoryMode = "auto", *, budget: int | None = None) -> None:
        self._model = model
        self._mode: MemoryMode = memory
        self._weights: dict[str, Weight] = {}
        self._holds: dict[str, Mix | None] = {}
        """What each touched weight holds; None while it is being written, so that an interrupt cannot deceive us."""
        self._kept = Kept(budget)
        self._merger = Merger()
        self._standing: tuple[object, object] = (None, None)

    @contextmanager
    def patched(self, plan: PatchPlan, first: int = 1) -> Iterator[At]:
        """Set the weights of the plan's scope to step `first`, and yield `at(step)`, which sets them to another.

        Left cleanly, the weights stay as they are, so that the next plan changes only what differs. Left by any error,
        interrupt or close, every bit of every component is restored.
        """
        curves = {  # the scheduled ones first, whose deltas are worth keeping
            name: tuple((Source(one.patch, one.ranks), one.strengths) for one in plan.patches[name])
            for name in sorted(plan.patches, key=lambda name: name not in plan.scheduled)
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
            self._prepare(plan, curves)
            at(first)
            yield at
            left_cleanly = True
        finally:
            if not left_cleanly:
                self.restore()

    def restore(self) -> None:
        """Give every touched weight its pristine bits back, though one may fail or an interrupt come meanwhile."""
        self._standing = (None, None)
        try:
            with ExitStack() as stack:
                for name in [name for name, mix in self._holds.items() if mix != ()]:
                    stack.callback(self._restore, name)
        except KeyboardInterrupt:
            self.restore()
            raise

    def trim(self) -> None:
        """Give back the copies of weights that are pristine now. They are taken again when a network needs them."""
        for name in [name for name, mix in self._holds.items() if mix == ()]:
            del self._weights[name], self._holds[name]
            self._kept.keep_only({}, name.__eq__)
        self._merger.scratch.clear()

    @property
    def touched(self) -> frozenset[str]:
        """The parameters whose pristine weights are kept."""
        return frozenset(self._weights)

    def memory(self) -> Memory:
        """What is held now."""
        pristine = sum(weight.nbytes for weight in self._weights.values())
        return Memory(pristine, self._kept.nbytes, self._merger.scratch.nbytes, self._kept.budget or 0)

    def pristine(self, name: str) -> Tensor:
        """W₀ of a parameter, whatever its live weight holds: a float32 copy on the live weight's device."""
        weight = self._weights.get(name)
        return weight.pristine() if weight else self._slot(name).read()

    def _prepare(self, plan: PatchPlan, curves: Curves) -> None:
        """Keep W₀ of what the plan names, and drop the deltas it does not."""
        wanted = {name: frozenset(source for source, _ in pairs) for name, pairs in curves.items()}
        self._kept.keep_only(wanted, plan.covers)
        slots = [self._slot(name) for name in curves if name not in self._weights]
        with precise():
            for device in dict.fromkeys(slot.live.device for slot in slots):
                self._keep([slot for slot in slots if slot.live.device == device], device)

    def _keep(self, slots: Sequence[Slot], device: torch.device) -> None:
        """Make weights of parameters of one device, before anything is written to them."""
        if self._kept.budget is None:
            self._kept.budget = free(device) // SHARE
        need = sum(slot.live.nbytes for slot in slots if slot.mergeable)
        if self._mode == "auto" and not fits(need, device):
            self.trim()
        keeping = choose(self._mode, need, device) if need else "forward"
        for slot in slots:
            self._weights[slot.name] = keep(slot, keeping)
            self._holds[slot.name] = ()

    def _set(self, plan: PatchPlan, curves: Curves, step: int) -> None:
        """Write the weights of the plan's scope that are to change."""
        mixes: dict[str, Mix] = {name: () for name in self._weights if name not in curves and plan.covers(name)}
        for name, pairs in curves.items():
            mixes[name] = tuple([(source, curve[step - 1]) for source, curve in pairs if curve[step - 1]])
        self._write(mixes)

    def _write(self, mixes: Mapping[str, Mix]) -> None:
        """Make the weights hold these, where they do not yet."""
        with precise(), self._merger.batch() as do:
            begun: dict[str, Mix] = {}
            for name, mix in mixes.items():
                if self._holds[name] != mix:
                    weight = self._weights[name]
                    device = weight.slot.live.device
                    terms = [Term(self._form(weight.slot, one, device), strength) for one, strength in mix]
                    self._holds[name] = None
                    begun[name] = mix
                    do(weight.set(terms, partial(self._kept.join, name)))
        self._holds.update(begun)

    def _form(self, slot: Slot, source: Source, device: torch.device) -> Formed:
        return self._kept.take(source, slot.name, device, lambda: form(source, slot, self.pristine))

    def _restore(self, name: str) -> None:
        self._write({name: ()})

    def _slot(self, name: str) -> Slot:
        """Find a parameter by its full name ("unet.mid_block.….weight")."""
        component, _, path = name.partition(".")
        parent, _, leaf = path.rpartition(".")
        return Slot(name, self._model[component].get_submodule(parent), leaf)


@contextmanager
def patched(model: Model, plan: PatchPlan) -> Iterator[At]:
    """`Patcher.patched` for once: every bit is restored on leaving, cleanly or not."""
    patcher = Patcher(model)
    try:
        with patcher.patched(plan) as at:
            yield at
    finally:
        patcher.restore()
