"""Any diffusers transformer takes files in its own names; the families that formats list take their makers' too."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from diffusers.loaders import single_file_utils
from torch import Tensor, nn

from app.networks import natives
from app.networks.keys import names
from app.networks.resolve import Match, resolve

from .files_made import network

Module = tuple[str, nn.Module]


def tree(name: str, **config: Any) -> nn.Module:
    """A transformer of diffusers', as large as the real one but for its depth, without weights."""
    with torch.device("meta"):
        model: nn.Module = getattr(diffusers, f"{name}Model")(**config)
    return model


def layers(model: nn.Module) -> dict[str, nn.Module]:
    kinds = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
    return {name: layer for name, layer in model.named_modules() if isinstance(layer, kinds)}


def adapter(layer: nn.Module, suffixes: tuple[str, str]) -> dict[str, Tensor]:
    out, inner, *kernel = layer.weight.shape
    up = torch.zeros(out, 1, *[1] * len(kernel), dtype=torch.float16)
    return {suffixes[0]: up, suffixes[1]: torch.zeros(1, inner, *kernel, dtype=torch.float16)}


def complete(model: nn.Module, spelling: Callable[[str], str], suffixes: tuple[str, str], folder: Path) -> Match:
    """What a file with an adapter of every layer, so spelled, is on the model."""
    tensors = {
        f"{spelling(name)}.{suffix}": tensor
        for name, layer in layers(model).items()
        for suffix, tensor in adapter(layer, suffixes).items()
    }
    return resolve(network(folder / "file.safetensors", tensors), {"transformer": model}, "unknown")


