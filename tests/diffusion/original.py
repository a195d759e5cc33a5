"""Checkpoints in the original single-file layouts, with random weights: every tensor's name and shape, written out.

The names are those of CompVis' and Stability AI's releases, as their files have them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

Shapes = dict[str, tuple[int, ...]]
BLOCK = 1 << 20


def layer(name: str, *shape: int) -> Shapes:
    """A weight and its bias."""
    return {f"{name}.weight": shape, f"{name}.bias": shape[:1]}


def _residual(name: str, width_in: int, width: int, embedding: int) -> Shapes:
    shapes = {
        **layer(f"{name}.in_layers.0", width_in),
        **layer(f"{name}.in_layers.2", width, width_in, 3, 3),
        **layer(f"{name}.emb_layers.1", width, embedding),
        **layer(f"{name}.out_layers.0", width),
        **layer(f"{name}.out_layers.3", width, width, 3, 3),
    }
    return shapes | (layer(f"{name}.skip_connection", width, width_in, 1, 1) if width_in != width else {})


def _attention(name: str, width: int, depth: int, context: int, linear: bool) -> Shapes:
    kernel = () if linear else (1, 1)
    shapes = {**layer(f"{name}.norm", width), **layer(f"{name}.proj_in", width, width, *kernel)}
    for index in range(depth):
        block = f"{name}.transformer_blocks.{index}"
        for attention, source in (("attn1", width), ("attn2", context)):
            shapes[f"{block}.{attention}.to_q.weight"] = (width, width)
            shapes[f"{block}.{attention}.to_k.weight"] = (width, source)
            shapes[f"{block}.{attention}.to_v.weight"] = (width, source)
            shapes |= layer(f"{block}.{attention}.to_out.0", width, width)
        shapes |= layer(f"{block}.ff.net.0.proj", 8 * width, width) | layer(f"{block}.ff.net.2", width, 4 * width)
        for norm in (1, 2, 3):
            shapes |= layer(f"{block}.norm{norm}", width)
    return shapes | layer(f"{name}.proj_out", width, width, *kernel)


def unet(
    widths: Sequence[int], depths: Sequence[int], context: int, linear: bool, channels: int = 4, vector: int = 0
) -> Shapes:
    """A UNet of two residual blocks a level, with `depths` transformer blocks behind each (0: no attention)."""
    root = "model.diffusion_model."
    embedding = 4 * widths[0]
    shapes = layer("time_embed.0", embedding, widths[0]) | layer("time_embed.2", embedding, embedding)
    if vector:
        shapes |= layer("label_emb.0.0", embedding, vector) | layer("label_emb.0.2", embedding, embedding)
    shapes |= layer("input_blocks.0.0", widths[0], channels, 3, 3)
    skips, width, block = [widths[0]], widths[0], 1
    for level, (wanted, depth) in enumerate(zip(widths, depths, strict=True)):
        for _ in range(2):
            shapes |= _residual(f"input_blocks.{block}.0", width, wanted, embedding)
            shapes |= _attention(f"input_blocks.{block}.1", wanted, depth, context, linear) if depth else {}
            width, block = wanted, block + 1
            skips.append(width)
        if level < len(widths) - 1:
            shapes |= layer(f"input_blocks.{block}.0.op", width, width, 3, 3)
            block += 1
            skips.append(width)
    shapes |= _residual("middle_block.0", width, width, embedding)
    shapes |= _attention("middle_block.1", width, max(depths[-1], 1), context, linear)
    shapes |= _residual("middle_block.2", width, width, embedding)
    block = 0
    for level, (wanted, depth) in reversed(list(enumerate(zip(widths, depths, strict=True)))):
        for last in (False, False, True):
            shapes |= _residual(f"output_blocks.{block}.0", width + skips.pop(), wanted, embedding)
            shapes |= _attention(f"output_blocks.{block}.1", wanted, depth, context, linear) if depth else {}
            if last and level:
                shapes |= layer(f"output_blocks.{block}.{2 if depth else 1}.conv", wanted, wanted, 3, 3)
            width, block = wanted, block + 1
    shapes |= layer("out.0", width) | layer("out.2", 4, width, 3, 3)
    return {root + name: shape for name, shape in shapes.items()}


def _vae_block(name: str, width_in: int, width: int) -> Shapes:
    shapes = layer(f"{name}.norm1", width_in) | layer(f"{name}.conv1", width, width_in, 3, 3)
    shapes |= layer(f"{name}.norm2", width) | layer(f"{name}.conv2", width, width, 3, 3)
    return shapes | (layer(f"{name}.nin_shortcut", width, width_in, 1, 1) if width_in != width else {})


def _vae_middle(name: str, width: int) -> Shapes:
    shapes = _vae_block(f"{name}.mid.block_1", width, width) | _vae_block(f"{name}.mid.block_2", width, width)
    shapes |= layer(f"{name}.mid.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        shapes |= layer(f"{name}.mid.attn_1.{part}", width, width, 1, 1)
    return shapes


def vae(
    widths: Sequence[int] = (128, 256, 512, 512),
    prefix: str = "first_stage_model.",
    latents: int = 4,
    quant: bool = True,
) -> Shapes:
    shapes = layer("encoder.conv_in", widths[0], 3, 3, 3)
    width = widths[0]
    for level, wanted in enumerate(widths):
        for block in range(2):
            shapes |= _vae_block(f"encoder.down.{level}.block.{block}", width, wanted)
            width = wanted
        if level < len(widths) - 1:
            shapes |= layer(f"encoder.down.{level}.downsample.conv", width, width, 3, 3)
    shapes |= _vae_middle("encoder", width)
    shapes |= layer("encoder.norm_out", width) | layer("encoder.conv_out", 2 * latents, width, 3, 3)
    if quant:
        shapes |= layer("quant_conv", 2 * latents, 2 * latents, 1, 1) | layer("post_quant_conv", latents, latents, 1, 1)
    shapes |= layer("decoder.conv_in", width, latents, 3, 3) | _vae_middle("decoder", width)
    for level, wanted in reversed(list(enumerate(widths))):
        for block in range(3):
            shapes |= _vae_block(f"decoder.up.{level}.block.{block}", width, wanted)
            width = wanted
        if level:
            shapes |= layer(f"decoder.up.{level}.upsample.conv", width, width, 3, 3)
    shapes |= layer("decoder.norm_out", width) | layer("decoder.conv_out", 3, width, 3, 3)
    return {prefix + name: shape for name, shape in shapes.items()}


def openai_clip(prefix: str, layers: int = 12, width: int = 768) -> Shapes:
    shapes: Shapes = {
        "embeddings.token_embedding.weight": (49408, width),
        "embeddings.position_embedding.weight": (77, width),
        "embeddings.position_ids": (1, 77),
    }
    for index in range(layers):
        block = f"encoder.layers.{index}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            shapes |= layer(f"{block}.self_attn.{part}", width, width)
        shapes |= layer(f"{block}.mlp.fc1", 4 * width, width) | layer(f"{block}.mlp.fc2", width, 4 * width)
        shapes |= layer(f"{block}.layer_norm1", width) | layer(f"{block}.layer_norm2", width)
    shapes |= layer("final_layer_norm", width)
    return {f"{prefix}transformer.text_model.{name}": shape for name, shape in shapes.items()}


def openclip(prefix: str, layers: int, width: int) -> Shapes:
    shapes: Shapes = {
        "positional_embedding": (77, width),
        "token_embedding.weight": (49408, width),
        "text_projection": (width, width),
        "logit_scale": (),
    }
    for index in range(layers):
        block = f"transformer.resblocks.{index}"
        shapes |= {f"{block}.attn.in_proj_weight": (3 * width, width), f"{block}.attn.in_proj_bias": (3 * width,)}
        shapes |= layer(f"{block}.attn.out_proj", width, width)
        shapes |= layer(f"{block}.mlp.c_fc", 4 * width, width) | layer(f"{block}.mlp.c_proj", width, 4 * width)
        shapes |= layer(f"{block}.ln_1", width) | layer(f"{block}.ln_2", width)
    shapes |= layer("ln_final", width)
    return {f"{prefix}model.{name}": shape for name, shape in shapes.items()}


def sd15(channels: int = 4) -> Shapes:
    """Stable Diffusion 1.5, of its real size."""
    return unet((320, 640, 1280, 1280), (1, 1, 1, 0), 768, False, channels) | vae() | openai_clip("cond_stage_model.")


def reduced(family: str, channels: int = 4) -> Shapes:
    """A family's real names with narrower and fewer layers."""
    small_vae = vae((32, 32, 32, 32))
    match family:
        case "sd15":
            return (
                unet((32, 64, 64, 64), (1, 1, 1, 0), 64, False, channels)
                | small_vae
                | openai_clip("cond_stage_model.", 2, 64)
            )
        case "sd2":
            return (
                unet((64, 128, 128, 128), (1, 1, 1, 0), 64, True, channels)
                | small_vae
                | openclip("cond_stage_model.", 3, 64)
            )
        case "sdxl":
            texts = openai_clip("conditioner.embedders.0.", 3, 64) | openclip("conditioner.embedders.1.", 3, 128)
            return unet((64, 128, 128), (0, 2, 3), 192, True, channels, 6 * 256 + 128) | small_vae | texts
        case _:
            texts = openclip("conditioner.embedders.0.", 3, 128)
            return unet((64, 128, 128, 128), (0, 1, 1, 0), 128, True, channels, 5 * 256 + 128) | small_vae | texts


