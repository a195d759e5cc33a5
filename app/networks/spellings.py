"""Other names of a module that is one module under each of them: the original checkpoints', and older libraries'.

Each rule goes from the live (diffusers or transformers) name to the other, so that no name is ever parsed back.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Set

Alias = tuple[str, str]
"""A spelling, and the live module's name."""


def aliases(live: Set[str]) -> Iterator[Alias]:
    """Every other spelling of the live names, by the rules of the architectures that the names show."""
    for applies, rule in _RULES:
        if applies(live):
            for name in live:
                for alias in rule(name, live):
                    yield alias, name


def _unet(name: str, live: Set[str]) -> Iterator[str]:
    """SD1, SD2, SDXL as in their checkpoints: input_blocks, middle_block, output_blocks."""
    period = 1 + sum(1 for j in range(8) if f"down_blocks.0.resnets.{j}.conv1" in live)
    if name in _UNET_ENDS:
        yield _UNET_ENDS[name]
    elif match := _UNET_BLOCK.fullmatch(name):
        side, kind, inner = match["side"], match["kind"], match["inner"]
        block, index = int(match["block"] or 0), int(match["index"])
        inner = _RESNET.get(inner, inner) if kind == "resnets" else inner
        branch = 1 if kind == "attentions" else 0
        match side, kind:
            case "down", "downsamplers":
                yield f"input_blocks.{period + period * block}.0.op"
            case "up", "upsamplers":
                after = 2 if f"up_blocks.{block}.attentions.0.proj_in" in live else 1
                yield f"output_blocks.{period - 1 + period * block}.{after}.conv"
            case "down", _:
                yield f"input_blocks.{1 + period * block + index}.{branch}.{inner}"
            case "up", _:
                yield f"output_blocks.{period * block + index}.{branch}.{inner}"
            case _:
                yield f"middle_block.{1 if kind == 'attentions' else 2 * index}.{inner}"


_UNET_ENDS = {
    "conv_in": "input_blocks.0.0",
    "conv_norm_out": "out.0",
    "conv_out": "out.2",
    "time_embedding.linear_1": "time_embed.0",
    "time_embedding.linear_2": "time_embed.2",
    "add_embedding.linear_1": "label_emb.0.0",
    "add_embedding.linear_2": "label_emb.0.2",
}
_UNET_BLOCK = re.compile(
    r"(?P<side>down|mid|up)_blocks?(?:\.(?P<block>\d+))?"
    r"\.(?P<kind>resnets|attentions|downsamplers|upsamplers)\.(?P<index>\d+)\.(?P<inner>.+)"
)
_RESNET = {
    "norm1": "in_layers.0",
    "conv1": "in_layers.2",
    "time_emb_proj": "emb_layers.1",
    "norm2": "out_layers.0",
    "conv2": "out_layers.3",
    "conv_shortcut": "skip_connection",
}


def _processor(name: str, live: Set[str]) -> Iterator[str]:
    """diffusers before 0.21: attn1.processor.to_q_lora (the mark is cut off in `formats`), to_out for to_out.0."""
    stem, _, leaf = name.removesuffix(".to_out.0").rpartition(".")
    if name.endswith(".to_out.0"):
        yield f"{stem}.{leaf}.processor.to_out"
        yield f"{stem}.{leaf}.to_out"
        yield f"{stem}.{leaf}.out"  # Z-Image's own
    elif leaf in ("to_q", "to_k", "to_v", "add_q_proj", "add_k_proj", "add_v_proj"):
        yield f"{stem}.processor.{leaf}"


def _clip(name: str, live: Set[str]) -> Iterator[str]:
    """CLIP with and without `text_model`, with diffusers' old attention names, and as OpenCLIP calls it."""
    bare = name.removeprefix("text_model.")
    yield bare
    yield f"text_model.{bare}"
    if match := _CLIP_ATTENTION.fullmatch(bare):
        for stem in (match["stem"], f"text_model.{match['stem']}"):
            yield f"{stem}.{_OLD_ATTENTION[match['leaf']]}"
    if match := _CLIP_LAYER.fullmatch(bare):
        inner = _OPEN_CLIP.get(match["inner"])
        if inner is not None:
            yield f"transformer.resblocks.{match['layer']}.{inner}"
            yield f"model.transformer.resblocks.{match['layer']}.{inner}"
    elif bare in _OPEN_CLIP_ENDS:
        yield _OPEN_CLIP_ENDS[bare]
        yield f"model.{_OPEN_CLIP_ENDS[bare]}"


