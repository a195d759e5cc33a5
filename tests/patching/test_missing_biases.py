"""A network may give a bias to a layer made without one: while it acts, the layer adds it; then nothing is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from app.patching.patcher import Patcher, patched
from app.patching.plan import PatchPlan, PlannedPatch
from tests.patching.tiny import DTYPES, FullPatch, low_rank

LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(6, 8, bias=False), (3, 5, 6)),
    "conv": (lambda: nn.Conv2d(6, 8, 3, bias=False), (2, 6, 7, 7)),
    "conv1d": (lambda: nn.Conv1d(6, 8, 1, bias=False), (2, 6, 7)),
}
layers = pytest.mark.parametrize("kind", LAYERS)


def model(kind: str, dtype: torch.dtype = torch.float32) -> tuple[nn.ModuleDict, Tensor]:
    torch.manual_seed(0)
    make, shape = LAYERS[kind]
    layer = nn.ModuleDict({"layer": make()}).to(dtype).requires_grad_(False)
    return layer, torch.randn(shape).to(dtype)


def plan_of(patch: object, *strengths: float) -> PatchPlan:
    return PatchPlan(len(strengths), {"unet.layer.bias": (PlannedPatch(patch, strengths),)})


@layers
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("memory", ["device", "forward"])
def test_it_adds_the_bias_at_each_strength_and_leaves_nothing(kind: str, dtype: torch.dtype, memory: str) -> None:
    live, x = model(kind, dtype)
    layer, before = live["layer"], live["layer"](x)
    delta = torch.randn(8)
    patcher = Patcher({"unet": live}, memory)  # type: ignore[arg-type]
    with patcher.patched(plan_of(FullPatch(delta), 1.0, 0.0, 0.5)) as at:
        for step, strength in ((1, 1.0), (3, 0.5), (2, 0.0), (3, 0.5)):
            at(step)
            bias = (strength * delta).to(dtype)
            wanted = before + bias.view(-1, *(1,) * len(layer.weight.shape[2:]))
            assert torch.equal(layer(x), wanted)
            assert layer.bias is None
            assert list(live.state_dict()) == ["layer.weight"]
    patcher.restore()
    assert torch.equal(layer(x), before)
    assert not layer._forward_hooks


def test_an_error_takes_the_bias_away() -> None:
    live, x = model("linear")
    before = live["layer"](x)
    with pytest.raises(KeyboardInterrupt), Patcher({"unet": live}).patched(plan_of(FullPatch(torch.ones(8)), 1.0)):
        raise KeyboardInterrupt
    assert torch.equal(live["layer"](x), before)
    assert not live["layer"]._forward_hooks


def test_two_biases_and_a_weight_add_up() -> None:
    live, x = model("linear")
    weight, biases = low_rank((8, 6)), (torch.randn(8), torch.randn(8))
    patches = {
        "unet.layer.weight": (PlannedPatch(weight, (0.5,)),),
        "unet.layer.bias": tuple(PlannedPatch(FullPatch(bias), (2.0,)) for bias in biases),
    }
    wanted = nn.functional.linear(x, live["layer"].weight + 0.5 * weight.up @ weight.down, 2 * (biases[0] + biases[1]))
    for memory in ("device", "forward"):
        with patched({"unet": live}, PatchPlan(1, patches)):
            torch.testing.assert_close(live["layer"](x), wanted, atol=1e-5, rtol=1e-5)
        patcher = Patcher({"unet": live}, memory)  # type: ignore[arg-type]
        with patcher.patched(PatchPlan(1, patches)):
            torch.testing.assert_close(live["layer"](x), wanted, atol=1e-5, rtol=1e-5)
        patcher.restore()


def test_a_weight_that_is_away_between_calls_gets_its_bias_too() -> None:
    """As accelerate offloads: the weight is on no device until the layer runs."""
    live, x = model("linear")
    weight, layer = live["layer"].weight, live["layer"]
    before = layer(x)
    layer.weight = nn.Parameter(weight.to("meta"), requires_grad=False)
    with patched({"unet": live}, plan_of(FullPatch(torch.ones(8)), 1.0)):
        layer.weight = weight
        assert torch.equal(layer(x), before + 1)
