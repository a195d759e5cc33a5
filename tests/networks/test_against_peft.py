"""peft as the oracle: its merged weights are ours, read from the folder that it saves."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from app.networks.files import Network, read_network
from app.networks.orthogonal import InputBOFT
from app.networks.resolve import resolve

from .files_made import network as network_of

peft = pytest.importorskip("peft")

quick = settings(max_examples=8, deadline=None, derandomize=True)


class Small(nn.Module):
    """A layer of every kind that peft adapts."""

    def __init__(self, out: int, inner: int) -> None:
        super().__init__()
        self.first = nn.Linear(inner, out)
        self.plain = nn.Linear(inner, out, bias=False)
        self.square = nn.Linear(inner, inner)
        self.conv = nn.Conv2d(inner, out, 3)
        self.point = nn.Conv2d(inner, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x)


LAYERS = ["first", "plain", "square", "conv", "point"]


@st.composite
def models(draw: st.DrawFn) -> Small:
    torch.manual_seed(draw(st.integers(0, 10_000)))
    return Small(draw(st.sampled_from([8, 12, 16])), draw(st.sampled_from([8, 12])))


def merged(model: nn.Module, config: Any, folder: str) -> dict[str, Tensor]:
    """Every parameter after peft's own merge; the adapter, with random numbers in it, is saved in the folder."""
    wrapped = peft.get_peft_model(model, config)
    for name, parameter in wrapped.named_parameters():
        if parameter.requires_grad:
            spread = 0.1 if "oft_R" in name else 0.5
            parameter.data = parameter.data + torch.randn_like(parameter) * spread
    wrapped.save_pretrained(folder)
    return {name: value.detach().clone() for name, value in wrapped.merge_and_unload().named_parameters()}


def same(model: nn.Module, config: Any, tolerance: float = 3e-5) -> Network:
    """Our merge of peft's folder is peft's merge; every parameter is compared."""
    base = {f"unet.{name}": value.detach().clone() for name, value in model.named_parameters()}
    tree = type(model)(model.first.out_features, model.first.in_features) if isinstance(model, Small) else None
    with tempfile.TemporaryDirectory() as folder:
        wanted = merged(model, config, folder)
        network = read_network(Path(folder))
        again = read_network(Path(folder) / "adapter_model.safetensors")
    assert list(again.adapters) == list(network.adapters)
    match = resolve(network, {"unet": tree if tree is not None else model}, "unknown")
    assert (match.unmatched, match.mismatched, match.problems, network.problems) == ((), (), (), ())
    for name, weight in base.items():
        changed = weight.clone()
        for patch in match.patches.get(name, ()):
            changed = changed + patch.delta(base.__getitem__)
        want = wanted[name.removeprefix("unet.")]
        torch.testing.assert_close(changed, want, atol=tolerance * float(want.abs().max() + 1), rtol=1e-4, msg=name)
    return network


@quick
@given(models(), st.integers(1, 4), st.integers(1, 9), st.booleans(), st.booleans())
def test_lora_and_dora(model: Small, rank: int, alpha: int, rslora: bool, dora: bool) -> None:
    same(model, peft.LoraConfig(r=rank, lora_alpha=alpha, use_rslora=rslora, use_dora=dora, target_modules=LAYERS))


@quick
@given(models(), st.integers(1, 9))
def test_lora_with_biases_and_patterns(model: Small, alpha: int) -> None:
    patterns = {"rank_pattern": {"first": 3}, "alpha_pattern": {"first": 7, "conv": 2}}
    layers = ["first", "square", "conv", "point"]
    same(model, peft.LoraConfig(r=2, lora_alpha=alpha, lora_bias=True, target_modules=layers, **patterns))


