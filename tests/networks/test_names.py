"""Every module of the real models is found under every name that a file may give it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from app.networks import spellings
from app.networks.keys import names
from app.networks.resolve import resolve

from . import trees
from .files_made import network

Model = dict[str, nn.Module]


def layers(module: nn.Module) -> dict[str, nn.Module]:
    """What kohya and LyCORIS train: every Linear and convolution."""
    return {name: layer for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, nn.Conv2d))}


def parameterised(module: nn.Module) -> dict[str, nn.Module]:
    """What LyCORIS trains at most: normalisations and embeddings too."""
    return {name: layer for name, layer in module.named_modules() if "weight" in layer._parameters}


def adapter(layer: nn.Module) -> dict[str, Tensor]:
    """A LoRA of rank 1 that fits the layer; the difference of a normalisation."""
    if layer.weight.ndim == 1:
        zeros = torch.zeros_like(layer.weight, dtype=torch.float16, device="cpu")
        return {"w_norm": zeros, "b_norm": zeros}
    out, inner, *kernel = layer.weight.shape
    return {
        "lora_up.weight": torch.zeros(out, 1, *[1] * len(kernel), dtype=torch.float16),
        "lora_down.weight": torch.zeros(1, inner, *kernel, dtype=torch.float16),
        "alpha": torch.tensor(1.0),
    }


@cache
def original(module: nn.Module) -> dict[str, str]:
    """Live name → the original checkpoint's."""
    live = {name for name, layer in module.named_modules() if "weight" in layer._parameters}
    found: dict[str, str] = {}
    for alias, name in spellings.aliases(live):
        if ".processor." not in alias and not alias.endswith((".to_out", ".out")):
            found.setdefault(name, alias)
    return {name: found.get(name, name) for name in live}


def text_model(name: str) -> str:
    return name if name.startswith(("text_model.", "text_projection")) else f"text_model.{name}"


def flat(prefix: str) -> Callable[[str], str]:
    return lambda name: prefix + name.replace(".", "_")


KOHYA = {"text_encoder": "lora_te_", "text_encoder_2": "lora_te2_", "vae": "lora_vae_"}


def kohya(component: str, name: str, module: nn.Module) -> str:
    prefix = "lora_unet_" if component == "unet" else KOHYA[component]
    return flat(prefix)(text_model(name) if component.startswith("text") else name)


def kohya_sgm(component: str, name: str, module: nn.Module) -> str:
    prefix = {"unet": "lora_unet_", "text_encoder": "lora_te1_"}.get(component) or KOHYA[component]
    if component.startswith("text"):
        return flat(prefix)(text_model(name))
    return flat(prefix)(original(module)[name])


def dotted(component: str, name: str, module: nn.Module) -> str:
    return f"{component}.{text_model(name) if component.startswith('text') else name}"


def dotted_bare(component: str, name: str, module: nn.Module) -> str:
    return f"{component}.{name.removeprefix('text_model.')}"


def checkpoint(component: str, name: str, module: nn.Module) -> str:
    if component.startswith("text"):
        index = 0 if component == "text_encoder" else 1
        return f"conditioner.embedders.{index}.transformer.{text_model(name)}".replace("1.transformer.", "1.")
    prefix = {"unet": "model.diffusion_model.", "vae": "first_stage_model."}[component]
    return prefix + original(module)[name]


def wrapped(component: str, name: str, module: nn.Module) -> str:
    return f"{component}.base_model.model.{name}"


@pytest.mark.parametrize("spelling", [kohya, kohya_sgm, dotted, dotted_bare, checkpoint, wrapped])
@pytest.mark.parametrize(("tree", "family"), [(trees.sd15, "sd15"), (trees.sdxl, "sdxl")], ids=["sd15", "sdxl"])
def test_a_complete_file_matches_whole(
    tree: Callable[[], Model], family: str, spelling: Callable[[str, str, nn.Module], str], tmp_path: Path
) -> None:
    model = tree()
    tensors: dict[str, Tensor] = {}
    wanted: set[str] = set()
    modules = 0
    for component, module in model.items():
        for name, layer in parameterised(module).items():
            key = spelling(component, name, module)
            tensors |= {f"{key}.{suffix}": tensor for suffix, tensor in adapter(layer).items()}
            wanted |= {
                f"{component}.{name}.{leaf}" for leaf in (("weight", "bias") if layer.weight.ndim < 2 else ("weight",))
            }
            modules += 1
    match = resolve(network(tmp_path / "file.safetensors", tensors), model, family)
    assert (match.unmatched, match.mismatched, match.problems) == ((), (), ())
    assert match.matched == modules
    assert set(match.patches) == wanted


