"""The family of the other files of a library, from their shapes: checkpoints, embeddings, VAEs.

Networks are told apart in `identity`; here a few tensors are enough.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from types import MappingProxyType

from app.errors import NetworkError
from app.networks.formats import bundled, split
from app.networks.identity import UNKNOWN, BaseModel
from app.networks.scan import Kind
from app.networks.sidecar import read_object

Shapes = Mapping[str, tuple[int, ...]]

CROSS_ATTENTION = re.compile(r".*\.attn2\.to_k\.weight")
CONTEXT_WIDTHS: Mapping[int, str] = MappingProxyType({768: "sd15", 1024: "sd2", 2048: "sdxl", 1280: "sdxl-refiner"})
VECTOR_WIDTHS: Mapping[int, str] = MappingProxyType({768: "sd15", 1024: "sd2", 1280: "sdxl"})
CROSS_ONLY = (768, 1024, 2048)
TRANSFORMERS: tuple[tuple[str, str], ...] = (
    (r".*distilled_guidance_layer\..*", "chroma"),
    (r".*double_stream_modulation.*", "flux2"),
    (r".*double_blocks\.0\.img_attn\.qkv\.weight|.*single_transformer_blocks\.0\..*", "flux"),
    (r".*joint_blocks\.0\..*", "sd3"),
)
"""A tensor that only one family's checkpoints have; the first row that is there decides."""
PIPELINES: tuple[tuple[str, str], ...] = (
    ("StableDiffusionXL", "sdxl"),
    ("StableDiffusion3", "sd3"),
    ("Flux2", "flux2"),
    ("Flux", "flux"),
    ("Chroma", "chroma"),
    ("QwenImage", "qwen-image"),
    ("ZImage", "z-image"),
    ("Lumina2", "lumina2"),
    ("Wan", "wan"),
)
"""How the class named in a diffusers folder's `model_index.json` begins."""
EMBEDDING_TENSORS = 4
"""An embedding has a tensor for each text encoder, and no others."""
FOUR_CHANNELS, SIXTEEN_CHANNELS = 4, 16


def checkpoint_family(shapes: Shapes) -> BaseModel:
    """A whole checkpoint's family: the width its denoiser's cross-attention reads, or its transformer's blocks."""
    widths = [shape[1] for name, shape in shapes.items() if CROSS_ATTENTION.fullmatch(name) and len(shape) > 1]
    if widths and widths[0] in CONTEXT_WIDTHS:
        return BaseModel(CONTEXT_WIDTHS[widths[0]], f"its cross-attention is {widths[0]} wide")
    for pattern, family in TRANSFORMERS:
        name = next(filter(re.compile(pattern).fullmatch, shapes), None)
        if name is not None:
            return BaseModel(family, f"it has {name[:120]}")
    return BaseModel(UNKNOWN, "its tensors do not say")


def embedding_family(shapes: Shapes) -> BaseModel:
    """An embedding's family: the text encoders its vectors are for, by their widths."""
    widths = {shape[-1] for shape in shapes.values() if shape}
    if {768, 1280} <= widths:
        return BaseModel("sdxl", "it has vectors of 768 and 1280 numbers")
    for width in sorted(widths):
        if width in VECTOR_WIDTHS:
            return BaseModel(VECTOR_WIDTHS[width], f"its vectors have {width} numbers")
    return BaseModel(UNKNOWN, "its tensors do not say")


def vae_family(shapes: Shapes) -> BaseModel:
    """What a VAE's latents tell: four channels are SD1's, SD2's and SDXL's alike."""
    channels = {
        shape[1] for name, shape in shapes.items() if name.endswith("decoder.conv_in.weight") and len(shape) > 1
    }
    if FOUR_CHANNELS in channels:
        return BaseModel(UNKNOWN, "its latents have 4 channels, as SD1's, SD2's and SDXL's have")
    if SIXTEEN_CHANNELS in channels:
        return BaseModel(UNKNOWN, "its latents have 16 channels, as SD3's and Flux's have")
    return BaseModel(UNKNOWN, "its tensors do not say")


def hypernetwork_family(shapes: Shapes) -> BaseModel:
    """A hypernetwork's family, where just one family's cross-attention has a width that it changes."""
    widths = {int(name.partition(".")[0]) for name in shapes if re.match(r"\d{1,5}\.[kv]\.", name)}
    return family_of_widths(widths)


def family_of_widths(widths: Collection[int]) -> BaseModel:
    """The family whose cross-attention reads vectors of one of these widths; 1280 is also inside SD's own layers."""
    found = [width for width in CROSS_ONLY if width in widths]
    if len(found) == 1:
        return BaseModel(CONTEXT_WIDTHS[found[0]], f"it changes vectors of {found[0]} numbers")
    return BaseModel(UNKNOWN, "its widths do not say")


FAMILIES: Mapping[str, Callable[[Shapes], BaseModel]] = MappingProxyType(
    {
        "checkpoint": checkpoint_family,
        "embedding": embedding_family,
        "hypernetwork": hypernetwork_family,
        "vae": vae_family,
    }
)


def kind_of(shapes: Shapes) -> Kind:
    """What kind of file has these tensors; a network, where nothing else shows."""
    if any(split(name) or bundled(name) for name in shapes):
        return "lora"
    if checkpoint_family(shapes).family != UNKNOWN:
        return "checkpoint"
    if any(name.endswith("decoder.conv_in.weight") for name in shapes):
        return "vae"
    return "embedding" if 0 < len(shapes) <= EMBEDDING_TENSORS else "lora"


def folder_family(model_index: Path) -> BaseModel:
    """The family of a diffusers folder, from the pipeline it names; SD1 and SD2 differ in their text encoder.

    Raises:
        NetworkError: naming the file, if it cannot be read.
    """
    name = read_object(model_index).get("_class_name")
    if not isinstance(name, str):
        raise NetworkError("It names no pipeline.", where=str(model_index))
    for beginning, family in PIPELINES:
        if name.startswith(beginning):
            return BaseModel(family, f"its pipeline is {name[:120]}")
    if name.startswith(("StableDiffusion", "LatentConsistency")):
        width = _config_number(model_index.parent / "unet" / "config.json", "cross_attention_dim")
        if width and width not in CONTEXT_WIDTHS:  # a small model of its own: it is loaded as what its pipeline is
            return BaseModel("sd15", f"its pipeline is {name[:120]}, its cross-attention is {width} wide")
        return BaseModel(CONTEXT_WIDTHS.get(width, UNKNOWN), f"its cross-attention is {width} wide")
    return BaseModel(UNKNOWN, f"its pipeline is {name[:120]}")


def _config_number(path: Path, key: str) -> int:
    number = read_object(path).get(key)
    return number if isinstance(number, int) else 0