def test_an_embedding(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.ModuleDict({"words": nn.Embedding(11, 6)})
    base = model["words"].weight.detach().clone()
    wanted = merged(model, peft.LoraConfig(r=2, lora_alpha=3, target_modules=["words"]), str(tmp_path))
    match = resolve(read_network(tmp_path), {"unet": nn.ModuleDict({"words": nn.Embedding(11, 6)})}, "unknown")
    ((name, (patch,)),) = match.patches.items()
    torch.testing.assert_close(base + patch.delta(lambda _: base), wanted["words.weight"], atol=1e-5, rtol=1e-5)
    assert name == "unet.words.weight"


@quick
@given(models(), st.integers(1, 4), st.integers(1, 9), st.booleans())
def test_loha(model: Small, rank: int, alpha: int, effective: bool) -> None:
    same(model, peft.LoHaConfig(r=rank, alpha=alpha, use_effective_conv2d=effective, target_modules=LAYERS))


@settings(quick, max_examples=16)
@given(
    models(), st.sampled_from([1, 2, 64]), st.integers(1, 9), st.booleans(), st.booleans(), st.sampled_from([-1, 2, 4])
)
def test_lokr(model: Small, rank: int, alpha: int, effective: bool, both: bool, factor: int) -> None:
    options = {"use_effective_conv2d": effective, "decompose_both": both, "decompose_factor": factor}
    same(model, peft.LoKrConfig(r=rank, alpha=alpha, target_modules=LAYERS, **options))


@settings(quick, max_examples=16)
@given(
    models(),
    st.integers(1, 4),
    st.sampled_from(["lora", "vector", "constant", "none"]),
    st.sampled_from(["lora", "vector", "none"]),
    st.sampled_from(["vector", "constant", "none"]),
)
def test_glora_by_every_path(model: Small, rank: int, weight: str, mix: str, bias: str) -> None:
    """A to E, whatever each is made of; a bias that the weight takes part in, and layers without one."""
    assume((weight, mix, bias) != ("none", "none", "none"))
    layers = ["first", "square"] if weight == "none" else ["first", "plain", "square"]
    options = {"config_A_B": weight, "config_C": mix, "config_D_E": bias, "target_modules": layers}
    network = same(model, peft.GloraConfig(r=rank, **options))
    assert {adapter.algorithm for adapter in (*network.adapters.values(), *network.biases.values())} == {"glora"}


@quick
@given(models())
def test_ia3_scales_biases_too(model: Small) -> None:
    same(model, peft.IA3Config(target_modules=LAYERS, feedforward_modules=["square", "point"]))


@quick
@given(models(), st.sampled_from([2, 4]), st.sampled_from([0, 3, 5, 7]), st.booleans())
def test_oft(model: Small, size: int, terms: int, shared: bool) -> None:
    options = {"use_cayley_neumann": terms > 0, "num_cayley_neumann_terms": terms or 5, "block_share": shared}
    layers = ["first", "plain", "square", "conv"]
    same(model, peft.OFTConfig(r=0, oft_block_size=size, target_modules=layers, module_dropout=0.0, **options))


@quick
@given(models(), st.sampled_from([2, 4]))
def test_boft(model: Small, size: int) -> None:
    layers = ["first", "plain", "square", "conv"]
    same(model, peft.BOFTConfig(boft_block_size=size, boft_n_butterfly_factor=1, target_modules=layers))


def test_the_adapters_name_in_a_key_is_left_out(tmp_path: Path) -> None:
    keys = ("base_model.model.a.lora_A.style.weight", "base_model.model.a.lora_B.style.weight")
    tensors = {keys[0]: torch.ones(2, 3), keys[1]: torch.ones(4, 2)}
    tensors |= {"base_model.model.b.ia3_l.style": torch.ones(4, 1)}
    assert set(network_of(tmp_path / "x.safetensors", tensors).adapters) == {"base_model.model.a", "base_model.model.b"}


@pytest.mark.parametrize("stages", [2, 3])
def test_a_butterfly_of_several_stages(stages: int) -> None:
    """peft needs a GPU's extension to make one; its permutations and its Cayley transform are here all the same."""
    from peft.tuners.boft.layer import BOFTLayer

    torch.manual_seed(stages)
    size, columns = 4, 16
    blocks = torch.randn(stages, columns // size, size, size)
    rotation = torch.eye(columns)
    for index, stage in enumerate(blocks):
        order = BOFTLayer.block_butterfly_perm(None, columns, columns // size // 2**index, size // 2, stages - 1)
        permutation = BOFTLayer.perm2mat(None, order)
        turned = torch.block_diag(*BOFTLayer.cayley_batch(None, stage))
        rotation = permutation @ turned @ permutation.T @ rotation
    weight, gains = torch.randn(6, columns), torch.rand(6, 1)
    wanted = (rotation @ weight.T).T * gains
    torch.testing.assert_close(weight + InputBOFT(blocks, gains).delta(weight), wanted, atol=1e-5, rtol=1e-5)