def test_the_trees_are_the_real_ones() -> None:
    counts = [{part: len(layers(module)) for part, module in tree().items()} for tree in (trees.sd15, trees.sdxl)]
    assert counts[0]["unet"] == 282
    assert counts[1]["unet"] == 794
    assert counts[0]["text_encoder"] == counts[1]["text_encoder"] == 72
    assert counts[1]["text_encoder_2"] == 193  # with text_projection
    assert [len(parameterised(tree()["unet"])) for tree in (trees.sd15, trees.sdxl)] == [391, 1050]


@pytest.mark.parametrize("spelling", [kohya, kohya_sgm, dotted, checkpoint])
@pytest.mark.parametrize(
    ("tree", "family", "count"), [(trees.sd15, "sd15", 294), (trees.sdxl, "sdxl", 819)], ids=["sd15", "sdxl"]
)
def test_a_complete_file_of_the_layers_matches_with_shallow_text_encoders_too(
    tree: Callable[[], Model], family: str, count: int, spelling: Callable[[str, str, nn.Module], str], tmp_path: Path
) -> None:
    """A whole UNet and text encoders of two layers, as the small models of other test suites have them."""
    model = {"unet": tree()["unet"]}
    with torch.device("meta"):
        model["text_encoder"] = CLIPTextModel(CLIPTextConfig(**{**trees.CLIP_L, "num_hidden_layers": 2}))
        if family == "sdxl":
            config = CLIPTextConfig(**{**trees.CLIP_G, "num_hidden_layers": 2}, projection_dim=1280)
            model["text_encoder_2"] = CLIPTextModelWithProjection(config)
    tensors = {
        f"{spelling(component, name, module)}.{suffix}": tensor
        for component, module in model.items()
        for name, layer in layers(module).items()
        for suffix, tensor in adapter(layer).items()
    }
    match = resolve(network(tmp_path / "file.safetensors", tensors), model, family)
    assert (match.matched, match.unmatched, match.mismatched, match.problems) == (count, (), (), ())


@pytest.mark.parametrize("tree", [trees.sd15, trees.sdxl], ids=["sd15", "sdxl"])
def test_original_unet_names_are_those_that_diffusers_converts(tree: Callable[[], Model]) -> None:
    unet = tree()["unet"]
    known = original(unet)
    converted = convert_ldm_unet_checkpoint(numbered(known, "model.diffusion_model."), dict(unet.config))
    assert {name: int(converted[f"{name}.weight"]) for name in known} == {name: i for i, name in enumerate(known)}


def numbered(known: dict[str, str], prefix: str) -> dict[str, Tensor]:
    """A checkpoint in original names, each module's weight and bias being its number."""
    keys = ((f"{prefix}{name}.{leaf}", i) for i, name in enumerate(known.values()) for leaf in ("weight", "bias"))
    return {key: torch.tensor([i]) for key, i in keys}


def test_original_vae_names_are_those_that_diffusers_converts() -> None:
    vae = trees.sd15()["vae"]
    known = original(vae)
    converted = convert_ldm_vae_checkpoint(numbered(known, "first_stage_model."), dict(vae.config))
    assert {name: int(converted[f"{name}.weight"]) for name in known} == {name: i for i, name in enumerate(known)}


@pytest.mark.parametrize("tree", [trees.sd15, trees.sdxl, trees.flux, trees.sd3], ids=["sd15", "sdxl", "flux", "sd3"])
def test_no_two_modules_share_a_name(tree: Callable[[], Model]) -> None:
    """Flattening and renaming lose nothing: every module's own names lead to it alone."""
    table = names(tree())
    for component, places in table.places.items():
        for name in (live for live in places if f"{component}.{live}.weight" in table.shapes):
            own = ((f"{component}.{name}.weight", 0),)
            for spelled in (name, name.replace(".", "_")):
                assert tuple((piece.weight, piece.start) for piece in places[spelled]) == own


def test_a_block_is_not_the_beginning_of_another() -> None:
    table = names(trees.sdxl())
    for index in (1, 10):
        key = f"lora_unet_mid_block_attentions_0_transformer_blocks_{index}_attn1_to_q"
        found = [place[0].weight for _, place in table.find(key)]
        assert found == (
            [f"unet.mid_block.attentions.0.transformer_blocks.{index}.attn1.to_q.weight"] if index < 10 else []
        )


