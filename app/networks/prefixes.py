"""The first part of a module's name: which component of the model it belongs to.

A closed table, and all of a name that is ever parsed; what follows is looked up (see `keys`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

DENOISERS: tuple[str, ...] = ("unet", "transformer", "transformer_2")
_FIRST = ("text_encoder",)
_SECOND = ("text_encoder_2", "text_encoder_3")
_T5 = ("text_encoder_3", "text_encoder_2", "text_encoder")
ANY = (*DENOISERS, "text_encoder", "text_encoder_2", "text_encoder_3", "vae")

PREFIXES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("lora_unet__", DENOISERS),  # VideoX-Fun
    ("lora_unet_", DENOISERS),  # kohya, LyCORIS: UNets and transformers alike
    ("oft_unet_", DENOISERS),  # kohya's OFT
    ("lora_prior_unet_", DENOISERS),  # OneTrainer, Stable Cascade
    ("lora_prior_te_", _FIRST),
    ("lora_transformer_2_", ("transformer_2",)),
    ("lora_transformer_", DENOISERS),  # OneTrainer
    ("lycoris_", ANY),  # LyCORIS' wrapper: whatever was wrapped
    ("lora_te1_", _FIRST),
    ("lora_te2_", _SECOND),  # the second CLIP, or T5 (OneTrainer, LyCORIS on Flux)
    ("lora_te3_", _T5),
    ("lora_te_", _FIRST),
    ("oft_te1_", _FIRST),
    ("oft_te2_", _SECOND),
    ("oft_te_", _FIRST),
    ("lora_vae_", ("vae",)),
    ("lora_first_stage_model_", ("vae",)),
    ("unet.", ("unet",)),
    ("transformer_2.", ("transformer_2",)),
    ("transformer.", ("transformer",)),
    ("model.diffusion_model.", DENOISERS),
    ("diffusion_model.", DENOISERS),  # ComfyUI, ai-toolkit
    ("text_encoder_2.", ("text_encoder_2",)),
    ("text_encoder_3.", ("text_encoder_3",)),
    ("text_encoder.", _FIRST),
    ("text_encoders.clip_l.transformer.", _FIRST),  # ComfyUI
    ("text_encoders.clip_g.transformer.", ("text_encoder_2",)),
    ("text_encoders.t5xxl.transformer.", _T5),
    ("cond_stage_model.transformer.", _FIRST),  # the original SD1 checkpoint
    ("cond_stage_model.", _FIRST),  # SD2
    ("conditioner.embedders.0.transformer.", _FIRST),  # SDXL
    ("conditioner.embedders.1.", ("text_encoder_2",)),
    ("vae.", ("vae",)),
    ("first_stage_model.", ("vae",)),
)
"""What a module's name begins with, and the components it may belong to. The first that fits is cut off."""

WRAPPERS: tuple[str, ...] = ("base_model.model.",)
"""What a library puts round a whole model, before or behind the component: peft."""


_COMPONENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(dict(PREFIXES))
_PREFIX = re.compile("|".join(re.escape(prefix) for prefix, _ in PREFIXES))
_ENCODER = re.compile(r"text_encoders\.[a-z0-9_]+\.(?:transformer\.)?")
"""ComfyUI's name for any other text encoder, the model's one (Gemma, Qwen)."""


def components_of(module: str) -> tuple[tuple[str, ...], str]:
    """The components a file's module may belong to, in order of likelihood, and its name inside them."""
    module = _unwrapped(module)
    if found := _PREFIX.match(module):
        return _COMPONENTS[found[0]], _unwrapped(module[found.end() :])
    if found := _ENCODER.match(module):
        return _FIRST, module[found.end() :]
    return ANY, module


def _unwrapped(module: str) -> str:
    for wrapper in WRAPPERS:
        module = module.removeprefix(wrapper)
    return module
