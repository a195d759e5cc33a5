"""What a model's own makers call its modules, against the live (diffusers, transformers) tree: one table per family.

A row names a native module and the live modules it is made of, from the top: several where the makers keep q, k and v
in one matrix. `fused` reads a row both ways.
"""

from __future__ import annotations

from collections.abc import Mapping

Row = tuple[str, tuple[str, ...]]


def rows(native: str, live: str, names: Mapping[str, str]) -> tuple[Row, ...]:
    """The rows of one kind of block, from native names to live ones; the parts of a fused module stand in a line."""
    return tuple((f"{native}{name}", tuple(f"{live}{part}" for part in parts.split())) for name, parts in names.items())


_QKV = "attn.to_q attn.to_k attn.to_v"
_ADDED = "attn.add_q_proj attn.add_k_proj attn.add_v_proj"
_LINEAR1 = {"linear1": f"{_QKV} proj_mlp", "linear2": "proj_out", "modulation.lin": "norm.linear"}
_DOUBLE = {
    "img_attn.qkv": _QKV, "img_attn.proj": "attn.to_out.0", "img_mod.lin": "norm1.linear",
    "img_attn.norm.query_norm": "attn.norm_q", "img_attn.norm.key_norm": "attn.norm_k",
    "txt_attn.qkv": _ADDED, "txt_attn.proj": "attn.to_add_out", "txt_mod.lin": "norm1_context.linear",
    "txt_attn.norm.query_norm": "attn.norm_added_q", "txt_attn.norm.key_norm": "attn.norm_added_k",
    "img_mlp.0": "ff.net.0.proj", "img_mlp.2": "ff.net.2",
    "txt_mlp.0": "ff_context.net.0.proj", "txt_mlp.2": "ff_context.net.2",
}  # fmt: skip
_NORMS = {"norm.query_norm": "attn.norm_q", "norm.key_norm": "attn.norm_k"}
_PROCESSORS = {  # XLabs: 1 is the image stream, 2 the text stream
    "processor.qkv_lora1": _QKV, "processor.qkv_lora2": _ADDED,
    "processor.proj_lora1": "attn.to_out.0", "processor.proj_lora2": "attn.to_add_out",
}  # fmt: skip
_EMBEDDERS = {"in_layer": "linear_1", "out_layer": "linear_2"}