def test_the_three_generations_of_diffusers_names(tmp_path: Path) -> None:
    """Old processors, training scripts, and peft's; in one file they would all be the same module."""
    model = trees.sd15()
    stem = "mid_block.attentions.0.transformer_blocks.0.attn1"
    for module in (
        f"unet.{stem}.processor.to_q_lora.{{}}.weight",
        f"unet.{stem}.to_q.lora.{{}}.weight",
        f"unet.{stem}.to_q.lora_{{}}.weight",
    ):
        up, down = ("B", "A") if "lora_{}" in module else ("up", "down")
        tensors = {module.format(up): torch.zeros(1280, 2), module.format(down): torch.zeros(2, 1280)}
        match = resolve(network(tmp_path / "file.safetensors", tensors), model, "unknown")
        assert list(match.patches) == [f"unet.{stem}.to_q.weight"]


def test_old_text_encoder_names(tmp_path: Path) -> None:
    stem = "text_encoder.text_model.encoder.layers.0.self_attn"
    for old, new in (("to_q_lora", "q_proj"), ("to_out_lora", "out_proj"), ("q_proj.lora_linear_layer", "q_proj")):
        tensors = {f"{stem}.{old}.up.weight": torch.zeros(768, 2), f"{stem}.{old}.down.weight": torch.zeros(2, 768)}
        match = resolve(network(tmp_path / "file.safetensors", tensors), trees.sd15(), "unknown")
        (patched,) = match.patches
        assert patched.endswith(f"encoder.layers.0.self_attn.{new}.weight")


@pytest.mark.parametrize("prefix", ["lora_te2_", "lora_te3_"])
def test_t5_is_found_by_its_own_names(prefix: str, tmp_path: Path) -> None:
    name = f"{prefix}encoder_block_3_layer_1_DenseReluDense_wi_0"
    tensors = {f"{name}.lora_up.weight": torch.zeros(10240, 1), f"{name}.lora_down.weight": torch.zeros(1, 4096)}
    match = resolve(network(tmp_path / "file.safetensors", tensors), trees.flux(), "flux")
    assert list(match.patches) == ["text_encoder_2.encoder.block.3.layer.1.DenseReluDense.wi_0.weight"]


def test_openclip_in_proj_is_q_k_and_v(tmp_path: Path) -> None:
    name = "conditioner.embedders.1.model.transformer.resblocks.5.attn.in_proj"
    tensors = {f"{name}.lora_up.weight": torch.randn(3840, 1), f"{name}.lora_down.weight": torch.zeros(1, 1280)}
    match = resolve(network(tmp_path / "file.safetensors", tensors), trees.sdxl(), "sdxl")
    stem = "text_encoder_2.text_model.encoder.layers.5.self_attn"
    assert list(match.patches) == [f"{stem}.{leaf}_proj.weight" for leaf in "qkv"]
    for index, patches in enumerate(match.patches.values()):
        factors = patches[0].factors()
        assert factors is not None
        rows = tensors[f"{name}.lora_up.weight"][1280 * index : 1280 * (index + 1)]
        torch.testing.assert_close(factors[0], rows)


def test_what_diffusers_saves_of_an_autoencoder_alone(tmp_path: Path) -> None:
    """`save_lora_adapter` writes bare names, and alpha without a component into the header."""
    metadata = {"lora_adapter_metadata": '{"r": 2, "lora_alpha": 6}'}
    tensors = {"decoder.mid_block.attentions.0.to_q.lora_A.weight": torch.ones(2, 512)}
    tensors |= {"decoder.mid_block.attentions.0.to_q.lora_B.weight": torch.ones(512, 2)}
    match = resolve(network(tmp_path / "pytorch_lora_weights.safetensors", tensors, metadata), trees.sd15(), "sd15")
    ((name, (patch,)),) = match.patches.items()
    assert name == "vae.decoder.mid_block.attentions.0.to_q.weight"
    factors = patch.factors()
    assert factors is not None
    assert float((factors[0] @ factors[1])[0, 0]) == 2 * 3


def test_a_compiled_models_names_are_its_own(tmp_path: Path) -> None:
    class Compiled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self._orig_mod = nn.ModuleDict({"a": nn.Linear(3, 4)})

    tensors = {"lora_unet_a.lora_up.weight": torch.ones(4, 1), "lora_unet_a.lora_down.weight": torch.ones(1, 3)}
    match = resolve(network(tmp_path / "x.safetensors", tensors), {"unet": Compiled()}, "unknown")
    assert list(match.patches) == ["unet._orig_mod.a.weight"]
