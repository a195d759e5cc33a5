"""A compiled model stays compiled: changing networks changes numbers in storage, and nothing a graph depends on."""

from __future__ import annotations

import os
import shutil

import pytest
import torch
from diffusers import UNet2DConditionModel
from torch import nn
from torch._dynamo.testing import CompileCounter

from app.patching.patcher import Patcher
from app.patching.plan import PatchPlan, PlannedPatch
from tests.diffusion.models import UNET
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


@pytest.mark.skipif(
    not os.environ.get("PATCHBAY_SLOW") or shutil.which("g++") is None,
    reason="compiles a UNet in C++: set PATCHBAY_SLOW, where there is a compiler",
)
def test_a_unet_compiled_to_machine_code_follows_ten_changes_of_networks() -> None:
    torch._dynamo.reset()
    torch.manual_seed(0)
    unet = UNet2DConditionModel(**UNET, cross_attention_dim=16).requires_grad_(False)
    layers = {f"unet.{name}": part for name, part in unet.named_parameters() if part.dim() == 2 and "attn" in name}
    x, text = torch.randn(2, 4, 8, 8), torch.randn(2, 7, 16)
    patcher = Patcher({"unet": unet})
    compiled = torch.compile(unet)
    base = unet(x, 500, text).sample
    with torch.no_grad(), torch._dynamo.config.patch(error_on_recompile=True):
        for turn in range(10):
            patches = {
                name: (PlannedPatch(low_rank(tuple(part.shape)), (1.0 - turn / 20,)),) for name, part in layers.items()
            }
            with patcher.patched(PatchPlan(1, patches)):
                expected = unet(x, 500, text).sample
                torch.testing.assert_close(compiled(x, 500, text).sample, expected, rtol=1e-3, atol=1e-4)
                assert not torch.allclose(expected, base, rtol=1e-2, atol=1e-3)
        patcher.restore()
        torch.testing.assert_close(compiled(x, 500, text).sample, base, rtol=1e-3, atol=1e-4)


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
