"""The strength of every patch at every step: what a prompt's tags mean on the model in hand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import fsum

from app.errors import Problem
from app.networks.keys import Model
from app.networks.resolve import Match, PlacedPatch
from app.patching.places import Places
from app.prompt.schedule import ScheduledNetwork

Curve = tuple[float, ...]
"""A strength at each step."""

Rank = tuple[str, int, int]
"""Where a patch stands in the sum, so that the order of the tags does not matter: file, position in it, ranks kept."""


@dataclass(frozen=True, slots=True)
class PlannedPatch:
    """A patch and its strength at each step. `ranks` keeps that many of its ranks; `order` is its place in the sum."""

    patch: PlacedPatch
    strengths: Curve
    ranks: int | None = None
    order: Rank = ("", 0, 0)

    @property
    def scheduled(self) -> bool:
        """Whether its strength changes."""
        return len(set(self.strengths)) > 1


@dataclass(frozen=True)
class PatchPlan:
    """Which patches change which parameters, at which strength at each of `steps` steps (counted from 1).

    `scope` are the components the plan speaks for: within them, a parameter it does not name is to be pristine. None
    means all of them. What is wrong with the tags is in `problems`.
    """

    steps: int
    patches: Mapping[str, tuple[PlannedPatch, ...]] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    scope: frozenset[str] | None = None

    def covers(self, parameter: str) -> bool:
        """Whether the plan speaks for a parameter."""
        return self.scope is None or parameter.split(".", 1)[0] in self.scope

    def component(self, *names: str) -> PatchPlan:
        """The part of the plan that is about these components, and leaves the others as they are."""
        kept = {name: planned for name, planned in self.patches.items() if name.split(".", 1)[0] in names}
        return replace(self, patches=kept, scope=frozenset(names))

    @cached_property
    def scheduled(self) -> frozenset[str]:
        """The parameters whose strengths change from step to step; the others are static."""
        return frozenset(name for name, planned in self.patches.items() if any(one.scheduled for one in planned))

    @property
    def static(self) -> frozenset[str]:
        """The parameters that are the same at every step."""
        return frozenset(self.patches) - self.scheduled

    @cached_property
    def _curves(self) -> tuple[tuple[Rank, Curve], ...]:
        """The distinct strengths, each with the first file it belongs to."""
        found = {(one.order[0], one.strengths): one for planned in self.patches.values() for one in planned}
        return tuple((one.order, one.strengths) for one in found.values())

    @cached_property
    def _shape(self) -> int:
        """Tells apart plans whose strengths fall on different parameters."""
        curves = {(order[0], curve): index for index, (order, curve) in enumerate(self._curves)}
        return hash(
            tuple(
                (name, tuple((one.order, curves[one.order[0], one.strengths]) for one in planned))
                for name, planned in self.patches.items()
            )
        )

    def state(self, step: int) -> tuple[object, ...]:
        """The strengths at a step, hashable: equal states of one model and one set of files are equal weights.

        A plan without patches has one state, ().
        """
        if not self._curves:
            return ()
        return (self._shape, *(curve[step - 1] for _, curve in self._curves))

    @cached_property
    def moments(self) -> Mapping[tuple[object, ...], tuple[int, ...]]:
        """The distinct states, in order of appearance, each with its steps: what is encoded once per state."""
        found: dict[tuple[object, ...], list[int]] = {}
        for step in range(1, self.steps + 1):
            found.setdefault(self.state(step), []).append(step)
        return {state: tuple(steps) for state, steps in found.items()}


def plan(networks: Sequence[tuple[ScheduledNetwork, Match]], model: Model, steps: int) -> PatchPlan:
    """Give every patch its strength at every step.

    A parameter whose patches are 0 throughout is not in the plan. Patches of one network under several tags add up. A
    tag that names what this model does not have gets a problem and keeps the rest of its meaning.

    Raises:
        ValueError: a tag was scheduled over another number of steps.
    """
    places = Places(model)
    sums: dict[str, dict[tuple[int, int | None], list[PlannedPatch]]] = {}
    problems: list[Problem] = []
    for tag, match in networks:
        if any(len(curve) != steps for curve in tag.strengths.values()):
            raise ValueError(f"{tag.name} was scheduled over another number of steps than {steps}.")
        problems.extend(places.problems(tag))
        for name, planned in _planned(tag, match, places):
            sums.setdefault(name, {}).setdefault((id(planned.patch), planned.ranks), []).append(planned)
    patches = {
        name: tuple(sorted((_added(one) for one in sums[name].values()), key=lambda one: one.order))
        for name in sorted(sums)
    }
    return PatchPlan(steps, {name: kept for name, all_ in patches.items() if (kept := _kept(all_))}, tuple(problems))


def _planned(tag: ScheduledNetwork, match: Match, places: Places) -> Iterable[tuple[str, PlannedPatch]]:
    path = match.network.path.as_posix()
    for name, patches in match.patches.items():
        curve = places.strength(tag, name)
        for index, patch in enumerate(patches):
            yield name, PlannedPatch(patch, curve, tag.dyn, (path, index, tag.dyn or 0))


def _added(same: Sequence[PlannedPatch]) -> PlannedPatch:
    """One patch named by several tags: the sums are exactly rounded, so the tags' order does not matter."""
    if len(same) == 1:
        return same[0]
    return replace(same[0], strengths=tuple(map(fsum, zip(*(one.strengths for one in same), strict=True))))


def _kept(planned: Iterable[PlannedPatch]) -> tuple[PlannedPatch, ...]:
    return tuple(one for one in planned if any(one.strengths))
