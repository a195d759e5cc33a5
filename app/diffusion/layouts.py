"""Original single-file layouts: which model a file holds, and its modules' configurations, from its tensors' shapes.

What shapes cannot tell (activations, scaling factors, noise) is data: `configs/<family>.json`. No torch here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from app.errors import CheckpointError

CONFIGS = Path(__file__).parent / "configs"
Shapes = Mapping[str, tuple[int, ...]]
Family = Literal["sd15", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux"]

UNET = "model.diffusion_model."
SIGNS: tuple[tuple[str, Family], ...] = (
    ("joint_blocks.0.context_block.adaLN_modulation.1.weight", "sd3"),
    (UNET + "joint_blocks.0.context_block.adaLN_modulation.1.weight", "sd3"),
    ("double_blocks.0.img_attn.qkv.weight", "flux"),
    (UNET + "double_blocks.0.img_attn.qkv.weight", "flux"),
    ("conditioner.embedders.1.model.token_embedding.weight", "sdxl"),
    ("conditioner.embedders.0.model.token_embedding.weight", "sdxl-refiner"),
    ("cond_stage_model.model.token_embedding.weight", "sd2"),
    ("cond_stage_model.transformer.text_model.embeddings.token_embedding.weight", "sd15"),
    ("cond_stage_model.transformer.embeddings.token_embedding.weight", "sd15"),
)
"""A tensor that only this family's files have; the first that is there decides."""
TEXT_PREFIXES: Mapping[str, Mapping[str, str]] = {
    "sd15": {"text_encoder": "cond_stage_model.transformer."},
    "sd2": {"text_encoder": "cond_stage_model.model."},
    "sdxl": {
        "text_encoder": "conditioner.embedders.0.transformer.",
        "text_encoder_2": "conditioner.embedders.1.model.",
    },
    "sdxl-refiner": {"text_encoder_2": "conditioner.embedders.0.model."},
}
LAYERS_LIMIT = 1000
HEAD_WIDTH = 64
"""Of every CLIP text encoder and of the attention of SD 2 and SDXL; SD 1 has 8 heads whatever their width."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a file holds. `prediction` is None where the file does not say; `configs` are diffusers', by component."""

    family: Family
    prediction: Literal["epsilon", "v_prediction"] | None
    inpainting: bool
    configs: Mapping[str, Mapping[str, Any]]
    pad_tokens: Mapping[str, str]


def recognised(shapes: Shapes, where: str) -> Family:
    """The family of a file.

    Raises:
        CheckpointError: if it is none of those that can be loaded.
    """
    if "edm_mean" in shapes:
        raise CheckpointError("Models with EDM's preconditioning (Playground 2.5) cannot be loaded.", where=where)
    for name, family in SIGNS:
        if name in shapes:
            return family
    what = "its text encoder is missing" if any(name.startswith(UNET) for name in shapes) else "this is no checkpoint"
    hint = "Expected a whole SD 1.x, SD 2.x, SDXL, SD3 or Flux model in its original layout."
    raise CheckpointError(f"Its tensors are not those of a known model ({what}).", where=where, hint=hint)


def describe(shapes: Shapes, metadata: Mapping[str, str], where: str) -> Layout:
    """The layout of a file of SD 1.x, SD 2.x or SDXL.

    Raises:
        CheckpointError: if a part is missing or its shapes are not that family's.
    """
    family = recognised(shapes, where)
    base: dict[str, dict[str, Any]] = json.loads((CONFIGS / f"{family}.json").read_text("utf-8"))
    try:
        unet = unet_config(shapes, UNET, heads=8 if family == "sd15" else None)
        vae = vae_config(shapes, "first_stage_model.")
        texts = {name: clip_config(shapes, prefix) for name, prefix in TEXT_PREFIXES[family].items()}
    except (KeyError, IndexError, ValueError) as error:
        raise CheckpointError(f"A part of the model is missing or misshapen: {error}.", where=where) from error
    if family == "sd2":
        texts["text_encoder"]["num_hidden_layers"] -= 1  # SD 2 was trained on the last layer but one
    if unet["in_channels"] not in (4, 9):
        raise CheckpointError(f"A UNet of {unet['in_channels']} input channels cannot be used.", where=where)
    parts = {"unet": unet, "vae": vae, **texts}
    configs = {name: {**base[name], **config} for name, config in parts.items()}
    configs["scheduler"] = dict(base["scheduler"])
    if "ztsnr" in shapes:
        configs["scheduler"]["rescale_betas_zero_snr"] = True
    prediction = _prediction(family, shapes, metadata)
    return Layout(family, prediction, unet["in_channels"] == 9, configs, {k: str(v) for k, v in base["pad"].items()})


def _prediction(
    family: Family, shapes: Shapes, metadata: Mapping[str, str]
) -> Literal["epsilon", "v_prediction"] | None:
    """What the file says; SD 2 comes in both kinds, and its older files do not say."""
    stated = metadata.get("modelspec.prediction_type", "").lower()
    if "v_pred" in shapes or stated in ("v", "v_prediction"):
        return "v_prediction"
    if stated in ("epsilon", "eps") or family != "sd2":
        return "epsilon"
    return None


