"""A compiled model stays compiled: changing networks changes numbers in storage, and nothing a graph depends on."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch._dynamo.testing import CompileCounter

from app.patching.patcher import Patcher
from app.patching.plan import PatchPlan, PlannedPatch
from tests.patching.tiny import constant, low_rank, model, network


def test_ten_changes_of_networks_recompile_nothing() -> None:
    torch._dynamo.reset()
    live = model()
    counter = CompileCounter()
    compiled = torch.compile(live["unet"], backend=counter, fullgraph=True)
    x = torch.randn(3, 24)
    patcher = Patcher(live)
    with torch.no_grad():
        for turn in range(10):
            with patcher.patched(constant(network("ink", turn), turn / 5)):
                torch.testing.assert_close(compiled(x), live["unet"](x))
        patcher.restore()
        torch.testing.assert_close(compiled(x), live["unet"](x))
    assert counter.frame_count == 1


def test_strengths_applied_beside_a_layer_recompile_nothing() -> None:
    torch._dynamo.reset()
    layer = nn.Linear(24, 40).requires_grad_(False)
    strengths = (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 1.1)
    plan = PatchPlan(10, {"unet.weight": (PlannedPatch(low_rank((40, 24)), strengths),)})
    counter = CompileCounter()
    x = torch.randn(3, 24)
    with Patcher({"unet": layer}, "forward").patched(plan) as at:
        layer(x)
        compiled = torch.compile(layer, backend=counter, fullgraph=True)
        for step in range(1, 11):
            at(step)
            torch.testing.assert_close(compiled(x), layer(x))
    assert counter.frame_count == 1


@pytest.mark.parametrize("mode", ["device", "forward"])
def test_a_module_keeps_its_attributes(mode: str) -> None:
    live = model()
    before = {name: set(vars(module)) for name, module in live["unet"].named_modules()}
    with Patcher(live, mode).patched(constant(network("ink", 0), 1.0)):
        assert {name: set(vars(module)) for name, module in live["unet"].named_modules()} == before