def t5(words: int, width: int, prefix: str = "text_encoders.t5xxl.transformer.") -> Shapes:
    """T5's encoder with one block of one head."""
    block = "encoder.block.0.layer."
    shapes: Shapes = {
        "shared.weight": (words, width),
        f"{block}0.SelfAttention.o.weight": (width, 64),
        f"{block}0.SelfAttention.relative_attention_bias.weight": (32, 1),
        f"{block}0.layer_norm.weight": (width,),
        f"{block}1.DenseReluDense.wi_0.weight": (32, width),
        f"{block}1.DenseReluDense.wi_1.weight": (32, width),
        f"{block}1.DenseReluDense.wo.weight": (width, 32),
        f"{block}1.layer_norm.weight": (width,),
        "encoder.final_layer_norm.weight": (width,),
    }
    shapes |= {f"{block}0.SelfAttention.{part}.weight": (64, width) for part in "qkv"}
    return {prefix + name: shape for name, shape in shapes.items()}


def sd3(width: int, context: int, pooled: int) -> Shapes:
    """SD3's transformer with two blocks."""
    shapes: Shapes = {"pos_embed": (1, 64, width)} | layer("x_embedder.proj", width, 16, 2, 2)
    shapes |= layer("t_embedder.mlp.0", width, 256) | layer("t_embedder.mlp.2", width, width)
    shapes |= layer("y_embedder.mlp.0", width, pooled) | layer("y_embedder.mlp.2", width, width)
    shapes |= layer("context_embedder", width, context)
    for index in range(2):
        for stream in ("x_block", "context_block"):
            block, last = f"joint_blocks.{index}.{stream}", index == 1 and stream == "context_block"
            shapes |= layer(f"{block}.attn.qkv", 3 * width, width)
            shapes |= layer(f"{block}.adaLN_modulation.1", (2 if last else 6) * width, width)
            if not last:
                shapes |= layer(f"{block}.attn.proj", width, width)
                shapes |= layer(f"{block}.mlp.fc1", 4 * width, width) | layer(f"{block}.mlp.fc2", width, 4 * width)
    shapes |= layer("final_layer.linear", 64, width) | layer("final_layer.adaLN_modulation.1", 2 * width, width)
    return {f"model.diffusion_model.{name}": shape for name, shape in shapes.items()}


