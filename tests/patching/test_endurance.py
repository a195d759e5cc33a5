"""After any number of generations, interrupted or not, the base is byte for byte what it was, and memory is flat."""

from __future__ import annotations

import gc
import random
import threading
from contextlib import suppress

import pytest
import torch

from app.patching.patcher import Patcher
from app.patching.plan import PatchPlan, plan
from tests.patching.tiny import FullPatch, LowRankPatch, bits, constant, model, network, pointers, tag

GENERATIONS = 200
NETWORKS = [network(f"n{seed}", seed) for seed in range(5)]


class Trouble(Exception):
    """An error in the midst of a generation."""


def tags(chance: random.Random, steps: int) -> list[tuple[object, object]]:
    def curve() -> tuple[float, ...]:
        if chance.random() < 0.5:
            return (chance.choice((0.0, 0.5, 1.0, -0.3)),) * steps
        return tuple(chance.choice((0.0, chance.uniform(-1, 2))) for _ in range(steps))

    return [(tag(*curve(), te=curve()), chance.choice(NETWORKS)) for _ in range(chance.randint(0, 3))]


def generate(patcher: Patcher, planned: PatchPlan, chance: random.Random) -> None:
    """One generation as the engine runs it, that may fail at any step."""
    for scope in ("text_encoder", "unet"):
        with patcher.patched(planned.component(scope)) as at:
            for step in range(1, planned.steps + 1):
                at(step)
                if chance.random() < 0.05:
                    raise chance.choice((Trouble, KeyboardInterrupt, MemoryError))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("budget", [None, 4000, 0])
def test_random_generations_with_errors_end_at_the_base(dtype: torch.dtype, budget: int | None) -> None:
    live = model(dtype)
    base, where = bits(live), pointers(live)
    patcher = Patcher(live, budget=budget)
    chance = random.Random(7)
    tensors: list[int] = []
    for turn in range(GENERATIONS):
        steps = chance.randint(1, 4)
        try:
            generate(patcher, plan(tags(chance, steps), live, steps), chance)
        except (Trouble, KeyboardInterrupt, MemoryError):
            assert bits(live) == base
        assert budget is None or patcher.memory().formed <= budget
        if turn % 100 == 99:
            with patcher.patched(PatchPlan(1)):
                assert bits(live) == base
            gc.collect()
            tensors.append(sum(type(thing) is torch.Tensor for thing in gc.get_objects()))
    assert tensors[-1] <= tensors[0] + 2
    assert pointers(live) == where
    assert patcher.memory().formed == 0


def test_what_a_budget_leaves_no_room_for_gives_the_same_bits() -> None:
    live, frugal = model(), model()
    found = plan([(tag(0.2, 0.9), NETWORKS[0]), (tag(1.0, 0.0), NETWORKS[1])], live, 2)
    with Patcher(live).patched(found) as at, Patcher(frugal, budget=0).patched(found) as at_frugally:
        for step in (1, 2, 1):
            at(step)
            at_frugally(step)
            assert bits(live) == bits(frugal)


@pytest.mark.parametrize("place", range(5))
def test_an_interrupt_in_the_midst_of_a_weight_is_survived(place: int) -> None:
    class Interrupting(FullPatch):
        """Interrupts the first time it is asked."""

        def delta(self, pristine: object) -> torch.Tensor:
            raise KeyboardInterrupt

    live = model()
    base = bits(live)
    patcher = Patcher(live)
    planned = constant(NETWORKS[1], 1.0)
    name = list(planned.patches)[place]
    with patcher.patched(planned):
        held = bits(live)
    broken = constant(NETWORKS[2], 1.0)
    object.__setattr__(broken.patches[name][0], "patch", Interrupting(torch.zeros(0)))
    with pytest.raises(KeyboardInterrupt), patcher.patched(broken):
        pass
    assert bits(live) == base
    with patcher.patched(planned):
        assert bits(live) == held


def test_an_interrupt_while_restoring_is_raised_after_every_bit_is_back(monkeypatch: pytest.MonkeyPatch) -> None:
    live = model()
    base = bits(live)
    patcher = Patcher(live)
    with patcher.patched(constant(NETWORKS[0], 1.0)):
        pass
    copy, interrupts = torch.Tensor.copy_, iter([True])

    def interrupted(self: torch.Tensor, *arguments: object, **options: object) -> torch.Tensor:
        if next(interrupts, False):
            raise KeyboardInterrupt
        return copy(self, *arguments, **options)

    monkeypatch.setattr(torch.Tensor, "copy_", interrupted)
    with pytest.raises(KeyboardInterrupt):
        patcher.restore()
    assert bits(live) == base


def test_a_thread_that_dies_leaves_the_base_behind() -> None:
    live = model()
    base = bits(live)
    patcher = Patcher(live)

    def work() -> None:
        with suppress(SystemExit), patcher.patched(constant(NETWORKS[0], 1.0, 3)) as at:
            at(2)
            raise SystemExit

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert bits(live) == base


def test_equal_plans_form_nothing_anew() -> None:
    calls: list[str] = []

    class Counted(LowRankPatch):
        def factors(self) -> tuple[torch.Tensor, torch.Tensor]:
            calls.append("factors")
            return LowRankPatch.factors(self)

    live = model()
    found = network("ink", 0, ("low",))
    counted = {
        name: (Counted(one.up, one.down, one.shape),) if isinstance(one, LowRankPatch) else (one,)
        for name, (one,) in found.patches.items()
    }
    patcher = Patcher(live)
    for _ in range(3):
        with patcher.patched(constant(type(found)(found.path, counted), 0.5, 3)) as at:
            for step in (1, 2, 3):
                at(step)
    assert len(calls) == len(counted)
