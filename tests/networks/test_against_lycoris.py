"""LyCORIS as the oracle: the weight that its training forward computes with is the weight we merge.

Not its `merge_to`, which scales LoHa and LoKr twice. The modules are its own, with random numbers in them.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from .files_made import deltas, on_layer

lycoris = pytest.importorskip("lycoris.modules")
from lycoris.modules.boft import ButterflyOFTModule  # noqa: E402
from lycoris.modules.diag_oft import DiagOFTModule  # noqa: E402
from lycoris.modules.full import FullModule  # noqa: E402
from lycoris.modules.glora import GLoRAModule  # noqa: E402
from lycoris.modules.ia3 import IA3Module  # noqa: E402
from lycoris.modules.locon import LoConModule  # noqa: E402
from lycoris.modules.loha import LohaModule  # noqa: E402
from lycoris.modules.lokr import LokrModule  # noqa: E402
from lycoris.modules.norms import NormModule  # noqa: E402
from lycoris.modules.tlora import TLoraModule  # noqa: E402

quick = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


@st.composite
def layers(draw: st.DrawFn, kinds: tuple[str, ...] = ("linear", "conv1", "conv3", "conv13")) -> nn.Module:
    """A Linear or a convolution, of sizes with factors to spare, with random weights."""
    torch.manual_seed(draw(st.integers(0, 10_000)))
    out, inner = draw(st.sampled_from([8, 12, 16, 24])), draw(st.sampled_from([6, 8, 12, 20]))
    bias = draw(st.booleans())
    match draw(st.sampled_from(kinds)):
        case "linear":
            return nn.Linear(inner, out, bias=bias)
        case "conv1":
            return nn.Conv2d(inner, out, 1, bias=bias)
        case "conv3":
            return nn.Conv2d(inner, out, 3, padding=1, bias=bias)
        case _:
            return nn.Conv2d(inner, out, (1, 3), bias=bias)


def made(kind: type, layer: nn.Module, strength: float = 1.0, **options: Any) -> Any:
    """A LyCORIS module on the layer, its parameters random."""
    module = kind("layer", layer, multiplier=strength, **options)
    for name, parameter in module.named_parameters():
        spread = 0.3 if "oft_blocks" in name else 0.5
        parameter.data = parameter.data + torch.randn_like(parameter) * spread
    return module


def forward_delta(module: Any, layer: nn.Module) -> Tensor:
    """The change of the weight that the module's own forward computes with."""
    seen: list[Tensor] = []
    operation = module.op

    def spy(x: Tensor, weight: Tensor, *rest: Any, **options: Any) -> Tensor:
        seen.append(weight.detach())
        return operation(x, weight, *rest, **options)

    module.op = spy
    conv = isinstance(layer, nn.Conv2d)
    module(torch.zeros(1, layer.in_channels, 5, 5) if conv else torch.zeros(1, layer.in_features))
    (weight,) = seen
    return weight.reshape(layer.weight.shape)


def same(layer: nn.Module, module: Any, metadata: Mapping[str, str] | None = None) -> None:
    """What we make of the module's file is what the module's forward makes."""
    with tempfile.TemporaryDirectory() as folder:
        tensors = {name: torch.as_tensor(value) for name, value in module.state_dict().items()}
        ours = deltas(on_layer(Path(folder), layer, tensors, metadata), layer)["weight"]
    theirs = forward_delta(module, layer)
    torch.testing.assert_close(ours, theirs, atol=3e-5 * float(theirs.abs().max() + 1), rtol=1e-4)


ranks = st.integers(1, 6)
alphas = st.sampled_from([0.5, 1, 3, 8.0])


@quick
@given(layers(), ranks, alphas, st.booleans(), st.booleans(), st.booleans(), st.sampled_from([None, True, False]))
def test_locon_and_its_dora(
    layer: nn.Module, rank: int, alpha: float, tucker: bool, scalar: bool, rs: bool, decompose: bool | None
) -> None:
    options = {"use_tucker": tucker, "use_scalar": scalar, "rs_lora": rs, "weight_decompose": decompose is not None}
    same(layer, made(LoConModule, layer, lora_dim=rank, alpha=alpha, wd_on_out=bool(decompose), **options))


@quick
@given(layers(), ranks, alphas, st.booleans(), st.booleans(), st.sampled_from([None, True, False]))
def test_loha_and_its_dora(
    layer: nn.Module, rank: int, alpha: float, tucker: bool, scalar: bool, decompose: bool | None
) -> None:
    options = {"use_tucker": tucker, "use_scalar": scalar, "weight_decompose": decompose is not None}
    same(layer, made(LohaModule, layer, lora_dim=rank, alpha=alpha, wd_on_out=bool(decompose), **options))


