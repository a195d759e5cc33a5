"""A file's base is read from its tensors, then from its metadata, then from its names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from app.networks.identity import identify

from . import trees

Shapes = dict[str, tuple[int, ...]]


def shapes(tree: dict[str, nn.Module], prefix: dict[str, str], part: str, only: str = "") -> Shapes:
    """A LoRA of every Linear of a component, as shapes."""
    found: Shapes = {}
    for name, layer in tree[part].named_modules():
        if isinstance(layer, nn.Linear) and only in name:
            key = prefix[part] + name.replace(".", "_")
            found[f"{key}.lora_down.weight"] = (4, layer.in_features)
            found[f"{key}.lora_up.weight"] = (layer.out_features, 4)
    return found


KOHYA = {"unet": "lora_unet_", "transformer": "lora_unet_", "text_encoder": "lora_te_", "text_encoder_2": "lora_te2_"}


@pytest.mark.parametrize(
    ("tree", "part", "family"),
    [
        (trees.sd15, "unet", "sd15"),
        (trees.sd15, "text_encoder", "sd15"),
        (trees.sdxl, "unet", "sdxl"),
        (trees.sdxl, "text_encoder_2", "sdxl"),
        (trees.flux, "transformer", "flux"),
        (trees.sd3, "transformer", "sd3"),
    ],
    ids=lambda value: str(getattr(value, "__name__", value)),
)
def test_tensors_tell_the_family_and_metadata_cannot_deny_it(
    tree: Callable[[], dict[str, nn.Module]], part: str, family: str
) -> None:
    found = shapes(tree(), KOHYA, part)
    assert identify(found, {}).family == family
    lie = {"ss_base_model_version": "sd_v2" if family != "sd2" else "sd_v1"}
    assert identify(found, lie).family == family


@pytest.mark.parametrize(
    ("key", "shape", "family"),
    [
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 1024), "sd2"),
        ("lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k.hada_w1_b", (4, 768), "sd15"),
        ("unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_v.lora_A.weight", (4, 2048), "sdxl"),
        (
            "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_v_lora.down.weight",
            (4, 768),
            "sd15",
        ),
        ("lora_unet_input_blocks_4_1_transformer_blocks_0_attn2_to_k.diff", (640, 1280), "sdxl-refiner"),
        ("lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k.dora_scale", (1, 2048), "sdxl"),
        ("diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight", (4, 3072), "flux"),
        ("transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight", (4, 3072), "flux"),
        ("diffusion_model.double_blocks.0.img_attn.proj.lora_A.weight", (4, 6144), "flux2"),
        ("diffusion_model.distilled_guidance_layer.layers.0.in_layer.lora_A.weight", (4, 5120), "chroma"),
        ("lora_unet_joint_blocks_0_x_block_attn_qkv.lora_down.weight", (4, 1536), "sd3"),
        ("diffusion_model.layers.0.attention.to_q.lora_A.weight", (4, 3840), "z-image"),
        ("transformer.transformer_blocks.0.img_mlp.net.0.proj.lora_A.weight", (4, 3072), "qwen-image"),
        ("diffusion_model.blocks.0.cross_attn.k.lora_A.weight", (4, 5120), "wan"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_9_attn1_to_q.lora_down.weight", (4, 32), "sdxl"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight", (4, 1280), "unknown"),
        ("lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight", (4, 32), "unknown"),
    ],
)
def test_one_tensor_may_tell(key: str, shape: tuple[int, ...], family: str) -> None:
    assert identify({key: shape}, {}).family == family


def test_lokr_widths_multiply() -> None:
    key = "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k"
    assert identify({f"{key}.lokr_w1": (4, 8), f"{key}.lokr_w2": (320, 96)}, {}).family == "sd15"
    assert (
        identify({f"{key}.lokr_w1": (4, 8), f"{key}.lokr_w2_a": (320, 4), f"{key}.lokr_w2_b": (4, 256)}, {}).family
        == "sdxl"
    )


QUIET = {"lora_unet_mid_block_attentions_0_transformer_blocks_0_attn1_to_q.lora_down.weight": (4, 1280)}


@pytest.mark.parametrize(
    ("metadata", "family"),
    [
        ({"ss_base_model_version": "sd_v1"}, "sd15"),
        ({"ss_base_model_version": "sd_v1_v"}, "sd15"),
        ({"ss_base_model_version": "sd_v2_v"}, "sd2"),
        ({"ss_base_model_version": "sdxl_base_v1-0"}, "sdxl"),
        ({"ss_base_model_version": "sd3m"}, "sd3"),
        ({"ss_base_model_version": "flux1"}, "flux"),
        ({"ss_base_model_version": "lumina2"}, "lumina2"),
        ({"modelspec.architecture": "stable-diffusion-v1/lora"}, "sd15"),
        ({"modelspec.architecture": "stable-diffusion-v2-768-v/lora"}, "sd2"),
        ({"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"}, "sdxl"),
        ({"modelspec.architecture": "flux-1-dev/lora"}, "flux"),
        ({"ss_v2": "True"}, "sd2"),
        ({"ss_base_model_version": "something new"}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_metadata_tell_where_tensors_do_not(metadata: dict[str, str], family: str) -> None:
    found = identify(QUIET, metadata)
    assert found.family == family
    assert found.reason


def test_chroma_may_be_said_of_what_looks_like_flux() -> None:
    key = {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight": (4, 3072)}
    assert identify(key, {"ss_base_model_version": "chroma"}).family == "chroma"
    assert identify(key, {"ss_base_model_version": "sd_v1"}).family == "flux"
