"""What a network was made for: read from its tensors, then from what it says of itself, then from its names.

Needs only the header's shapes, so the catalogue knows a file's base without loading it (no torch here).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from app.networks.grouping import Keys, grouped
from app.networks.prefixes import components_of

UNKNOWN = "unknown"
REMEMBERED = 1 << 14
"""Modules whose signs are remembered, since a library has many files of one model: those of some large ones."""
LONGEST_NAME = 500
"""Characters of a module's name, in any model. A longer one says nothing, and is not remembered."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A family of models (sd15, sd2, sdxl, sdxl-refiner, sd3, flux, chroma, …, unknown), and what shows it."""

    family: str
    reason: str


Shapes = Mapping[str, Sequence[int]]


def identify(shapes: Shapes, metadata: Mapping[str, str], keys: Keys | None = None) -> BaseModel:
    """The family of a file, from the shape of every tensor by its key, and from the header's metadata.

    `keys` are those of `shapes`, where they have been grouped already.
    """
    widths = _widths(shapes, keys or grouped(shapes))
    said = _from_metadata(metadata)
    shown = _from_widths(widths)
    if shown is not None:
        kin = said is not None and (shown.family, said.family) in _LOOKALIKES
        return said if said is not None and kin else shown
    return said or _from_names(widths) or BaseModel(UNKNOWN, "neither its tensors nor its metadata say")


_LOOKALIKES = frozenset({("flux", "chroma")})
"""What tensors show, and what may rightly be said of them instead."""


def _widths(shapes: Shapes, keys: Keys) -> dict[str, int | None]:
    """The input width of each module, as far as its tensors tell it."""
    return {module: _width(roles, shapes) for module, roles in keys.modules.items()}


def _width(roles: Mapping[str, str], shapes: Shapes) -> int | None:
    if "down" in roles and len(down := shapes[roles["down"]]) > 1:  # most files have nothing else
        return down[1]
    own = {role: shapes[key] for role, key in roles.items()}
    for role in ("hada_w1_b", "diff", "glora_b2", "glora_B.Xu", "tlora_q"):
        if len(own.get(role, ())) > 1:
            return own[role][1]
    left = own.get("lokr_w1") or own.get("lokr_w1_b") or ()
    right = own.get("lokr_w2") or own.get("lokr_w2_b") or ()
    if len(left) > 1 and len(right) > 1:
        return left[1] * right[1]
    for role in ("dora_scale", "ia3_l"):
        shape = own.get(role, ())
        if len(shape) > 1 and shape[0] == 1 and shape[1] > 1:
            return shape[1]
    return None