def flux(context: int, pooled: int, guided: bool, width: int = 3072) -> Shapes:
    """Flux's transformer with one block of each kind; diffusers converts no other width."""
    shapes = layer("img_in", width, 64) | layer("txt_in", width, context)
    for name, size in (("time_in", 256), ("vector_in", pooled), *([("guidance_in", 256)] if guided else [])):
        shapes |= layer(f"{name}.in_layer", width, size) | layer(f"{name}.out_layer", width, width)
    for stream in ("img", "txt"):
        block = f"double_blocks.0.{stream}_"
        shapes |= layer(f"{block}mod.lin", 6 * width, width) | layer(f"{block}attn.qkv", 3 * width, width)
        shapes |= layer(f"{block}attn.proj", width, width)
        shapes |= {f"{block}attn.norm.{part}_norm.scale": (128,) for part in ("query", "key")}
        shapes |= layer(f"{block}mlp.0", 4 * width, width) | layer(f"{block}mlp.2", width, 4 * width)
    block = "single_blocks.0."
    shapes |= layer(f"{block}linear1", 7 * width, width) | layer(f"{block}linear2", width, 5 * width)
    shapes |= layer(f"{block}modulation.lin", 3 * width, width)
    shapes |= {f"{block}norm.{part}_norm.scale": (128,) for part in ("query", "key")}
    shapes |= layer("final_layer.linear", 64, width) | layer("final_layer.adaLN_modulation.1", 2 * width, width)
    return {f"model.diffusion_model.{name}": shape for name, shape in shapes.items()}


def write(shapes: Shapes, path: Path, metadata: dict[str, str] | None = None) -> Path:
    """The file, in half precision. Random numbers are drawn once and repeated, which is as good and takes no time."""
    block = torch.randn(BLOCK, generator=torch.Generator("cpu").manual_seed(0)).half() * 0.02

    def tensor(name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith("position_ids"):
            return torch.arange(77)[None]
        if name.endswith((".weight", ".scale")) and len(shape) == 1:
            return torch.ones(shape, dtype=torch.float16)
        count = torch.Size(shape).numel()
        return block.repeat(count // BLOCK + 1)[:count].reshape(shape).clone()

    save_file({name: tensor(name, shape) for name, shape in shapes.items()}, path, metadata)
    return path
