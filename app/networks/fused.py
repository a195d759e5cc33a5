"""Modules that one library keeps whole and another in parts: q, k and v in one matrix, and their like.

A row of a table names the whole (native) module and its live parts from the top. The same row serves both ways:
a file with the whole on a model with the parts, and a file with parts on a model with the whole.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.networks.places import Place

Row = tuple[str, tuple[str, ...]]

FLUX: tuple[Row, ...] = (
    ("double_blocks.{i}.img_attn.qkv", tuple(f"transformer_blocks.{{i}}.attn.to_{x}" for x in "qkv")),
    ("double_blocks.{i}.txt_attn.qkv", tuple(f"transformer_blocks.{{i}}.attn.add_{x}_proj" for x in "qkv")),
    ("double_blocks.{i}.img_attn.proj", ("transformer_blocks.{i}.attn.to_out.0",)),
    ("double_blocks.{i}.txt_attn.proj", ("transformer_blocks.{i}.attn.to_add_out",)),
    ("double_blocks.{i}.img_attn.norm.query_norm", ("transformer_blocks.{i}.attn.norm_q",)),
    ("double_blocks.{i}.img_attn.norm.key_norm", ("transformer_blocks.{i}.attn.norm_k",)),
    ("double_blocks.{i}.txt_attn.norm.query_norm", ("transformer_blocks.{i}.attn.norm_added_q",)),
    ("double_blocks.{i}.txt_attn.norm.key_norm", ("transformer_blocks.{i}.attn.norm_added_k",)),
    ("double_blocks.{i}.img_mlp.0", ("transformer_blocks.{i}.ff.net.0.proj",)),
    ("double_blocks.{i}.img_mlp.2", ("transformer_blocks.{i}.ff.net.2",)),
    ("double_blocks.{i}.txt_mlp.0", ("transformer_blocks.{i}.ff_context.net.0.proj",)),
    ("double_blocks.{i}.txt_mlp.2", ("transformer_blocks.{i}.ff_context.net.2",)),
    ("double_blocks.{i}.img_mod.lin", ("transformer_blocks.{i}.norm1.linear",)),
    ("double_blocks.{i}.txt_mod.lin", ("transformer_blocks.{i}.norm1_context.linear",)),
    # XLabs: 1 is the image stream, 2 the text stream
    ("double_blocks.{i}.processor.qkv_lora1", tuple(f"transformer_blocks.{{i}}.attn.to_{x}" for x in "qkv")),
    ("double_blocks.{i}.processor.qkv_lora2", tuple(f"transformer_blocks.{{i}}.attn.add_{x}_proj" for x in "qkv")),
    ("double_blocks.{i}.processor.proj_lora1", ("transformer_blocks.{i}.attn.to_out.0",)),
    ("double_blocks.{i}.processor.proj_lora2", ("transformer_blocks.{i}.attn.to_add_out",)),
    ("single_blocks.{i}.processor.qkv", tuple(f"single_transformer_blocks.{{i}}.attn.to_{x}" for x in "qkv")),
    ("single_blocks.{i}.processor.proj", ("single_transformer_blocks.{i}.proj_out",)),
    (
        "single_blocks.{i}.linear1",
        (
            *(f"single_transformer_blocks.{{i}}.attn.to_{x}" for x in "qkv"),
            "single_transformer_blocks.{i}.proj_mlp",
        ),
    ),
    ("single_blocks.{i}.linear2", ("single_transformer_blocks.{i}.proj_out",)),
    ("single_blocks.{i}.modulation.lin", ("single_transformer_blocks.{i}.norm.linear",)),
    ("single_blocks.{i}.norm.query_norm", ("single_transformer_blocks.{i}.attn.norm_q",)),
    ("single_blocks.{i}.norm.key_norm", ("single_transformer_blocks.{i}.attn.norm_k",)),
    ("img_in", ("x_embedder",)),
    ("txt_in", ("context_embedder",)),
    ("time_in.in_layer", ("time_text_embed.timestep_embedder.linear_1",)),
    ("time_in.out_layer", ("time_text_embed.timestep_embedder.linear_2",)),
    ("guidance_in.in_layer", ("time_text_embed.guidance_embedder.linear_1",)),
    ("guidance_in.out_layer", ("time_text_embed.guidance_embedder.linear_2",)),
    ("vector_in.in_layer", ("time_text_embed.text_embedder.linear_1",)),
    ("vector_in.out_layer", ("time_text_embed.text_embedder.linear_2",)),
    ("distilled_guidance_layer.layers.{i}.in_layer", ("distilled_guidance_layer.layers.{i}.linear_1",)),  # Chroma
    ("distilled_guidance_layer.layers.{i}.out_layer", ("distilled_guidance_layer.layers.{i}.linear_2",)),
    ("final_layer.linear", ("proj_out",)),
)
"""Flux and its kin, as Black Forest Labs name it, against diffusers."""

SD3: tuple[Row, ...] = (
    ("joint_blocks.{i}.x_block.attn.qkv", tuple(f"transformer_blocks.{{i}}.attn.to_{x}" for x in "qkv")),
    ("joint_blocks.{i}.context_block.attn.qkv", tuple(f"transformer_blocks.{{i}}.attn.add_{x}_proj" for x in "qkv")),
    ("joint_blocks.{i}.x_block.attn2.qkv", tuple(f"transformer_blocks.{{i}}.attn2.to_{x}" for x in "qkv")),
    ("joint_blocks.{i}.x_block.attn.proj", ("transformer_blocks.{i}.attn.to_out.0",)),
    ("joint_blocks.{i}.context_block.attn.proj", ("transformer_blocks.{i}.attn.to_add_out",)),
    ("joint_blocks.{i}.x_block.attn2.proj", ("transformer_blocks.{i}.attn2.to_out.0",)),
    ("joint_blocks.{i}.x_block.attn.ln_q", ("transformer_blocks.{i}.attn.norm_q",)),
    ("joint_blocks.{i}.x_block.attn.ln_k", ("transformer_blocks.{i}.attn.norm_k",)),
    ("joint_blocks.{i}.context_block.attn.ln_q", ("transformer_blocks.{i}.attn.norm_added_q",)),
    ("joint_blocks.{i}.context_block.attn.ln_k", ("transformer_blocks.{i}.attn.norm_added_k",)),
    ("joint_blocks.{i}.x_block.attn2.ln_q", ("transformer_blocks.{i}.attn2.norm_q",)),
    ("joint_blocks.{i}.x_block.attn2.ln_k", ("transformer_blocks.{i}.attn2.norm_k",)),
    ("joint_blocks.{i}.x_block.mlp.fc1", ("transformer_blocks.{i}.ff.net.0.proj",)),
    ("joint_blocks.{i}.x_block.mlp.fc2", ("transformer_blocks.{i}.ff.net.2",)),
    ("joint_blocks.{i}.context_block.mlp.fc1", ("transformer_blocks.{i}.ff_context.net.0.proj",)),
    ("joint_blocks.{i}.context_block.mlp.fc2", ("transformer_blocks.{i}.ff_context.net.2",)),
    ("joint_blocks.{i}.x_block.adaLN_modulation.1", ("transformer_blocks.{i}.norm1.linear",)),
    ("joint_blocks.{i}.context_block.adaLN_modulation.1", ("transformer_blocks.{i}.norm1_context.linear",)),
    ("x_embedder.proj", ("pos_embed.proj",)),
    ("t_embedder.mlp.0", ("time_text_embed.timestep_embedder.linear_1",)),
    ("t_embedder.mlp.2", ("time_text_embed.timestep_embedder.linear_2",)),
    ("y_embedder.mlp.0", ("time_text_embed.text_embedder.linear_1",)),
    ("y_embedder.mlp.2", ("time_text_embed.text_embedder.linear_2",)),
    ("final_layer.linear", ("proj_out",)),
)
"""SD3 and SD3.5, as Stability AI name it, against diffusers."""

CLIP: tuple[Row, ...] = tuple(
    (
        f"{outer}transformer.resblocks.{{i}}.attn.in_proj",
        tuple(f"{inner}encoder.layers.{{i}}.self_attn.{x}_proj" for x in "qkv"),
    )
    for outer in ("", "model.")
    for inner in ("", "text_model.")
)
"""OpenCLIP against transformers."""

SWAPPED: tuple[tuple[str, str], ...] = (
    ("final_layer.adaLN_modulation.1", "norm_out.linear"),
    ("joint_blocks.{i}.context_block.adaLN_modulation.1", "transformer_blocks.{i}.norm1_context.linear"),
)
"""One module whose halves stand the other way about: shift, scale natively; scale, shift in diffusers.

