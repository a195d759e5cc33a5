"""Layers as real quantisers make them: networks run beside them, exactly, and leave no trace.

Each law is tried where the quantiser is installed; none of them is needed to use the studio.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from app.patching.patcher import Patcher
from app.patching.plan import PatchPlan, PlannedPatch
from tests.patching.tiny import FullPatch, GainPatch, LowRankPatch, low_rank

ROWS, COLUMNS = 96, 64


def plain() -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(COLUMNS, ROWS).requires_grad_(False)


def bitsandbytes_4bit(kind: str) -> nn.Module:
    nn_ = pytest.importorskip("bitsandbytes").nn
    layer = nn_.Linear4bit(COLUMNS, ROWS, quant_type=kind, compute_dtype=torch.float32)
    layer.load_state_dict(plain().state_dict())
    return layer.requires_grad_(False).to("cpu")


def bitsandbytes_8bit() -> nn.Module:
    nn_ = pytest.importorskip("bitsandbytes").nn
    layer = nn_.Linear8bitLt(COLUMNS, ROWS, has_fp16_weights=False)
    layer.load_state_dict(plain().state_dict())
    return layer.requires_grad_(False).to("cpu")


def torchao(config: str) -> nn.Module:
    pytest.importorskip("torchao")
    from torchao import quantization

    model = nn.Sequential(plain())
    quantization.quantize_(model, getattr(quantization, config)())
    return model[0]


def gguf(kind: str) -> nn.Module:
    file = pytest.importorskip("gguf")
    from diffusers.quantizers.gguf.utils import GGUFLinear, GGUFParameter

    kind = getattr(file.GGMLQuantizationType, kind)
    source = plain()
    layer = GGUFLinear(COLUMNS, ROWS, bias=True, compute_dtype=torch.float32)
    packed = torch.from_numpy(file.quants.quantize(source.weight.numpy(), kind))
    layer.weight = GGUFParameter(packed, quant_type=kind)
    layer.bias = source.bias
    return layer.requires_grad_(False)


LAYERS: dict[str, Callable[[], nn.Module]] = {
    "bitsandbytes nf4": lambda: bitsandbytes_4bit("nf4"),
    "bitsandbytes fp4": lambda: bitsandbytes_4bit("fp4"),
    "bitsandbytes int8": bitsandbytes_8bit,
    "torchao int8": lambda: torchao("Int8WeightOnlyConfig"),
    "torchao float8": lambda: torchao("Float8WeightOnlyConfig"),
    "torchao int8 of both": lambda: torchao("Int8DynamicActivationInt8WeightConfig"),
    "gguf Q8_0": lambda: gguf("Q8_0"),
    "gguf Q4_0": lambda: gguf("Q4_0"),
}

PATCHES = {
    "low-rank": lambda: low_rank((ROWS, COLUMNS)),
    "full": lambda: FullPatch(torch.randn(ROWS, COLUMNS) * 0.2),
    "of the weight": lambda: GainPatch("unet.weight", 0.5),
}


@pytest.fixture(params=LAYERS, ids=str)
def layer(request: pytest.FixtureRequest) -> nn.Module:
    with warnings.catch_warnings():  # what quantisers say about themselves on import
        warnings.simplefilter("ignore")
        return LAYERS[request.param]()


def acting(layer: nn.Module) -> Tensor:
    """The weight it acts with, seen from outside."""
    return (layer(torch.eye(COLUMNS)) - layer.bias.float()).float().T


def stored(layer: nn.Module) -> list[bytes]:
    tensors = [getattr(layer.weight, name) for name in ("qdata", "scale") if hasattr(layer.weight, name)]
    return [one.contiguous().view(torch.uint8).numpy().tobytes() for one in tensors or [layer.weight.data]]


@pytest.mark.parametrize("kind", PATCHES)
def test_a_network_beside_a_quantised_layer_acts_as_one_merged_into_what_it_acts_as(
    layer: nn.Module, kind: str
) -> None:
    layer(torch.eye(COLUMNS))  # some arrange their storage at the first call
    x = torch.randn(5, COLUMNS)
    weight, base, bytes_ = acting(layer), layer(x), stored(layer)
    patch = PATCHES[kind]()
    delta = patch.delta(lambda name: weight)
    patcher = Patcher({"unet": layer}, "device")
    with patcher.patched(PatchPlan(2, {"unet.weight": (PlannedPatch(patch, (0.7, 0.0)),)})) as at:
        torch.testing.assert_close(layer(x).float(), (base + x @ (0.7 * delta).T).float(), rtol=1e-3, atol=1e-3)
        at(2)
        assert torch.equal(layer(x), base)
        at(1)
        assert stored(layer) == bytes_
    patcher.restore()
    assert torch.equal(layer(x), base)
    assert not layer._forward_hooks and stored(layer) == bytes_


def test_the_pristine_weight_is_what_the_layer_acts_as(layer: nn.Module) -> None:
    weight = acting(layer)
    patch = LowRankPatch(torch.ones(ROWS, 1), torch.ones(1, COLUMNS), (ROWS, COLUMNS))
    patcher = Patcher({"unet": layer})
    with patcher.patched(PatchPlan(1, {"unet.weight": (PlannedPatch(patch, (1.0,)),)})):
        torch.testing.assert_close(patcher.pristine("unet.weight"), weight, rtol=1e-3, atol=1e-3)
    assert tuple(weight.shape) == (ROWS, COLUMNS)
    torch.testing.assert_close(weight, plain().weight, rtol=0, atol=0.05)