@settings(quick, max_examples=24)
@given(
    layers(),
    st.sampled_from([1, 2, 4, 100]),
    alphas,
    st.fixed_dictionaries(
        {
            "use_tucker": st.booleans(),
            "decompose_both": st.booleans(),
            "full_matrix": st.booleans(),
            "unbalanced_factorization": st.booleans(),
            "use_scalar": st.booleans(),
            "factor": st.sampled_from([-1, 2, 4, 8]),
        }
    ),
    st.sampled_from([None, True, False]),
)
def test_lokr_in_every_factorisation_and_its_dora(
    layer: nn.Module, rank: int, alpha: float, options: dict[str, Any], decompose: bool | None
) -> None:
    options = {**options, "weight_decompose": decompose is not None, "wd_on_out": bool(decompose)}
    same(layer, made(LokrModule, layer, lora_dim=rank, alpha=alpha, **options))


@quick
@given(layers(), ranks, alphas, st.booleans())
def test_glora(layer: nn.Module, rank: int, alpha: float, rs: bool) -> None:
    metadata = {"ss_network_args": f'{{"algo": "glora", "rs_lora": "{rs}"}}'}
    same(layer, made(GLoRAModule, layer, lora_dim=rank, alpha=alpha, rs_lora=rs), metadata)


@quick
@given(layers(), st.booleans())
def test_ia3(layer: nn.Module, on_input: bool) -> None:
    same(layer, made(IA3Module, layer, train_on_input=on_input))


@quick
@given(layers(), st.sampled_from([2, 3, 4, 8]), st.sampled_from([0, 1e-3, 0.05]), st.booleans())
def test_diag_oft(layer: nn.Module, size: int, constraint: float, rescaled: bool) -> None:
    same(layer, made(DiagOFTModule, layer, lora_dim=size, constraint=constraint, rescaled=rescaled))


@quick
@given(layers(), st.sampled_from([4, 8]), st.sampled_from([0, 1e-3, 0.05]), st.booleans())
def test_boft(layer: nn.Module, size: int, constraint: float, rescaled: bool) -> None:
    assume((layer.weight.shape[0] & (layer.weight.shape[0] - 1)) == 0 or size == 8)  # LyCORIS finds no butterfly
    same(layer, made(ButterflyOFTModule, layer, lora_dim=size, constraint=constraint, rescaled=rescaled))


@settings(quick, max_examples=4)  # LyCORIS collects all garbage whenever it makes one
@given(layers(("linear", "conv1")), ranks, alphas, st.sampled_from(["principal", "middle", "last"]))
def test_tlora(layer: nn.Module, rank: int, alpha: float, triplets: str) -> None:
    metadata = {"ss_network_args": f'{{"algo": "tlora", "sig_type": "{triplets}"}}'}
    same(layer, made(TLoraModule, layer, lora_dim=rank, alpha=int(alpha) or 1, sig_type=triplets), metadata)


@pytest.mark.parametrize("strength", [-1.0, 0.3, 2.0])
@pytest.mark.parametrize("kind", [LoConModule, LohaModule, LokrModule, GLoRAModule, IA3Module])
def test_strengths_are_linear_where_lycoris_is(kind: type, strength: float, tmp_path: Path) -> None:
    torch.manual_seed(3)
    layer = nn.Linear(12, 8)
    module = made(kind, layer, strength, lora_dim=2, alpha=1)
    ours = deltas(on_layer(tmp_path, layer, module.state_dict()), layer)["weight"]
    torch.testing.assert_close(strength * ours, forward_delta(module, layer), atol=1e-5, rtol=1e-4)


def test_a_full_difference_changes_weight_and_bias(tmp_path: Path) -> None:
    torch.manual_seed(4)
    layer = nn.Linear(6, 8)
    module = FullModule("layer", layer)
    before = {name: value.detach().clone() for name, value in layer.named_parameters()}
    module.apply_to()
    for parameter in module.parameters():
        parameter.data += torch.randn_like(parameter)
    fresh = nn.Linear(6, 8)
    fresh.load_state_dict(before)
    tensors = module.state_dict()
    ours = deltas(on_layer(tmp_path, fresh, tensors), fresh)
    x = torch.randn(3, 6)
    merged = nn.functional.linear(x, before["weight"] + ours["weight"], before["bias"] + ours["bias"])
    torch.testing.assert_close(merged, module(x), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("layer", [nn.LayerNorm(8), nn.GroupNorm(2, 8)], ids=["LayerNorm", "GroupNorm"])
def test_a_norm_difference_changes_weight_and_bias(layer: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(5)
    module = made(NormModule, layer)
    ours = deltas(on_layer(tmp_path, layer, module.state_dict()), layer)
    x = torch.randn(2, 8)
    want = module(x)
    with torch.no_grad():
        layer.weight += ours["weight"]
        layer.bias += ours["bias"]
    torch.testing.assert_close(layer(x), want, atol=1e-5, rtol=1e-4)