The second is so only in SD3's last block, whose text stream ends: its matrix is twice as high as it is wide.
"""

SIBLINGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("to_qkv", ("to_q", "to_k", "to_v")),
    ("qkv", ("to_q", "to_k", "to_v")),
    ("to_added_qkv", ("add_q_proj", "add_k_proj", "add_v_proj")),
    ("in_proj", ("q_proj", "k_proj", "v_proj")),
)
"""Projections that lie beside each other under one parent, in any model."""


def places(tree: Mapping[str, Place]) -> Iterator[tuple[str, Place]]:
    """Other names with their places: of fused modules on a tree of parts, and of parts on a tree of fused modules.

    `tree` maps each live module's name to its whole weight.
    """
    indices = range(1 + max((int(part) for name in tree for part in name.split(".") if part.isdecimal()), default=-1))
    yield from _swapped(tree, indices)
    for whole, parts in _rows(tree):
        for index in indices if "{i}" in whole else range(1):
            name, members = whole.format(i=index), tuple(part.format(i=index) for part in parts)
            yield from _both_ways(tree, name, members)
    yield from _siblings(tree)


def _rows(tree: Mapping[str, Place]) -> tuple[Row, ...]:
    """The rows of the architecture that the tree's names show."""
    if any(name.startswith(("single_transformer_blocks.", "double_blocks.")) for name in tree):
        return FLUX
    if any(name.startswith("joint_blocks.") or name.endswith(".attn.add_q_proj") for name in tree):
        return SD3
    return CLIP


