"""Fused q, k and v: a file of either make on a model of either make changes the same numbers.

The oracle is the converter that makes a diffusers checkpoint of a native one: converting the native weights after the
change must give what we change.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_sd3_transformer_checkpoint_to_diffusers,
)
from torch import Tensor, nn

from app.networks.keys import names
from app.networks.places import Place
from app.networks.resolve import resolve

from . import trees
from .files_made import network

Weights = dict[str, Tensor]


def flux() -> nn.Module:
    torch.manual_seed(0)
    return FluxTransformer2DModel(
        patch_size=1,
        in_channels=8,
        num_layers=2,
        num_single_layers=2,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=12,
        pooled_projection_dim=10,
        guidance_embeds=True,
        axes_dims_rope=(2, 2, 4),
    )


BEGINNINGS = ("double_blocks.", "single_blocks.", "joint_blocks.", "final_layer.", "img_in", "txt_in", "time_in.")
BEGINNINGS += ("vector_in.", "guidance_in.", "x_embedder.proj", "t_embedder.", "y_embedder.", "context_embedder")


def native(module: nn.Module) -> dict[str, Place]:
    """The native modules that the tree has, and the rows of live weights that they are."""
    places = names({"transformer": module}).places["transformer"]
    dotted = (name for name in places if name.startswith(BEGINNINGS) and ".processor." not in name)
    return {name: places[name] for name in dotted if "." in name or name in ("img_in", "txt_in", "context_embedder")}


def weights(module: nn.Module) -> Weights:
    return {f"transformer.{name}": value.detach().clone() for name, value in module.named_parameters()}


def applied(module: nn.Module, tensors: Weights, folder: Path) -> Weights:
    """Every parameter after the file, at strength 1."""
    base = weights(module)
    match = resolve(network(folder / "file.safetensors", tensors), {"transformer": module}, "unknown")
    assert (match.unmatched, match.mismatched, match.problems) == ((), (), ())
    changed = dict(base)
    for name, patches in match.patches.items():
        for patch in patches:
            changed[name] = changed[name] + patch.delta(base.__getitem__)
    return changed


@pytest.mark.parametrize(
    ("tree", "convert"),
    [
        (trees.flux, convert_flux_transformer_checkpoint_to_diffusers),
        (trees.sd3, convert_sd3_transformer_checkpoint_to_diffusers),
        (lambda: trees.sd3(dual=True), convert_sd3_transformer_checkpoint_to_diffusers),
    ],
    ids=["flux", "sd3", "sd35-medium"],
)
def test_native_rows_land_where_the_converter_puts_them(
    tree: Callable[[], dict[str, nn.Module]], convert: Callable[..., dict[str, Tensor]]
) -> None:
    """A checkpoint of row numbers, converted, holds in each live weight the rows that our table says are there."""
    transformer = tree()["transformer"]
    checkpoint: Weights = {}
    wanted: dict[str, list[int]] = {
        f"transformer.{name}": [-1] * value.shape[0]
        for name, value in transformer.named_parameters()
        if not name.endswith(".bias")
    }
    for number, (name, place) in enumerate(native(transformer).items()):
        height = sum(piece.height for piece in place)
        rows = number * 1_000_000 + torch.arange(height)
        leaf = "scale" if name.endswith("_norm") else "weight"
        shape = (1, 4096) if name == "context_embedder" else (1,) * (place_ndim(transformer, place) - 1)
        checkpoint[f"{name}.{leaf}"] = rows.reshape(-1, *[1] * len(shape)).expand(-1, *shape).clone()
        checkpoint[f"{name}.bias"] = rows
        numbers = iter(rows.tolist())
        for piece in place:
            wanted[piece.weight][piece.start : piece.stop] = [next(numbers) for _ in range(piece.height)]
    converted = convert({**checkpoint, "pos_embed": torch.zeros(1)})
    found = {f"transformer.{name}": value for name, value in converted.items()}
    got = {name: found[name].reshape(found[name].shape[0], -1)[:, 0].tolist() for name in wanted}
    assert got == wanted


def place_ndim(module: nn.Module, place: Place) -> int:
    return module.get_parameter(place[0].weight.removeprefix("transformer.")).ndim


def keyed(module: str, roles: Weights) -> Weights:
    return {f"{module}.{role}": value for role, value in roles.items()}


def adapter(kind: str, shape: tuple[int, int], parts: int) -> Weights:
    """An adapter of the fused matrix."""
    torch.manual_seed(2)
    out, inner = shape
    lora = {
        "lora_up.weight": torch.randn(out, 2),
        "lora_down.weight": torch.randn(2, inner),
        "alpha": torch.tensor(1.0),
    }
    match kind:
        case "lora":
            return lora
        case "block-diagonal":
            ups = [torch.randn(out // parts, 2) for _ in range(parts)]
            return {"lora_up.weight": torch.block_diag(*ups), "lora_down.weight": torch.randn(2 * parts, inner)}
        case "dora-in":
            return {**lora, "dora_scale": torch.rand(1, inner) + 1}
        case "dora-out":
            return {**lora, "dora_scale": torch.rand(out, 1) + 1}
        case "loha":
            a, b = torch.randn(2, out, 2), torch.randn(2, 2, inner)
            return {"hada_w1_a": a[0], "hada_w1_b": b[0], "hada_w2_a": a[1], "hada_w2_b": b[1]}
        case "lokr":
            return {"lokr_w1": torch.randn(2, 2), "lokr_w2": torch.randn(out // 2, inner // 2)}
        case "oft":
            return {"oft_blocks": torch.randn(out // 4, 4, 4) * 0.3, "alpha": torch.tensor(0.0)}
        case "boft":
            return {"oft_blocks": torch.randn(2, out // 4, 4, 4) * 0.3, "alpha": torch.tensor(0.0)}
        case "glora":
            return {
                "a1.weight": torch.randn(inner, 3), "a2.weight": torch.randn(3, inner),
                "b1.weight": torch.randn(out, 3), "b2.weight": torch.randn(3, inner),
            }  # fmt: skip
        case "ia3-in":
            return {"weight": torch.randn(inner), "on_input": torch.tensor(1)}
        case "ia3-out":
            return {"weight": torch.randn(out), "on_input": torch.tensor(0)}
        case "kohya-oft":
            return {f"oft_blocks.{i}": torch.randn(4, out // parts // 4, out // parts // 4) * 0.3 for i in range(parts)}
        case _:
            raise AssertionError(kind)


class Fused(nn.Module):
    """A native block: q, k and v in one."""

    def __init__(self) -> None:
        super().__init__()
        self.double_blocks = nn.ModuleList([nn.ModuleDict({"img_attn": nn.ModuleDict({"qkv": nn.Linear(16, 48)})})])


KINDS = ["lora", "block-diagonal", "dora-in", "dora-out", "loha", "lokr", "oft", "boft", "glora", "ia3-in", "ia3-out"]


@pytest.mark.parametrize("kind", [*KINDS, "kohya-oft"])
def test_a_fused_file_does_to_the_parts_what_it_does_to_the_whole(kind: str, tmp_path: Path) -> None:
    split, whole = flux(), Fused()
    pieces = ["transformer.transformer_blocks.0.attn.to_" + x for x in "qkv"]
    with torch.no_grad():
        for leaf in ("weight", "bias"):
            parts = [weights(split)[f"{piece}.{leaf}"] for piece in pieces]
            getattr(whole.double_blocks[0]["img_attn"]["qkv"], leaf).copy_(torch.cat(parts))
    key = "lora_unet_double_blocks_0_img_attn_qkv"
    tensors = keyed(key, adapter(kind, (48, 16), 3))
    fused = applied(whole, tensors, tmp_path)["transformer.double_blocks.0.img_attn.qkv.weight"]
    parted = applied(split, tensors, tmp_path)
    torch.testing.assert_close(torch.cat([parted[f"{piece}.weight"] for piece in pieces]), fused, atol=1e-5, rtol=1e-5)


def test_a_split_block_diagonal_keeps_only_its_own_ranks(tmp_path: Path) -> None:
    tensors = {
        f"lora_unet_double_blocks_0_img_attn_qkv.{k}": v for k, v in adapter("block-diagonal", (48, 16), 3).items()
    }
    match = resolve(network(tmp_path / "file.safetensors", tensors), {"transformer": flux()}, "unknown")
    for patches in match.patches.values():
        factors = patches[0].factors()
        assert factors is not None
        assert factors[0].shape == (16, 2)


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_of_parts_changes_its_rows_of_a_fused_model(kind: str, tmp_path: Path) -> None:
    whole, alone = Fused(), nn.ModuleDict({"k": nn.Linear(16, 16)})
    name = "transformer.double_blocks.0.img_attn.qkv.weight"
    before = weights(whole)[name]
    with torch.no_grad():
        alone["k"].weight.copy_(before[16:32])
    part = adapter(kind, (16, 16), 1)
    after = applied(whole, keyed("transformer.transformer_blocks.0.attn.to_k", part), tmp_path)[name]
    expected = applied(alone, keyed("transformer.k", part), tmp_path)["transformer.k.weight"]
    torch.testing.assert_close(after, torch.cat([before[:16], expected, before[32:]]), atol=1e-6, rtol=1e-5)


def test_xlabs_names(tmp_path: Path) -> None:
    torch.manual_seed(3)
    tensors: Weights = {}
    for key in ("double_blocks.1.processor.qkv_lora1", "double_blocks.1.processor.qkv_lora2"):
        tensors |= keyed(key, {"up.weight": torch.randn(48, 2), "down.weight": torch.randn(2, 16)})
    single = {"up.weight": torch.randn(48, 2), "down.weight": torch.randn(2, 16)}
    tensors |= keyed("single_blocks.0.processor.qkv_lora", single)
    tensors |= keyed("double_blocks.0.processor.proj_lora2", {**single, "up.weight": torch.randn(16, 2)})
    match = resolve(network(tmp_path / "file.safetensors", tensors), {"transformer": flux()}, "flux")
    stems = ("transformer_blocks.1.attn.to_{}", "transformer_blocks.1.attn.add_{}_proj")
    stems += ("single_transformer_blocks.0.attn.to_{}",)
    wanted = {f"transformer.{stem.format(leaf)}.weight" for stem in stems for leaf in "qkv"}
    assert set(match.patches) == wanted | {"transformer.transformer_blocks.0.attn.to_add_out.weight"}
    assert match.problems == ()
