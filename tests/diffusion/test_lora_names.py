"""Laws of the names that diffusers reads for us: the same network, or a problem; never silence."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import Krea2Transformer2DModel, WanTransformer3DModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from app.diffusion.checkpoint import Checkpoint
from app.engine.matching import matched
from app.networks.resolve import Match
from tests.cli.networks_made import lora, named


@pytest.fixture(scope="module")
def wan() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    transformer = WanTransformer3DModel(
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=4,
        out_channels=4,
        text_dim=16,
        freq_dim=16,
        ffn_dim=32,
        num_layers=2,
        rope_max_seq_len=32,
    )
    return {"transformer": transformer}


def original(folder: Path, alpha: float | None) -> tuple[Path, dict[str, Tensor]]:
    """A LoRA under the names of Wan's own code, which are not diffusers'; and the deltas of the live modules."""
    tensors, deltas = {}, {}
    for block in range(2):
        for theirs, ours in (("self_attn.q", "attn1.to_q"), ("cross_attn.o", "attn2.to_out.0")):
            down, up = torch.randn(2, 24), torch.randn(24, 2)
            name = f"diffusion_model.blocks.{block}.{theirs}"
            tensors |= {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
            if alpha is not None:
                tensors[f"{name}.alpha"] = torch.tensor(alpha)
            deltas[f"transformer.blocks.{block}.{ours}.weight"] = up @ down * (1 if alpha is None else alpha / 2)
    save_file(tensors, folder / "wan.safetensors")
    return folder / "wan.safetensors", deltas


def assert_read_through_diffusers(match: Match, transformer: nn.Module, deltas: dict[str, Tensor]) -> None:
    assert match.matched == len(deltas) and match.unmatched == match.mismatched == ()
    assert [problem.level for problem in match.problems] == ["warning"]
    assert "read through diffusers" in match.problems[0].message
    assert match.patches.keys() == deltas.keys()
    pristine = {f"transformer.{name}": value.detach() for name, value in transformer.named_parameters()}
    for name, (patch,) in match.patches.items():
        torch.testing.assert_close(patch.delta(pristine.__getitem__), deltas[name])


@pytest.mark.parametrize("alpha", [None, 1.0])
def test_forced_it_reads_the_names_of_a_model_s_makers(
    wan: dict[str, nn.Module], tmp_path: Path, alpha: float | None
) -> None:
    path, deltas = original(tmp_path, alpha)
    assert_read_through_diffusers(matched(path, wan, "wan", "diffusers"), wan["transformer"], deltas)


def test_names_that_only_diffusers_knows_are_read_through_it_and_said(tmp_path: Path) -> None:
    transformer = Krea2Transformer2DModel(
        in_channels=4, num_layers=2, attention_head_dim=12, num_attention_heads=2, num_key_value_heads=2,
        intermediate_size=32, text_hidden_dim=16, num_text_layers=2, text_num_attention_heads=1,
        text_num_key_value_heads=1, text_intermediate_size=16, axes_dims_rope=(4, 4, 4),
    )  # fmt: skip
    down, up = torch.randn(2, 24), torch.randn(24, 2)
    names = [f"diffusion_model.blocks.{block}.attn.wq" for block in range(2)]
    tensors = {f"{name}.lora_A.weight": down for name in names} | {f"{name}.lora_B.weight": up for name in names}
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, tmp_path / "krea.safetensors")
    match = matched(tmp_path / "krea.safetensors", {"transformer": transformer}, "krea")
    deltas = {f"transformer.transformer_blocks.{block}.attn.to_q.weight": up @ down for block in range(2)}
    assert_read_through_diffusers(match, transformer, deltas)


def test_what_neither_knows_is_an_error(wan: dict[str, nn.Module], tmp_path: Path) -> None:
    save_file({"strange.place.lora_A.weight": torch.ones(2, 4), "strange.place.lora_B.weight": torch.ones(4, 2)},
              tmp_path / "x.safetensors")  # fmt: skip
    match = matched(tmp_path / "x.safetensors", wan, "wan")
    assert match.patches == {} and match.unmatched == ("strange.place",)
    assert [problem.level for problem in match.problems] == ["error"]


def test_forced_it_reads_a_kohya_file_as_we_do(sdxl: Checkpoint, tmp_path: Path) -> None:
    parts = sdxl.components
    modules = named("lora_unet", parts["unet"], "attn", "conv1") + named("lora_te2", parts["text_encoder_2"], "mlp")
    path = lora(tmp_path / "x.safetensors", modules)
    native, forced = matched(path, parts, "sdxl"), matched(path, parts, "sdxl", "diffusers")
    assert native.problems == () and "read through diffusers" in forced.problems[0].message
    assert native.matched == forced.matched and native.patches.keys() == forced.patches.keys()
    weights = {f"{part}.{name}": value for part, module in parts.items() for name, value in module.named_parameters()}
    for name, (patch,) in native.patches.items():
        (other,) = forced.patches[name]
        torch.testing.assert_close(patch.delta(weights.__getitem__), other.delta(weights.__getitem__))


def test_what_it_cannot_read_when_forced_is_said_and_read_natively(sdxl: Checkpoint, tmp_path: Path) -> None:
    norm = sdxl.components["unet"].get_parameter("conv_norm_out.weight")
    save_file({"lora_unet_conv_norm_out.w_norm": torch.ones_like(norm)}, tmp_path / "x.safetensors")
    match = matched(tmp_path / "x.safetensors", sdxl.components, "sdxl", "diffusers")
    assert match.matched == 1
    assert [problem.level for problem in match.problems] == ["warning"]
    assert "diffusers cannot read its names" in match.problems[0].message


def test_a_file_for_another_base_is_not_tried(wan: dict[str, nn.Module], tmp_path: Path) -> None:
    path, _ = original(tmp_path, None)
    save_file(load_file(path), path, {"modelspec.architecture": "wan2.1"})
    match = matched(path, wan, "flux")
    assert match.patches == {} and [problem.level for problem in match.problems] == ["error"]