def unet_config(shapes: Shapes, prefix: str, heads: int | None) -> dict[str, Any]:
    """The configuration of diffusers' UNet2DConditionModel whose tensors have these shapes in the original layout.

    `heads` is the number of attention heads where it does not follow from the channels. Raises KeyError or ValueError.
    """
    inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    levels: list[list[int]] = [[]]  # the input blocks of each level
    for block in range(1, count(inner, r"input_blocks\.(\d+)\.")):
        if f"input_blocks.{block}.0.op.weight" in inner:
            levels.append([])
        else:
            levels[-1].append(block)
    layers = {len(level) for level in levels}
    if len(layers) != 1 or layers == {0}:
        raise ValueError("the UNet's levels are not alike")
    channels = [inner[f"input_blocks.{level[0]}.0.in_layers.2.weight"][0] for level in levels]
    depths = [count(inner, rf"input_blocks\.{level[0]}\.1\.transformer_blocks\.(\d+)\.") for level in levels]
    middle = count(inner, r"middle_block\.1\.transformer_blocks\.(\d+)\.")
    per_level = [*(depth or 1 for depth in depths[:-1]), depths[-1] or middle]
    attended = next(shape for name, shape in inner.items() if name.endswith("attn2.to_k.weight"))
    projection = next(shape for name, shape in inner.items() if name.endswith(".1.proj_in.weight"))
    config: dict[str, Any] = {
        "in_channels": inner["input_blocks.0.0.weight"][1],
        "out_channels": inner["out.2.weight"][0],
        "block_out_channels": channels,
        "layers_per_block": layers.pop(),
        "down_block_types": ["CrossAttnDownBlock2D" if depth else "DownBlock2D" for depth in depths],
        "up_block_types": ["CrossAttnUpBlock2D" if depth else "UpBlock2D" for depth in reversed(depths)],
        "transformer_layers_per_block": per_level,
        "attention_head_dim": heads or [width // HEAD_WIDTH for width in channels],
        "cross_attention_dim": attended[1],
        "use_linear_projection": len(projection) == 2,
    }
    if "label_emb.0.0.weight" in inner:
        config["projection_class_embeddings_input_dim"] = inner["label_emb.0.0.weight"][1]
    return config


def vae_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """The configuration of diffusers' AutoencoderKL with these shapes, in the original layout or diffusers' own.

    Raises KeyError or ValueError.
    """
    inner = {name.removeprefix(prefix): shape for name, shape in shapes.items() if name.startswith(prefix)}
    own = any(name.startswith("encoder.down_blocks.") for name in inner)
    block = "encoder.down_blocks.{}.resnets.{}.conv1.weight" if own else "encoder.down.{}.block.{}.conv1.weight"
    pattern = re.escape(block.split("{", maxsplit=1)[0]) + r"(\d+)\."
    levels = count(inner, pattern)
    if not levels:
        raise KeyError("the VAE's encoder")
    channels = [inner[block.format(level, 0)][0] for level in range(levels)]
    if any(width % 32 for width in channels):
        raise ValueError("the VAE's channels are not in groups of 32")
    return {
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "layers_per_block": sum(block.format(0, layer) in inner for layer in range(16)),
        "latent_channels": inner["decoder.conv_in.weight"][1],
        "use_quant_conv": "quant_conv.weight" in inner,
        "use_post_quant_conv": "post_quant_conv.weight" in inner,
    }


def clip_config(shapes: Shapes, prefix: str) -> dict[str, Any]:
    """The configuration of transformers' CLIP text encoder with these shapes, as OpenAI's or OpenCLIP's files have it.

    Raises KeyError or ValueError.
    """
    inner = {
        name.removeprefix(prefix).removeprefix("text_model."): shape
        for name, shape in shapes.items()
        if name.startswith(prefix)
    }
    openclip = "token_embedding.weight" in inner
    vocabulary, width = inner["token_embedding.weight" if openclip else "embeddings.token_embedding.weight"]
    projection = inner.get("text_projection") or inner.get("text_projection.weight", ())[::-1]
    layer = "transformer.resblocks.0.mlp.c_fc.weight" if openclip else "encoder.layers.0.mlp.fc1.weight"
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "intermediate_size": inner[layer][0],
        "num_hidden_layers": count(inner, r"(?:transformer\.resblocks|encoder\.layers)\.(\d+)\."),
        "num_attention_heads": width // HEAD_WIDTH,
        "projection_dim": projection[1] if projection else width,
    }


def count(names: Sequence[str] | Mapping[str, Any], pattern: str) -> int:
    """One more than the greatest number that stands where the pattern, at the start of a name, has its group.

    Raises:
        ValueError: for a number no model reaches: names are the file's word, and loops run as far.
    """
    compiled = re.compile(pattern)
    found = max((int(match[1]) + 1 for match in map(compiled.match, names) if match), default=0)
    if found > LAYERS_LIMIT:
        raise ValueError(f"a name counts {found} layers")
    return found
