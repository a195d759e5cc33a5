"""Applied in the forward pass, networks do what they do when merged; quantised layers take this road by themselves."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from app.errors import NetworkError
from app.patching.patcher import Patcher, patched
from app.patching.plan import PatchPlan, PlannedPatch
from tests.patching.tiny import DTYPES, FullPatch, GainPatch, bits, constant, low_rank, model, network

dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


class Packed(nn.Linear):
    """A linear layer whose weight is stored as bytes, as quantisers store it."""

    def __init__(self, columns: int, rows: int) -> None:
        super().__init__(columns, rows)
        self.scale = 1 / 64
        packed = torch.randint(0, 256, (rows * columns,), dtype=torch.uint8)
        self.weight = nn.Parameter(packed, requires_grad=False)

    def unpacked(self) -> Tensor:
        return (self.weight.float() - 128).view(self.out_features, self.in_features) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.unpacked().to(x), self.bias)


def step(name: str, *patches: tuple[object, float]) -> PatchPlan:
    return PatchPlan(1, {name: tuple(PlannedPatch(patch, (strength,)) for patch, strength in patches)})


@dtypes
def test_merged_equals_forward_applied(dtype: torch.dtype) -> None:
    merged, beside = model(dtype), model(dtype)
    x, image = torch.randn(5, 24, dtype=dtype), torch.randn(2, 4, 7, 7, dtype=dtype)
    with (
        Patcher(merged).patched(constant(network("ink", 1, ("low", "full")), 0.6)),
        Patcher(beside, "forward").patched(constant(network("ink", 1, ("low", "full")), 0.6)),
    ):
        near = {"rtol": 40 * torch.finfo(dtype).eps, "atol": 40 * torch.finfo(dtype).eps}
        torch.testing.assert_close(beside["unet"](x), merged["unet"](x), **near)
        torch.testing.assert_close(beside["unet"].conv(image), merged["unet"].conv(image), **near)


@pytest.mark.parametrize("kind", ["low", "full"])
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, dilation=2),
        nn.Conv2d(4, 6, 3, padding="same", padding_mode="reflect"),
        nn.Conv2d(4, 6, 3, groups=2),
        nn.Conv2d(4, 4, 3, groups=4),
        nn.Conv1d(4, 6, 1),
        nn.Conv3d(4, 6, (1, 3, 3), padding=(0, 1, 1)),
        nn.Linear(4, 6, bias=False),
    ],
    ids=str,
)
def test_every_layer_that_merges_can_be_run_beside(layer: nn.Module, kind: str) -> None:
    torch.manual_seed(1)
    layer.requires_grad_(False)
    shape = tuple(layer.weight.shape)
    patch = low_rank(shape, 2) if kind == "low" else FullPatch(torch.randn(shape))
    x = torch.randn(3, 4) if isinstance(layer, nn.Linear) else torch.randn(2, 4, *(9,) * (len(shape) - 2))
    plan = step("unet.weight", (patch, 0.5))
    with patched({"unet": layer}, plan):
        merged = layer(x)
    with Patcher({"unet": layer}, "forward").patched(plan):
        torch.testing.assert_close(layer(x), merged, rtol=1e-4, atol=1e-5)


def test_strengths_change_without_new_tensors() -> None:
    live = model()
    x = torch.randn(5, 24)
    base = live["unet"](x)
    name = "unet.to_q.weight"
    plan = PatchPlan(3, {name: (PlannedPatch(low_rank((40, 24)), (1.0, 0.5, 0.0)),)})
    before = bits(live)
    with Patcher(live, "forward").patched(plan) as at:
        whole = live["unet"](x) - base
        at(2)
        torch.testing.assert_close(live["unet"](x) - base, whole / 2, rtol=1e-4, atol=1e-5)
        at(3)
        assert torch.equal(live["unet"](x), base)
        assert bits(live) == before


def test_after_an_error_no_hook_is_left() -> None:
    live = model()
    with pytest.raises(RuntimeError), Patcher(live, "forward").patched(constant(network("ink", 1), 1.0)):
        raise RuntimeError
    assert not any(module._forward_hooks for part in live.values() for module in part.modules())


def test_a_quantised_layer_is_run_beside_whatever_the_mode() -> None:
    layer = Packed(16, 8)
    x = torch.randn(3, 16)
    base, stored = layer(x), layer.weight.clone()
    low, full = low_rank((8, 16)), FullPatch(torch.randn(8, 16))
    plan = step("unet.weight", (low, 0.5), (full, -0.3))
    with Patcher({"unet": layer}, "device").patched(plan):
        expected = base + x @ (0.5 * low.up @ low.down - 0.3 * full.difference).T
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
        assert torch.equal(layer.weight, stored)
    assert Patcher({"unet": layer}).pristine("unet.weight").sub(layer.unpacked()).abs().max() < 1e-5


def test_deltas_of_a_quantised_weight_are_formed_from_what_it_acts_as() -> None:
    layer = Packed(16, 8)
    x = torch.randn(3, 16)
    expected = nn.functional.linear(x, layer.unpacked() * 1.5, layer.bias)
    with Patcher({"unet": layer}).patched(step("unet.weight", (GainPatch("unet.weight", 1.0), 0.5))):
        torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_float8_storage_is_not_written() -> None:
    layer = nn.Linear(16, 8)
    weight = layer.weight.detach().to(torch.float8_e4m3fn)
    layer.weight = nn.Parameter(weight, requires_grad=False)
    patcher = Patcher({"unet": layer})
    with patcher.patched(step("unet.weight", (low_rank((8, 16)), 1.0))):
        assert torch.equal(layer.weight.view(torch.uint8), weight.view(torch.uint8))
        assert torch.equal(patcher.pristine("unet.weight"), weight.float())


def test_a_quantised_embedding_is_refused_by_name() -> None:
    embedding = nn.Embedding(4, 4)
    embedding.weight = nn.Parameter(torch.zeros(4, 4, dtype=torch.int8), requires_grad=False)
    plan = step("unet.weight", (FullPatch(torch.ones(4, 4)), 1.0))
    with pytest.raises(NetworkError, match=r"unet\.weight.*Embedding"), patched({"unet": embedding}, plan):
        pass