PEFT, KOHYA = ("lora_B.weight", "lora_A.weight"), ("lora_up.weight", "lora_down.weight")
OWN: dict[str, tuple[Callable[[str], str], tuple[str, str]]] = {
    "diffusers": (lambda name: f"transformer.{name}", PEFT),
    "comfyui": (lambda name: f"diffusion_model.{name}", PEFT),
    "peft": (lambda name: f"base_model.model.{name}", PEFT),
    "bare": (lambda name: name, PEFT),
    "kohya": (lambda name: f"lora_unet_{name.replace('.', '_')}", KOHYA),
    "onetrainer": (lambda name: f"lora_transformer_{name.replace('.', '_')}", KOHYA),
    "lycoris": (lambda name: f"lycoris_{name.replace('.', '_')}", KOHYA),
}
CLASSES: dict[str, dict[str, Any]] = {
    "AuraFlowTransformer2D": {"num_mmdit_layers": 1, "num_single_dit_layers": 1},
    "ChromaTransformer2D": {"num_layers": 1, "num_single_layers": 1},
    "CogVideoXTransformer3D": {"num_layers": 1},
    "CogView4Transformer2D": {"num_layers": 1},
    "CosmosTransformer3D": {"num_layers": 1},
    "Flux2Transformer2D": {"num_layers": 1, "num_single_layers": 1},
    "HunyuanImageTransformer2D": {"num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1},
    "HunyuanVideoTransformer3D": {"num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1},
    "LTXVideoTransformer3D": {"num_layers": 1},
    "Lumina2Transformer2D": {"num_layers": 1, "num_refiner_layers": 1},
    "MochiTransformer3D": {"num_layers": 2},
    "PixArtTransformer2D": {"num_layers": 1},
    "QwenImageTransformer2D": {"num_layers": 11},
    "SanaTransformer2D": {"num_layers": 1},
    "WanTransformer3D": {"num_layers": 11, "image_dim": 8, "added_kv_proj_dim": 5120},
    "ZImageTransformer2D": {"n_layers": 1, "n_refiner_layers": 1},
}


@pytest.mark.parametrize("name", CLASSES)
def test_a_transformer_takes_files_of_its_own_names(name: str, tmp_path: Path) -> None:
    model = tree(name, **CLASSES[name])
    wanted = {f"transformer.{layer}.weight" for layer in layers(model)}
    for spelling, suffixes in OWN.values():
        match = complete(model, spelling, suffixes, tmp_path)
        assert (match.unmatched, match.mismatched, match.problems) == ((), (), ())
        assert set(match.patches) == wanted


FAMILIES: dict[str, tuple[str, dict[str, Any], tuple[natives.Row, ...], str, str]] = {
    "lumina2": (
        "Lumina2Transformer2D",
        {"num_layers": 2, "num_refiner_layers": 1},
        natives.LUMINA2,
        "convert_lumina2_to_diffusers",
        "",
    ),
    "z-image": (
        "ZImageTransformer2D",
        {"n_layers": 1, "n_refiner_layers": 1},
        natives.Z_IMAGE,
        "convert_z_image_transformer_checkpoint_to_diffusers",
        "",
    ),
    "wan": (
        "WanTransformer3D",
        {"num_layers": 1, "image_dim": 8, "added_kv_proj_dim": 5120},
        natives.WAN,
        "convert_wan_transformer_to_diffusers",
        "",
    ),
    "hunyuan-video": (
        "HunyuanVideoTransformer3D",
        {"num_layers": 1, "num_single_layers": 1, "num_refiner_layers": 1},
        natives.HUNYUAN,
        "convert_hunyuan_video_transformer_to_diffusers",
        r"_[qkv]$|_attn\.(qkv|proj|norm)|\.lin$|mlp\.[02]$|linear1_|linear2\.fc|single_.*\.norm\.|time_in\.(in|out)"
        r"|guidance_in\.(in|out)",
    ),
    "flux2": (
        "Flux2Transformer2D",
        {"num_layers": 1, "num_single_layers": 1},
        natives.FLUX2,
        "convert_flux2_transformer_checkpoint_to_diffusers",
        "",
    ),
    "cosmos": (
        "CosmosTransformer3D",
        {"num_layers": 1},
        natives.COSMOS,
        "convert_cosmos_transformer_checkpoint_to_diffusers",
        "",
    ),
}
"""The class, the native table, the converter of native checkpoints, and the spellings that it does not read."""


@pytest.mark.parametrize("family", FAMILIES)
def test_native_rows_land_where_the_converter_puts_them(family: str) -> None:
    """A checkpoint of row numbers, converted, holds in each live weight the rows that our table says are there."""
    name, config, table, converter, unread = FAMILIES[family]
    model = tree(name, **config)
    shapes = {f"transformer.{key}": tuple(value.shape) for key, value in model.named_parameters()}
    live = {key for key in shapes if key.endswith(".weight")}
    places = names({"transformer": model}).places["transformer"]
    spelled = {native.format(i=index) for native, _ in table for index in range(3)} & places.keys()
    spelled = {native for native in spelled if not re.search(unread, native)} if unread else spelled
    spelled |= {"final_layer.adaLN_modulation.1"} if "transformer.norm_out.linear.weight" in live else set()
    spelled -= {key.removeprefix("transformer.").removesuffix(".weight") for key in live}
    known = {piece.weight for native in spelled for piece in places[native]}
    same = {key.removeprefix("transformer.").removesuffix(".weight") for key in live - known}
    checkpoint: dict[str, Tensor] = {}
    wanted = {key: [-1] * shapes[key][0] for key in live}
    for number, native in enumerate(sorted(spelled | same)):
        place = places[native]
        rows = number * 1_000_000 + torch.arange(sum(piece.height for piece in place))
        leaf = "scale" if family == "flux2" and native.endswith("_norm") else "weight"
        checkpoint[f"{native}.{leaf}"] = rows.reshape(-1, *[1] * (len(shapes[place[0].weight]) - 1))
        numbers = iter(rows.tolist())
        for piece in place:
            wanted[piece.weight][piece.start : piece.stop] = [next(numbers) for _ in range(piece.height)]
    converted = getattr(single_file_utils, converter)(checkpoint)
    found = {f"transformer.{key}": value.flatten().tolist() for key, value in converted.items()}
    assert {key: found.get(key) for key in wanted} == wanted
    assert len(spelled) > 10


@pytest.mark.parametrize("name", ["HunyuanImageTransformer2D", "HunyuanVideoTransformer3D"])
@pytest.mark.parametrize("fused", [False, True], ids=["parts", "fused"])
def test_hunyuan_files_may_part_q_k_and_v_or_not(name: str, fused: bool, tmp_path: Path) -> None:
    model = tree(name, **CLASSES[name])
    width = layers(model)["transformer_blocks.0.attn.to_q"].weight.shape[1]
    modules = [f"double_blocks.0.{stream}_attn_{leaf}" for stream in ("img", "txt") for leaf in "qkv"]
    modules += [f"single_blocks.0.linear1_{leaf}" for leaf in "qkv"]
    tensors: dict[str, Tensor] = {}
    if fused:
        modules = ["double_blocks.0.img_attn_qkv", "double_blocks.0.txt_attn.qkv", "single_blocks.0.linear1"]
    for module in modules:
        rows = width * (1 if not fused else 7 if "linear1" in module else 3)
        key = f"lora_unet_{module.replace('.', '_')}"
        tensors |= {f"{key}.lora_up.weight": torch.zeros(rows, 1), f"{key}.lora_down.weight": torch.zeros(1, width)}
    match = resolve(network(tmp_path / "file.safetensors", tensors), {"transformer": model}, "unknown")
    wanted = {f"transformer_blocks.0.attn.{leaf}" for leaf in ("to_q", "to_k", "to_v")}
    wanted |= {f"transformer_blocks.0.attn.add_{leaf}_proj" for leaf in "qkv"}
    wanted |= {f"single_transformer_blocks.0.attn.to_{leaf}" for leaf in "qkv"}
    wanted |= {"single_transformer_blocks.0.proj_mlp"} if fused else set()
    assert match.problems == ()
    assert set(match.patches) == {f"transformer.{module}.weight" for module in wanted}