_CLIP_ATTENTION = re.compile(r"(?P<stem>.+\.self_attn)\.(?P<leaf>[qkv]_proj|out_proj)")
_OLD_ATTENTION = {"q_proj": "to_q", "k_proj": "to_k", "v_proj": "to_v", "out_proj": "to_out"}
_CLIP_LAYER = re.compile(r"encoder\.layers\.(?P<layer>\d+)\.(?P<inner>.+)")
_OPEN_CLIP = {
    "self_attn.out_proj": "attn.out_proj",
    "mlp.fc1": "mlp.c_fc",
    "mlp.fc2": "mlp.c_proj",
    "layer_norm1": "ln_1",
    "layer_norm2": "ln_2",
}
_OPEN_CLIP_ENDS = {"final_layer_norm": "ln_final", "embeddings.token_embedding": "token_embedding"}


def _vae(name: str, live: Set[str]) -> Iterator[str]:
    """The autoencoder as in the original checkpoints: down.0.block.1, mid.attn_1.q; and diffusers' old attention."""
    side, _, rest = name.partition(".")
    if rest in ("conv_norm_out",):
        yield f"{side}.norm_out"
    elif match := _VAE_MIDDLE.fullmatch(rest):
        if match["kind"] == "resnets":
            yield f"{side}.mid.block_{int(match['index']) + 1}.{match['inner']}"
        elif match["inner"] in _VAE_ATTENTION:
            original, old = _VAE_ATTENTION[match["inner"]]
            yield f"{side}.mid.attn_1.{original}"
            yield f"{side}.mid_block.attentions.0.{old}"
    elif match := _VAE_BLOCK.fullmatch(rest):
        blocks = sum(1 for i in range(16) if f"decoder.up_blocks.{i}.resnets.0.conv1" in live)
        block = int(match["block"])
        level = f"down.{block}" if match["side"] == "down" else f"up.{blocks - 1 - block}"
        inner = match["inner"].replace("conv_shortcut", "nin_shortcut")
        if match["kind"] == "resnets":
            yield f"{side}.{level}.block.{match['index']}.{inner}"
        else:
            yield f"{side}.{level}.{match['kind'].removesuffix('rs')}.{inner}"


_VAE_MIDDLE = re.compile(r"mid_block\.(?P<kind>resnets|attentions)\.(?P<index>\d+)\.(?P<inner>.+)")
_VAE_BLOCK = re.compile(
    r"(?P<side>down|up)_blocks\.(?P<block>\d+)\.(?P<kind>resnets|downsamplers|upsamplers)\.(?P<index>\d+)\.(?P<inner>.+)"
)
_VAE_ATTENTION = {
    "group_norm": ("norm", "group_norm"),
    "to_q": ("q", "query"),
    "to_k": ("k", "key"),
    "to_v": ("v", "value"),
    "to_out.0": ("proj_out", "proj_attn"),
}


def _holds(*needed: str) -> Callable[[Set[str]], bool]:
    return lambda live: all(name in live for name in needed)


def _is_clip(live: Set[str]) -> bool:
    return "encoder.layers.0.self_attn.q_proj" in live or "text_model.encoder.layers.0.self_attn.q_proj" in live


_RULES: tuple[tuple[Callable[[Set[str]], bool], Callable[[str, Set[str]], Iterator[str]]], ...] = (
    (_holds("conv_in", "time_embedding.linear_1"), _unet),
    (lambda live: not _is_clip(live), _processor),
    (_is_clip, _clip),
    (_holds("encoder.conv_in", "decoder.conv_in"), _vae),
)
"""Which trees a rule is for, told by their names."""
