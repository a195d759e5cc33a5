"""What patching costs, as ratios within one run: python -m tests.benchmarks.patching [float32 bfloat16 …]

The layers are those of SD 1.5's UNet: the attention, feed-forward and projection weights of its 16 transformers, 192 in
all, with a network of rank 32 on each. Contenders take turns, and the median of the rounds is kept, so that a busy
machine slows all of them alike. With one thread (OMP_NUM_THREADS=1) what is measured is processor time, which other
programs hardly touch; with more, the time on the clock.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor, nn

from app.patching.patcher import Patcher
from app.patching.plan import PatchPlan, PlannedPatch
from tests.patching.tiny import LowRankPatch

RANK = 32
STAGES = ((320, 2), (640, 2), (1280, 2), (1280, 1), (1280, 3), (640, 3), (320, 3))
"""Channels and transformers of each stage."""


class Figure(NamedTuple):
    """One figure. `target` is the most it may be; None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None = None


def shapes() -> list[tuple[int, int]]:
    """The 192 weights (out, in) that networks for SD 1.5 change."""
    found: list[tuple[int, int]] = []
    for width, count in STAGES:
        attention = [(width, width)] * 4 + [(width, width), (width, 768), (width, 768), (width, width)]
        found += (attention + [(8 * width, width), (width, 4 * width)] + [(width, width)] * 2) * count
    return found


class Subject:
    """A model of those layers in one dtype, with two networks, and the contenders."""

    def __init__(self, dtype: torch.dtype) -> None:
        self.dtype = dtype
        layers = [nn.Linear(columns, rows, bias=False, dtype=dtype) for rows, columns in shapes()]
        self.unet = nn.ModuleList(layers).requires_grad_(False)
        self.live = [layer.weight.data for layer in layers]
        self.base = [weight.clone() for weight in self.live]
        self.networks = [[patch(weight) for weight in self.live] for _ in range(2)]
        self.factors = [(one.up.to(dtype), one.down.to(dtype)) for one in self.networks[0]]
        self.stacked = [(torch.cat((up, up), dim=1), torch.cat((down, down))) for up, down in self.factors]
        self.patchers = {count: Patcher({"unet": self.unet}) for count in (0, 1, 2)}
        self.contexts = {count: self.patchers[count].patched(self.plan(count)) for count in (0, 1, 2)}
        self.at = {count: context.__enter__() for count, context in self.contexts.items()}

    def plan(self, count: int) -> PatchPlan:
        """`count` networks whose strengths differ, and change from step to step; with 0, one at a constant strength."""
        curves = ((0.5, 0.8), (0.6, 0.7)) if count else ((0.5, 0.5),)
        used = self.networks[: max(count, 1)]
        return PatchPlan(
            2,
            {
                f"unet.{index}.weight": tuple(
                    PlannedPatch(patches[index], curve, None, (str(place), 0, 0))
                    for place, (patches, curve) in enumerate(zip(used, curves, strict=False))
                )
                for index in range(len(self.live))
            },
        )

    def remerge(self, count: int) -> Callable[[int], None]:
        return lambda turn: self.at[count](1 + turn % 2)

    def copy(self, turn: int) -> None:
        for weight, base in zip(self.live, self.base, strict=True):
            weight.copy_(base)

    def addmm(self, turn: int) -> None:
        """One bare product and sum per layer, all in the stored dtype: what a merge cannot do without."""
        for weight, base, (up, down) in zip(self.live, self.base, self.factors, strict=True):
            torch.addmm(base, up, down, out=weight)

    def addmm_of_both(self, turn: int) -> None:
        """The same with the ranks of both networks: what two networks cannot do without."""
        for weight, base, (up, down) in zip(self.live, self.base, self.stacked, strict=True):
            torch.addmm(base, up, down, out=weight)

    def restore_then_add(self, turn: int) -> None:
        """What other systems do: give back the base, form the delta in float32, add it, round."""
        for weight, base, one in zip(self.live, self.base, self.networks[0], strict=True):
            weight.copy_(base)
            weight.copy_(weight.float() + (one.up @ one.down) * (0.5 + turn % 2 / 4))


def patch(weight: Tensor) -> LowRankPatch:
    """A random network of rank 32 for one weight."""
    rows, columns = weight.shape
    return LowRankPatch(torch.randn(rows, RANK) * 0.01, torch.randn(RANK, columns) * 0.01, (rows, columns))


def timer() -> Callable[[], float]:
    """Processor time where there is one thread, else the clock's."""
    return time.process_time if torch.get_num_threads() == 1 else time.perf_counter


def medians(contenders: Mapping[str, Callable[[int], None]], rounds: int) -> dict[str, float]:
    """Seconds of each, taken in turns."""
    clock = timer()
    taken: dict[str, list[float]] = {name: [] for name in contenders}
    for turn in range(rounds + 1):
        for name, run in contenders.items():
            start = clock()
            run(turn)
            if turn:
                taken[name].append(clock() - start)
    return {name: statistics.median(times) for name, times in taken.items()}


def patching_figures(dtype: torch.dtype = torch.float32, rounds: int = 15) -> list[Figure]:
    """Measure everything once; the half types have no target against addmm, which rounds twice and is not exact."""
    torch.manual_seed(0)
    clock = timer()
    subject = Subject(dtype)
    contenders = {
        "copy": subject.copy,
        "addmm": subject.addmm,
        "addmm of both": subject.addmm_of_both,
        "one": subject.remerge(1),
        "two": subject.remerge(2),
        "restore": subject.restore_then_add,
    }
    if dtype == torch.float16:  # the processor has no product of these: a hundred times slower
        del contenders["addmm"], contenders["addmm of both"]
    seconds = medians(contenders, rounds)
    start = clock()
    for turn in range(1000):
        subject.at[0](1 + turn % 2)
    unchanged = clock() - start
    label = str(dtype).removeprefix("torch.")
    memory = subject.patchers[1].memory()
    weights = sum(weight.nbytes for weight in subject.live)
    found = [
        ("copy of the weights", seconds["copy"] * 1e3, "ms", None),
        ("re-merge / copy", seconds["one"] / seconds["copy"], "×", None),
        ("two networks / one", seconds["two"] / seconds["one"], "×", 1.6),
        ("restore then add / re-merge", seconds["restore"] / seconds["one"], "×", None),
        ("step with unchanged strengths", unchanged, "ms", 0.1),
        ("memory kept / weights patched", memory.kept / weights, "×", None),
        ("peak working memory", memory.scratch / 2**20, "MiB", None),
    ]
    if "addmm" in seconds:
        target = 1.15 if dtype == torch.float32 else None
        found.insert(1, ("re-merge / bare addmm", seconds["one"] / seconds["addmm"], "×", target))
        found.insert(2, ("bare addmm of both / of one", seconds["addmm of both"] / seconds["addmm"], "×", None))
    return [Figure(f"{label}: {name}", value, unit, target) for name, value, unit, target in found]


if __name__ == "__main__":
    for name in sys.argv[1:] or ["float32", "bfloat16", "float16"]:
        for figure in patching_figures(getattr(torch, name)):
            verdict = "" if figure.target is None else f"  (at most {figure.target})"
            print(f"{figure.name:45} {figure.value:9.3f} {figure.unit}{verdict}", flush=True)
