"""SD3 and Flux in one file: the transformer, and the text encoders and the VAE where the file has them all."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel
from diffusers.loaders.single_file_utils import (
    convert_flux_transformer_checkpoint_to_diffusers,
    convert_ldm_vae_checkpoint,
    convert_sd3_transformer_checkpoint_to_diffusers,
)
from torch import Tensor
from transformers import (
    AutoTokenizer,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTextModelWithProjection,
    T5Config,
    T5EncoderModel,
)

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import Placement
from app.diffusion.folders import reading
from app.diffusion.layouts import CONFIGS, UNET, Shapes, clip_config, count, vae_config
from app.diffusion.single_file import Part, padded, shapes_of
from app.diffusion.tokens import read_tokenizer
from app.errors import CheckpointError

T5_NAME = "google/t5-v1_1-xxl"
T5_FOLDER = "t5-tokenizer"
CLIP_L, CLIP_G, T5 = (f"text_encoders.{name}.transformer." for name in ("clip_l", "clip_g", "t5xxl"))
SCHEDULERS: Mapping[str, Mapping[str, Any]] = {
    "sd3": {"shift": 3.0},
    "flux": {"use_dynamic_shifting": True, "base_shift": 0.5, "max_shift": 1.15},
    "flux-schnell": {"shift": 1.0},
}
VAES: Mapping[str, Mapping[str, float]] = {
    "sd3": {"scaling_factor": 1.5305, "shift_factor": 0.0609},
    "flux": {"scaling_factor": 0.3611, "shift_factor": 0.1159},
}


def load_flow_file(
    path: Path, tensors: Mapping[str, Tensor], family: str, placement: Placement, t5_tokenizer: Callable[[], Any]
) -> Checkpoint:
    """A checkpoint of SD3 or Flux from the tensors of one file.

    Raises:
        CheckpointError: naming what is missing; many such files hold the transformer alone.
    """
    components = {}
    for part in flow_parts(path, tensors, family):
        # T5 overflows in fp16, and bf16 takes as little.
        halved = isinstance(part.module, T5EncoderModel) and placement.dtype == torch.float16
        with reading(path):
            components[part.name] = part.filled(torch.bfloat16 if halved else placement.dtype)
    tokenizer = read_tokenizer(CONFIGS / "clip-tokenizer")
    return Checkpoint(
        name=path.stem,
        path=path,
        family="sd3" if family == "sd3" else "flux",
        prediction="flow",
        components=components,
        tokenizers={name: padded(tokenizer, pad) for name, pad in FLOW_PADS[family].items()},
        scheduler_config=flow_scheduler(tensors, family),
        placement=placement,
        t5_tokenizer=t5_tokenizer() if any(isinstance(m, T5EncoderModel) for m in components.values()) else None,
    )


FLOW_PADS: Mapping[str, Mapping[str, str]] = {
    "sd3": {"text_encoder": "<|endoftext|>", "text_encoder_2": "!"},
    "flux": {"text_encoder": "<|endoftext|>"},
}
"""The CLIP text encoders of each family, and the token that fills their chunks."""


def flow_scheduler(tensors: Mapping[str, Tensor], family: str) -> Mapping[str, Any]:
    """The scheduler's configuration: a Flux without guidance is a distilled one."""
    guided = family != "flux" or "guidance_in.in_layer.weight" in _bare(tensors)
    return SCHEDULERS[family if guided else "flux-schnell"]


def flow_parts(path: Path, tensors: Mapping[str, Tensor], family: str) -> list[Part]:
    """The components of a file of SD3 or Flux.

    Raises:
        CheckpointError: naming what is missing; many such files hold the transformer alone.
    """
    vae = next(
        (prefix for prefix in ("first_stage_model.", "vae.") if f"{prefix}decoder.conv_in.weight" in tensors), None
    )
    needed = {CLIP_L, CLIP_G} if family == "sd3" else {CLIP_L, T5}
    absent = [prefix.split(".")[1] for prefix in sorted(needed) if not any(name.startswith(prefix) for name in tensors)]
    absent += [] if vae else ["the VAE"]
    if absent:
        hint = "Use a file that holds everything, or a diffusers folder."
        raise CheckpointError(f"The file lacks {', '.join(absent)}.", where=str(path), hint=hint)
    with reading(path):
        return [
            _transformer(tensors, family),
            *_text_encoders(tensors, family),
            _vae(tensors, str(vae), family),
        ]