FLUX: tuple[Row, ...] = (
    *rows("double_blocks.{i}.", "transformer_blocks.{i}.", _DOUBLE | _PROCESSORS),
    *rows(
        "single_blocks.{i}.",
        "single_transformer_blocks.{i}.",
        {"processor.qkv": _QKV, "processor.proj": "proj_out"} | _LINEAR1 | _NORMS,
    ),
    *rows("", "", {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"}),
    *rows("time_in.", "time_text_embed.timestep_embedder.", _EMBEDDERS),
    *rows("guidance_in.", "time_text_embed.guidance_embedder.", _EMBEDDERS),
    *rows("vector_in.", "time_text_embed.text_embedder.", _EMBEDDERS),
    *rows("distilled_guidance_layer.layers.{i}.", "distilled_guidance_layer.layers.{i}.", _EMBEDDERS),  # Chroma
)
"""Flux and its kin, as Black Forest Labs name it."""

FLUX2: tuple[Row, ...] = (
    *rows(
        "double_blocks.{i}.",
        "transformer_blocks.{i}.",
        _DOUBLE
        | {"img_mlp.0": "ff.linear_in", "img_mlp.2": "ff.linear_out"}
        | {"txt_mlp.0": "ff_context.linear_in", "txt_mlp.2": "ff_context.linear_out"},
    ),
    *rows(
        "single_blocks.{i}.",
        "single_transformer_blocks.{i}.",
        {"linear1": "attn.to_qkv_mlp_proj", "linear2": "attn.to_out"} | _NORMS,
    ),
    *rows("", "", {"img_in": "x_embedder", "txt_in": "context_embedder", "final_layer.linear": "proj_out"}),
    *rows("time_in.", "time_guidance_embed.timestep_embedder.", _EMBEDDERS),
    *rows("guidance_in.", "time_guidance_embed.guidance_embedder.", _EMBEDDERS),
    *(
        (f"{name}.lin", (f"{name}.linear",))
        for name in ("double_stream_modulation_img", "double_stream_modulation_txt", "single_stream_modulation")
    ),
)
"""Flux.2, by the same."""

_STREAMS = {
    "img_attn_q": "attn.to_q", "img_attn_k": "attn.to_k", "img_attn_v": "attn.to_v", "img_attn_qkv": _QKV,
    "txt_attn_q": "attn.add_q_proj", "txt_attn_k": "attn.add_k_proj", "txt_attn_v": "attn.add_v_proj",
    "txt_attn_qkv": _ADDED, "img_attn_proj": "attn.to_out.0", "txt_attn_proj": "attn.to_add_out",
    "img_attn_q_norm": "attn.norm_q", "img_attn_k_norm": "attn.norm_k",
    "txt_attn_q_norm": "attn.norm_added_q", "txt_attn_k_norm": "attn.norm_added_k",
    "img_mod.linear": "norm1.linear", "txt_mod.linear": "norm1_context.linear",
    "img_mlp.fc1": "ff.net.0.proj", "img_mlp.fc2": "ff.net.2",
    "txt_mlp.fc1": "ff_context.net.0.proj", "txt_mlp.fc2": "ff_context.net.2",
}  # fmt: skip
_STREAM = {
    "linear1_q": "attn.to_q", "linear1_k": "attn.to_k", "linear1_v": "attn.to_v", "linear1_mlp": "proj_mlp",
    "linear2.fc": "proj_out", "modulation.linear": "norm.linear", "q_norm": "attn.norm_q", "k_norm": "attn.norm_k",
}  # fmt: skip
_MLP = {"mlp.0": "linear_1", "mlp.2": "linear_2"}
HUNYUAN: tuple[Row, ...] = (
    *rows("double_blocks.{i}.", "transformer_blocks.{i}.", _STREAMS | _DOUBLE),
    *rows("single_blocks.{i}.", "single_transformer_blocks.{i}.", _STREAM | _LINEAR1 | _NORMS),
    *rows(
        "txt_in.individual_token_refiner.blocks.{i}.",
        "context_embedder.token_refiner.refiner_blocks.{i}.",
        {"self_attn_qkv": _QKV, "self_attn_q": "attn.to_q", "self_attn_k": "attn.to_k", "self_attn_v": "attn.to_v"}
        | {"self_attn.qkv": _QKV, "self_attn_proj": "attn.to_out.0", "self_attn.proj": "attn.to_out.0"}
        | {"mlp.fc1": "ff.net.0.proj", "mlp.fc2": "ff.net.2", "mlp.0": "ff.net.0.proj", "mlp.2": "ff.net.2"}
        | {"adaLN_modulation.1": "norm_out.linear", "norm1": "norm1", "norm2": "norm2"},
    ),
    *rows("txt_in.t_embedder.", "context_embedder.time_text_embed.timestep_embedder.", _MLP),
    *rows(
        "txt_in.c_embedder.",
        "context_embedder.time_text_embed.text_embedder.",
        {f"linear_{n}": f"linear_{n}" for n in "12"},
    ),
    *rows("", "", {"img_in.proj": "x_embedder.proj", "txt_in.input_embedder": "context_embedder.proj_in"}),
    *rows("", "", {"final_layer.linear": "proj_out"}),
    *rows("time_in.", "time_text_embed.timestep_embedder.", _MLP | _EMBEDDERS),
    *rows("guidance_in.", "time_text_embed.guidance_embedder.", _MLP | _EMBEDDERS),
    *rows("vector_in.", "time_text_embed.text_embedder.", _EMBEDDERS),
    *rows("time_in.", "time_guidance_embed.timestep_embedder.", _MLP),  # HunyuanImage
    *rows("guidance_in.", "time_guidance_embed.guidance_embedder.", _MLP),
)
"""HunyuanVideo and HunyuanImage, as Tencent name them, and in Flux's manner, as ComfyUI does."""

_FEED = {f"feed_forward.w{n}": f"feed_forward.linear_{n}" for n in "123"}
_LUMINA = {
    "attention.qkv": _QKV, "attention.out": "attn.to_out.0",
    "attention.q_norm": "attn.norm_q", "attention.k_norm": "attn.norm_k", "attention_norm2": "norm2",
}  # fmt: skip
_MODULATED = {"adaLN_modulation.1": "norm1.linear", "attention_norm1": "norm1.norm"}
LUMINA2: tuple[Row, ...] = (
    *(
        row
        for blocks in ("layers.{i}.", "noise_refiner.{i}.", "context_refiner.{i}.")
        for row in rows(blocks, blocks, _LUMINA | _FEED | _MODULATED)
    ),
    *rows("context_refiner.{i}.", "context_refiner.{i}.", {"attention_norm1": "norm1"}),
    *rows("t_embedder.", "time_caption_embed.timestep_embedder.", _MLP),
    *rows("cap_embedder.", "time_caption_embed.caption_embedder.", {"0": "0", "1": "1"}),
    *rows("final_layer.", "norm_out.", {"adaLN_modulation.1": "linear_1", "linear": "linear_2"}),
)
"""Lumina-Image 2, as Alpha-VLLM name it."""

_ATTENTION = {
    "attention.qkv": "attention.to_q attention.to_k attention.to_v", "attention.out": "attention.to_out.0",
    "attention.q_norm": "attention.norm_q", "attention.k_norm": "attention.norm_k",
}  # fmt: skip
Z_IMAGE: tuple[Row, ...] = (
    *(
        row
        for blocks in ("layers.{i}.", "noise_refiner.{i}.", "context_refiner.{i}.")
        for row in rows(blocks, blocks, _ATTENTION)
    ),
    *rows("", "all_", {"x_embedder": "x_embedder.2-1"}),
    *rows("final_layer.", "all_final_layer.2-1.", {"linear": "linear", "adaLN_modulation.1": "adaLN_modulation.1"}),
)
"""Z-Image, as Tongyi name it."""

_CROSS = {f"{own}_attn.{x}": f"{live}.to_{x}" for own, live in (("self", "attn1"), ("cross", "attn2")) for x in "qkv"}
WAN: tuple[Row, ...] = (
    *rows(
        "blocks.{i}.",
        "blocks.{i}.",
        _CROSS
        | {f"self_attn.{x}": f"attn1.{y}" for x, y in (("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k"))}
        | {f"cross_attn.{x}": f"attn2.{y}" for x, y in (("o", "to_out.0"), ("norm_q", "norm_q"), ("norm_k", "norm_k"))}
        | {"cross_attn.k_img": "attn2.add_k_proj", "cross_attn.v_img": "attn2.add_v_proj"}
        | {"cross_attn.norm_k_img": "attn2.norm_added_k", "norm3": "norm2"}
        | {"ffn.0": "ffn.net.0.proj", "ffn.2": "ffn.net.2"},
    ),
    *rows("time_embedding.", "condition_embedder.time_embedder.", {"0": "linear_1", "2": "linear_2"}),
    *rows("text_embedding.", "condition_embedder.text_embedder.", {"0": "linear_1", "2": "linear_2"}),
    *rows("", "", {"time_projection.1": "condition_embedder.time_proj", "head.head": "proj_out"}),
    *rows(
        "img_emb.proj.",
        "condition_embedder.image_embedder.",
        {"0": "norm1", "1": "ff.net.0.proj", "3": "ff.net.2", "4": "norm2"},
    ),
)
"""Wan 2, as Alibaba name it."""

_COSMOS = {f"{own}_attn.output_proj": f"{live}.to_out.0" for own, live in (("self", "attn1"), ("cross", "attn2"))}
_COSMOS |= {
    f"{own}_attn.{x}": f"{live}.{y}"
    for own, live in (("self", "attn1"), ("cross", "attn2"))
    for x, y in (*((f"{z}_proj", f"to_{z}") for z in "qkv"), *((f"{z}_norm", f"norm_{z}") for z in "qk"))
}
_ADAPTED = {
    f"adaln_modulation_{own}.{n}": f"{live}.linear_{n}"
    for own, live in (("self_attn", "norm1"), ("cross_attn", "norm2"), ("mlp", "norm3"))
    for n in "12"
}
COSMOS: tuple[Row, ...] = (
    *rows(
        "blocks.{i}.",
        "transformer_blocks.{i}.",
        _COSMOS | _ADAPTED | {"mlp.layer1": "ff.net.0.proj", "mlp.layer2": "ff.net.2"},
    ),
    *rows("t_embedder.1.", "time_embed.t_embedder.", {"linear_1": "linear_1", "linear_2": "linear_2"}),
    *rows("", "", {"t_embedding_norm": "time_embed.norm", "x_embedder.proj.1": "patch_embed.proj"}),
    *rows("final_layer.", "", {"linear": "proj_out"}),
    *rows("final_layer.adaln_modulation.", "norm_out.", {"1": "linear_1", "2": "linear_2"}),
)
"""Cosmos 2 and Anima, as NVIDIA name it."""

_JOINT = {
    "x_block.attn.qkv": _QKV, "x_block.attn.proj": "attn.to_out.0",
    "x_block.attn.ln_q": "attn.norm_q", "x_block.attn.ln_k": "attn.norm_k",
    "x_block.attn2.qkv": "attn2.to_q attn2.to_k attn2.to_v", "x_block.attn2.proj": "attn2.to_out.0",
    "x_block.attn2.ln_q": "attn2.norm_q", "x_block.attn2.ln_k": "attn2.norm_k",
    "x_block.mlp.fc1": "ff.net.0.proj", "x_block.mlp.fc2": "ff.net.2", "x_block.adaLN_modulation.1": "norm1.linear",
    "context_block.attn.qkv": _ADDED, "context_block.attn.proj": "attn.to_add_out",
    "context_block.attn.ln_q": "attn.norm_added_q", "context_block.attn.ln_k": "attn.norm_added_k",
    "context_block.mlp.fc1": "ff_context.net.0.proj", "context_block.mlp.fc2": "ff_context.net.2",
    "context_block.adaLN_modulation.1": "norm1_context.linear",
}  # fmt: skip
SD3: tuple[Row, ...] = (
    *rows("joint_blocks.{i}.", "transformer_blocks.{i}.", _JOINT),
    *rows("", "", {"x_embedder.proj": "pos_embed.proj", "final_layer.linear": "proj_out"}),
    *rows("t_embedder.", "time_text_embed.timestep_embedder.", _MLP),
    *rows("y_embedder.", "time_text_embed.text_embedder.", _MLP),
)
"""SD3 and SD3.5, as Stability AI name it."""

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

FAMILIES: tuple[tuple[str, tuple[Row, ...]], ...] = (
    (".attn.to_qkv_mlp_proj", FLUX2),
    ("context_embedder.proj_in", HUNYUAN),
    ("single_transformer_blocks.0.attn.to_q", FLUX),
    ("double_blocks.0.img_attn.qkv", FLUX),
    ("time_caption_embed.timestep_embedder.linear_1", LUMINA2),
    ("all_x_embedder.2-1", Z_IMAGE),
    ("condition_embedder.time_proj", WAN),
    ("time_embed.t_embedder.linear_1", COSMOS),
    ("joint_blocks.0.x_block.attn.qkv", SD3),
    (".attn.add_q_proj", SD3),
)
"""What the name of a live module ends with in one family alone, and the family's table; the first that is there."""
