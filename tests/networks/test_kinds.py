"""Kinds of files that no library here writes, made as their tools do, against the arithmetic that they stand for."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import torch
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.dylora import DyLoraModule
from torch import Tensor, nn

from app.networks.files import read_network
from app.networks.prefixes import components_of
from app.networks.resolve import resolve

from .files_made import deltas, network, on_layer, one_layer
from .test_against_lycoris import forward_delta
from .test_fused import flux, weights

Weights = dict[str, Tensor]


@pytest.mark.parametrize("layer", [nn.Linear(6, 8), nn.Conv2d(6, 8, 3)], ids=["linear", "conv"])
def test_dylora_is_its_whole_rank_by_alpha_over_rank(layer: nn.Module, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = DyLoraModule("layer", layer, lora_dim=8, alpha=2, block_size=4)
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter)
    up, down = torch.cat(list(module.up_list), dim=1), torch.cat(list(module.down_list))
    made = deltas(on_layer(tmp_path, layer, module.custom_state_dict()), layer)["weight"]
    torch.testing.assert_close(made, (up @ down * 2 / 8).reshape(layer.weight.shape).detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("alpha", [1.0, 9999999999.0, 0.0])
def test_the_alpha_of_a_whole_lokr_is_no_scale(alpha: float, tmp_path: Path) -> None:
    """ai-toolkit writes ten thousand millions."""
    torch.manual_seed(0)
    layer, left, right = nn.Linear(6, 8), torch.randn(2, 3), torch.randn(4, 2)
    roles = {"lokr_w1": left, "lokr_w2": right, "alpha": torch.tensor(alpha)}
    made = deltas(on_layer(tmp_path, layer, roles), layer)["weight"]
    torch.testing.assert_close(made, torch.kron(left, right))


@pytest.mark.parametrize("constraint", [0.0, 1e-3, 0.02])
def test_kohyas_oft_is_the_diagonal_one_under_its_own_prefix(constraint: float, tmp_path: Path) -> None:
    torch.manual_seed(0)
    layer = nn.Linear(6, 8)
    module = DiagOFTModule("layer", layer, lora_dim=4, constraint=constraint)
    for parameter in module.parameters():
        parameter.data = torch.randn_like(parameter) * 0.3
    tensors = {f"oft_unet_layer.{role}": torch.as_tensor(value) for role, value in module.state_dict().items()}
    match = resolve(network(tmp_path / "x.safetensors", tensors), {"unet": one_layer(layer)}, "unknown")
    torch.testing.assert_close(deltas(match, layer)["weight"], forward_delta(module, layer), atol=1e-5, rtol=1e-4)


def test_a_control_file_of_black_forest_labs(tmp_path: Path) -> None:
    """Bare native names: factors, a bias in B, scales of norms as they are to be, and a wider first layer."""
    torch.manual_seed(0)
    model = flux()
    before = weights(model)
    tensors: Weights = {}
    for module, out, inner in (("double_blocks.0.img_attn.qkv", 48, 16), ("img_in", 16, 16)):
        tensors |= {f"{module}.lora_A.weight": torch.randn(2, inner), f"{module}.lora_B.weight": torch.randn(out, 2)}
        tensors[f"{module}.lora_B.bias"] = torch.randn(out)
    tensors["double_blocks.0.img_attn.norm.query_norm.scale"] = torch.full((8,), 3.0)
    tensors["single_blocks.1.norm.key_norm.scale"] = torch.full((8,), 5.0)
    match = resolve(network(tmp_path / "control.safetensors", tensors), {"transformer": model}, "flux")
    assert match.mismatched == ("img_in",)  # twice as wide as this model's, which is no control model
    assert "more channels" in match.problems[0].message
    after = {
        name: before[name] + torch.stack([patch.delta(before.__getitem__) for patch in patches]).sum(0)
        for name, patches in match.patches.items()
    }
    stem = "transformer.transformer_blocks.0.attn"
    up, down = (tensors[f"double_blocks.0.img_attn.qkv.lora_{half}.weight"] for half in "BA")
    bias = tensors["double_blocks.0.img_attn.qkv.lora_B.bias"]
    for index, leaf in enumerate("qkv"):
        rows = slice(16 * index, 16 * (index + 1))
        torch.testing.assert_close(
            after[f"{stem}.to_{leaf}.weight"], before[f"{stem}.to_{leaf}.weight"] + (up @ down)[rows]
        )
        torch.testing.assert_close(after[f"{stem}.to_{leaf}.bias"], before[f"{stem}.to_{leaf}.bias"] + bias[rows])
    assert torch.equal(after[f"{stem}.norm_q.weight"], torch.full((8,), 3.0))
    assert torch.equal(after["transformer.single_transformer_blocks.1.attn.norm_k.weight"], torch.full((8,), 5.0))


@pytest.mark.parametrize(
    ("module", "component", "inner"),
    [
        ("lora_unet__blocks_0_self_attn_q", "unet", "blocks_0_self_attn_q"),
        ("lora_prior_unet_down_blocks_0", "unet", "down_blocks_0"),
        ("lora_prior_te_text_model_a", "text_encoder", "text_model_a"),
        ("lora_transformer_2_blocks_0", "transformer_2", "blocks_0"),
        ("lora_te1_text_model_a", "text_encoder", "text_model_a"),
        ("lora_te2_encoder_block_0", "text_encoder_2", "encoder_block_0"),
        ("lora_te3_encoder_block_0", "text_encoder_3", "encoder_block_0"),
        ("oft_te_text_model_a", "text_encoder", "text_model_a"),
        ("lora_vae_decoder_conv_in", "vae", "decoder_conv_in"),
        ("lora_first_stage_model_decoder_conv_in", "vae", "decoder_conv_in"),
        ("text_encoders.clip_l.transformer.text_model.a", "text_encoder", "text_model.a"),
        ("text_encoders.t5xxl.transformer.encoder.block.0", "text_encoder_3", "encoder.block.0"),
        ("text_encoders.gemma2_2b.transformer.model.layers.0", "text_encoder", "model.layers.0"),
        ("text_encoders.qwen25_7b.model.layers.0", "text_encoder", "model.layers.0"),
        ("base_model.model.unet.a", "unet", "a"),
        ("unet.base_model.model.a", "unet", "a"),
        ("lycoris_transformer_blocks_0_attn_to_q", "unet", "transformer_blocks_0_attn_to_q"),
        ("transformer_blocks.0.attn.to_q", "unet", "transformer_blocks.0.attn.to_q"),
    ],
)
def test_a_prefix_tells_the_component(module: str, component: str, inner: str) -> None:
    components, name = components_of(module)
    assert (components[0], name) == (component, inner)


@pytest.mark.parametrize("nested", [False, True])
def test_a_pickle_is_the_file_of_its_tensors(nested: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensors = {
        "lora_unet_layer.lora_up.weight": torch.randn(8, 2),
        "lora_unet_layer.lora_down.weight": torch.randn(2, 6),
    }
    layer = nn.Linear(6, 8)
    torch.save({"state_dict": tensors, "epoch": 3} if nested else tensors, tmp_path / "x.pt")
    model = {"unet": one_layer(layer)}
    pickled = resolve(read_network(tmp_path / "x.pt"), model, "unknown")
    plain = resolve(network(tmp_path / "x.safetensors", tensors), model, "unknown")
    assert torch.equal(deltas(pickled, layer)["weight"], deltas(plain, layer)["weight"])


def test_a_file_of_every_kind_at_once_is_each_of_them(tmp_path: Path) -> None:
    """LyCORIS presets mix algorithms: each module of one file is what it is in a file of its own."""
    torch.manual_seed(0)
    kinds: dict[str, Weights] = {
        "lora": {"lora_up.weight": torch.randn(8, 2), "lora_down.weight": torch.randn(2, 6)},
        "dora": {
            "lora_up.weight": torch.randn(8, 2), "lora_down.weight": torch.randn(2, 6), "dora_scale": torch.rand(8, 1),
        },
        "loha": {f"hada_w{n}_{x}": torch.randn(*shape) for n in "12" for x, shape in (("a", (8, 2)), ("b", (2, 6)))},
        "lokr": {"lokr_w1": torch.randn(2, 2), "lokr_w2": torch.randn(4, 3)},
        "glora": {"glora_A.X": torch.randn(8, 1), "glora_B.Xd": torch.randn(8, 2), "glora_B.Xu": torch.randn(2, 6)},
        "ia3": {"weight": torch.randn(8), "on_input": torch.tensor(0)},
        "full": {"diff": torch.randn(8, 6)},
        "set": {"set_weight": torch.randn(8, 6)},
        "oft": {"oft_blocks": torch.randn(2, 4, 4) * 0.2, "alpha": torch.tensor(0.0)},
        "boft": {"oft_blocks": torch.randn(2, 2, 4, 4) * 0.2, "alpha": torch.tensor(0.0)},
        "tlora": {
            "p_layer.weight": torch.randn(8, 2), "q_layer.weight": torch.randn(2, 6), "lambda_layer": torch.ones(1, 2),
        },
    }  # fmt: skip
    tree = nn.ModuleDict({kind: nn.Linear(6, 8) for kind in kinds})
    tensors = {f"lora_unet_{kind}.{role}": value for kind, roles in kinds.items() for role, value in roles.items()}
    match = resolve(network(tmp_path / "all.safetensors", tensors), {"unet": tree}, "unknown")
    assert (match.matched, match.problems, match.network.problems) == (len(kinds), (), ())
    pristine = {f"unet.{name}": value.detach() for name, value in tree.named_parameters()}
    for kind, roles in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            alone = deltas(on_layer(Path(folder), tree[kind], roles), tree[kind])["weight"]
        (patch,) = match.patches[f"unet.{kind}.weight"]
        assert torch.equal(patch.delta(pristine.__getitem__), alone)
        assert patch.adapter.algorithm == kind


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_the_first_ranks_of_pefts_glora_alone(ranks: int, tmp_path: Path) -> None:
    """What `dyn` keeps is what the file would be with its other ranks left out, of the weight and of the bias."""
    torch.manual_seed(0)
    layer = nn.Linear(6, 8)
    roles = {f"glora_{path}.Xd": torch.randn(8 if path in "AB" else 6, 3) for path in "ABC"}
    roles |= {f"glora_{path}.Xu": torch.randn(3, 6 if path in "AB" else 1) for path in "ABC"}
    roles |= {"glora_D.X": torch.randn(1), "glora_E.X": torch.randn(8)}
    kept = {role: value[:, :ranks] if role.endswith("Xd") else value[:ranks] for role, value in roles.items()}
    kept |= {"glora_D.X": roles["glora_D.X"], "glora_E.X": roles["glora_E.X"]}
    wanted = deltas(on_layer(tmp_path, layer, kept), layer)
    match = on_layer(tmp_path, layer, roles)
    pristine = {f"unet.layer.{name}": value.detach() for name, value in layer.named_parameters()}
    for name, (patch,) in match.patches.items():
        made = patch.truncated(ranks).delta(pristine.__getitem__)
        torch.testing.assert_close(made, wanted[name.removeprefix("unet.layer.")])