def _both_ways(tree: Mapping[str, Place], whole: str, parts: tuple[str, ...]) -> Iterator[tuple[str, Place]]:
    if all(part in tree for part in parts):
        yield whole, tuple(piece for part in parts for piece in tree[part])
    elif whole in tree and len(tree[whole]) == 1:
        (piece,) = tree[whole]
        top = 0
        for part, height in zip(parts, _heights(piece.height, len(parts)), strict=True):
            yield part, (piece.part(top, top + height),)
            top += height


def _heights(rows: int, parts: int) -> tuple[int, ...]:
    """Equal parts; of linear1's four, q, k and v are as high as the matrix is wide, and the feed-forward four times."""
    if parts == 4:
        return (rows // 7,) * 3 + (rows - 3 * (rows // 7),)
    return (rows // parts,) * parts


def _swapped(tree: Mapping[str, Place], indices: range) -> Iterator[tuple[str, Place]]:
    for whole, live in SWAPPED:
        for index in indices if "{i}" in whole else range(1):
            place = tree.get(live.format(i=index))
            following = live.format(i=index + 1)
            if place is not None and ("{i}" not in live or following not in tree):
                (piece,) = place
                half = piece.height // 2
                yield whole.format(i=index), (piece.part(half, 2 * half), piece.part(0, half))


def _siblings(tree: Mapping[str, Place]) -> Iterator[tuple[str, Place]]:
    for name in tree:
        parent, _, leaf = name.rpartition(".")
        for whole, parts in SIBLINGS:
            if leaf in (whole, parts[0]):
                stem = f"{parent}." if parent else ""
                yield from _both_ways(tree, stem + whole, tuple(stem + part for part in parts))