_UNET = re.compile(r"(?:down_blocks|up_blocks|mid_block|input_blocks|middle_block|output_blocks)_")
_CROSS = ("attn2_to_k", "attn2_to_v", "attn2_processor_to_k", "attn2_processor_to_v")
_CROSS_WIDTHS = {768: "sd15", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"}
_CLIP_WIDTHS = {768: "sd15", 1024: "sd2"}
_CLIP = re.compile(r"(?:text_model_)?encoder_layers_\d+_self_attn_(?:[qkv]|to_[qkv]|out)(?:_proj)?")

_TRANSFORMERS: tuple[tuple[re.Pattern[str], frozenset[int], str], ...] = (
    (re.compile(r"distilled_guidance_layer_.*"), frozenset(), "chroma"),
    (
        re.compile(r"(?:double|single)_blocks_\d+_img_attn_(?:qkv|proj)|single_blocks_\d+_linear1"),
        frozenset({3072}),
        "flux",
    ),
    (
        re.compile(r"double_blocks_\d+_img_attn_(?:qkv|proj)|single_blocks_\d+_linear1"),
        frozenset({4096, 6144}),
        "flux2",
    ),
    (re.compile(r"single_transformer_blocks_\d+_(?:attn_to_[qkv]|proj_mlp|norm_linear)"), frozenset({3072}), "flux"),
    (re.compile(r"single_transformer_blocks_\d+_attn_to_qkv_mlp_proj"), frozenset(), "flux2"),
    (re.compile(r"joint_blocks_\d+_x_block_attn2?_(?:qkv|proj)"), frozenset({1536, 2432}), "sd3"),
    (re.compile(r"transformer_blocks_\d+_attn_(?:to|add)_[qkv](?:_proj)?"), frozenset({1536, 2432}), "sd3"),
    (re.compile(r"transformer_blocks_\d+_img_mlp_.*"), frozenset({3072}), "qwen-image"),
    (re.compile(r"transformer_blocks_\d+_attn_(?:to|add)_[qkv](?:_proj)?"), frozenset({3072}), "flux"),
    (re.compile(r"layers_\d+_attention_(?:to_[qkv]|qkv|out|to_out_0)"), frozenset({3840}), "z-image"),
    (re.compile(r"layers_\d+_attention_(?:to_[qkv]|qkv|out|to_out_0)"), frozenset({2304}), "lumina2"),
    (re.compile(r"blocks_\d+_(?:self_attn|cross_attn)_[qkvo](?:_proj)?"), frozenset({1536, 5120}), "wan"),
    (re.compile(r"blocks_\d+_(?:self_attn|cross_attn)_(?:[qkvo]|output)_proj"), frozenset({2048}), "anima"),
)
"""Module, its input width (any if none is given), and the family that has it. Qwen-Image's attention looks like Flux's,
so its feed-forward is asked first."""


def _from_widths(widths: Mapping[str, int | None]) -> BaseModel | None:
    """What only one family has: the width that its text encoder feeds the UNet, or its transformer's own."""
    denoiser, encoder = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for module, width in widths.items():
        is_encoder, signs = _signs(module, width) if len(module) <= LONGEST_NAME else (False, ())
        for sign in signs:
            (encoder if is_encoder else denoiser)[sign] += 1
    for counts in (denoiser, encoder):
        if counts:
            family, reason = _most_telling(counts)
            return BaseModel(family, reason)
    return None


@lru_cache(maxsize=REMEMBERED)
def _signs(module: str, width: int | None) -> tuple[bool, tuple[tuple[str, str], ...]]:
    """Whether a module is of a text encoder, and the families that it speaks for with this input width, and why."""
    components, name = components_of(module)
    flat = name.replace(".", "_")
    if components[0] == "vae":
        return False, ()
    if components[0].startswith("text_encoder"):
        return True, tuple(_encoder_signs(components[0], flat, width))
    return False, tuple(_denoiser_signs(flat, width))


def _most_telling(signs: Counter[tuple[str, str]]) -> tuple[str, str]:
    return max(signs, key=lambda sign: (signs[sign], sign))


def _denoiser_signs(name: str, width: int | None) -> Iterator[tuple[str, str]]:
    if _UNET.match(name):
        if width in _CROSS_WIDTHS and name.endswith(_CROSS):
            yield _CROSS_WIDTHS[width], f"its cross-attention is {width} wide"
        return
    for pattern, only, family in _TRANSFORMERS:
        if pattern.fullmatch(name) and (not only or width in only):
            kind = re.sub(r"_?[0-9]+.*", "", name)
            yield family, f"its {kind} are {width} wide" if only else f"it has {kind}"
            return


def _encoder_signs(component: str, name: str, width: int | None) -> Iterator[tuple[str, str]]:
    if not _CLIP.fullmatch(name) or width is None:
        return
    if component == "text_encoder_2" and width == 1280:
        yield "sdxl", f"its second text encoder is {width} wide"
    elif component == "text_encoder" and width in _CLIP_WIDTHS:
        yield _CLIP_WIDTHS[width], f"its text encoder is {width} wide"


def _from_names(widths: Mapping[str, int | None]) -> BaseModel | None:
    """What the names alone suggest: deep transformers in a UNet, or a transformer's block names."""
    names = [components_of(module)[1].replace(".", "_") for module in widths]
    for pattern, family in _NAMES:
        for name in names:
            if pattern.match(name):
                return BaseModel(family, f"its modules are named as {family}'s, such as {name}")
    return None


_NAMES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"(?:down|up|mid|input|output|middle)_blocks?_.*_transformer_blocks_[1-9]"), "sdxl"),
    (re.compile(r"(?:single_transformer_blocks|double_blocks|single_blocks)_"), "flux"),
    (re.compile(r"joint_blocks_"), "sd3"),
)
"""Names that only one family has, whatever the widths: SD1 and SD2 have one transformer block in each place."""

_VERSIONS: tuple[tuple[str, str], ...] = (
    ("sd_v1", "sd15"), ("sd_v2", "sd2"), ("sdxl_refiner", "sdxl-refiner"), ("sdxl", "sdxl"), ("sd3", "sd3"),
    ("flux1", "flux"), ("flux2", "flux2"), ("flux", "flux"), ("chroma", "chroma"), ("lumina2", "lumina2"),
    ("hunyuan", "hunyuan-image"), ("anima", "anima"), ("qwen", "qwen-image"), ("zimage", "z-image"), ("krea2", "krea2"),
    ("wan", "wan"),
)  # fmt: skip
"""`ss_base_model_version`, by its beginning."""

_ARCHITECTURES: tuple[tuple[str, str], ...] = (
    ("stable-diffusion-v1", "sd15"), ("stable-diffusion-v2", "sd2"),
    ("stable-diffusion-xl-v1-refiner", "sdxl-refiner"), ("stable-diffusion-xl", "sdxl"), ("stable-diffusion-3", "sd3"),
    ("flux-1", "flux"), ("flux.1", "flux"), ("flux-2", "flux2"), ("flux.2", "flux2"), ("chroma", "chroma"),
    ("lumina-2", "lumina2"), ("hunyuan-image", "hunyuan-image"), ("qwen-image", "qwen-image"),
    ("z-image", "z-image"), ("zimage", "z-image"), ("anima", "anima"), ("wan", "wan"),
)  # fmt: skip
"""`modelspec.architecture`, by its beginning."""


def _from_metadata(metadata: Mapping[str, str]) -> BaseModel | None:
    """What the trainer wrote of the base model."""
    for field, table in (("ss_base_model_version", _VERSIONS), ("modelspec.architecture", _ARCHITECTURES)):
        value = metadata.get(field, "").lower()
        for beginning, family in table:
            if value.startswith(beginning):
                return BaseModel(family, f"its metadata say {field} = {value[:60]}")
    if metadata.get("ss_v2") == "True":
        return BaseModel("sd2", "its metadata say ss_v2 = True")
    return None