def _bare(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's tensors, under its own names."""
    outside = ("text_encoders.", "first_stage_model.", "vae.")
    return {name.removeprefix(UNET): tensor for name, tensor in tensors.items() if not name.startswith(outside)}


def _transformer(tensors: Mapping[str, Tensor], family: str) -> Part:
    inner = _bare(tensors)
    shapes = shapes_of(inner)
    with init_empty_weights():
        model: Any = (
            SD3Transformer2DModel(**sd3_config(shapes))
            if family == "sd3"
            else FluxTransformer2DModel(**flux_config(shapes))
        )
    convert = (
        convert_sd3_transformer_checkpoint_to_diffusers
        if family == "sd3"
        else convert_flux_transformer_checkpoint_to_diffusers
    )
    return Part("transformer", model, convert(inner))


def sd3_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of diffusers' SD3Transformer2DModel with these shapes, in the original layout."""
    width, channels, patch, _ = shapes["x_embedder.proj.weight"]
    layers = count(shapes, r"joint_blocks\.(\d+)\.")
    dual = [index for index in range(layers) if f"joint_blocks.{index}.x_block.attn2.qkv.weight" in shapes]
    return {
        "patch_size": patch,
        "in_channels": channels,
        "out_channels": shapes["final_layer.linear.weight"][0] // patch**2,
        "num_layers": layers,
        "attention_head_dim": 64,
        "num_attention_heads": width // 64,
        "joint_attention_dim": shapes["context_embedder.weight"][1],
        "caption_projection_dim": shapes["context_embedder.weight"][0],
        "pooled_projection_dim": shapes["y_embedder.mlp.0.weight"][1],
        "pos_embed_max_size": math.isqrt(shapes["pos_embed"][1]),
        "qk_norm": "rms_norm" if "joint_blocks.0.x_block.attn.ln_q.weight" in shapes else None,
        "dual_attention_layers": tuple(dual),
    }


def flux_config(shapes: Shapes) -> dict[str, Any]:
    """The configuration of diffusers' FluxTransformer2DModel with these shapes, in the original layout."""
    width, channels = shapes["img_in.weight"]
    if channels != 64:
        raise ValueError(f"a Flux of {channels} input channels (fill, depth) cannot be used")
    return {
        "in_channels": channels,
        "num_layers": count(shapes, r"double_blocks\.(\d+)\."),
        "num_single_layers": count(shapes, r"single_blocks\.(\d+)\."),
        "num_attention_heads": width // 128,
        "joint_attention_dim": shapes["txt_in.weight"][1],
        "pooled_projection_dim": shapes["vector_in.in_layer.weight"][1],
        "guidance_embeds": "guidance_in.in_layer.weight" in shapes,
    }


def _text_encoders(tensors: Mapping[str, Tensor], family: str) -> list[Part]:
    projected = family == "sd3"
    encoders = [_clip("text_encoder", tensors, CLIP_L, "quick_gelu", projected)]
    if family == "sd3":
        encoders.append(_clip("text_encoder_2", tensors, CLIP_G, "gelu", True))
    if any(name.startswith(T5) for name in tensors):
        encoders.append(_t5("text_encoder_3" if family == "sd3" else "text_encoder_2", tensors))
    return encoders


def _clip(name: str, tensors: Mapping[str, Tensor], prefix: str, act: str, projected: bool) -> Part:
    inner = {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}
    config = clip_config(shapes_of(inner), "") | {"hidden_act": act, "bos_token_id": 49406, "eos_token_id": 49407}
    with init_empty_weights():
        model = (CLIPTextModelWithProjection if projected else CLIPTextModel)(CLIPTextConfig(**config))
    if projected and "text_projection.weight" not in inner:
        inner["text_projection.weight"] = torch.eye(config["hidden_size"])  # CLIP-L's is left out of the files
    if not projected:
        inner = {key.removeprefix("text_model."): tensor for key, tensor in inner.items()}
    return Part(name, model, inner)


def _t5(name: str, tensors: Mapping[str, Tensor]) -> Part:
    inner = {key.removeprefix(T5): tensor for key, tensor in tensors.items() if key.startswith(T5)}
    shapes = shapes_of(inner)
    config = T5Config(
        vocab_size=shapes["shared.weight"][0],
        d_model=shapes["shared.weight"][1],
        d_kv=64,
        d_ff=shapes["encoder.block.0.layer.1.DenseReluDense.wi_0.weight"][0],
        num_layers=count(shapes, r"encoder\.block\.(\d+)\."),
        num_heads=shapes["encoder.block.0.layer.0.SelfAttention.q.weight"][0] // 64,
        feed_forward_proj="gated-gelu",
    )
    with init_empty_weights():
        model = T5EncoderModel(config)
    return Part(name, model, {"encoder.embed_tokens.weight": inner["shared.weight"], **inner})


def _vae(tensors: Mapping[str, Tensor], prefix: str, family: str) -> Part:
    inner = {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    with init_empty_weights():
        model: Any = AutoencoderKL(**vae_config(shapes_of(inner), ""), **VAES[family])
    return Part("vae", model, convert_ldm_vae_checkpoint(inner, model.config))


def t5_tokenizer(folder: Path, fetch: Callable[[], Any] | None = None) -> Any:
    """T5's tokenizer from a folder; where it is not there yet, from the hub, once.

    Raises:
        CheckpointError: saying which folder to fill, if the hub cannot be reached either.
    """
    if (folder / "tokenizer.json").exists() or (folder / "spiece.model").exists():
        with reading(folder):
            return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    try:
        tokenizer = fetch() if fetch else AutoTokenizer.from_pretrained(T5_NAME)
        tokenizer.save_pretrained(folder)
    except (OSError, ValueError) as error:
        hint = f"Put the files tokenizer.json and tokenizer_config.json of {T5_NAME} into {folder}."
        raise CheckpointError(
            "T5's tokenizer is not here and cannot be fetched.", where=str(folder), hint=hint
        ) from error
    return tokenizer
