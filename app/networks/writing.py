"""A live parameter's name and tensors in a network file of our own: what `keys` and `formats` read, the other way.

UNet models get kohya's names, SDXL's in its checkpoint's spelling, as its trainers write them. Transformer models get
diffusers' names, which know no alpha: a missing one is the rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass
from types import MappingProxyType

import torch
from torch import Tensor

from app.networks.spellings import aliases

SGM = ("input_blocks.", "middle_block.", "output_blocks.", "time_embed.", "label_emb.", "out.")
"""How the names of an original checkpoint's UNet begin."""

VERSIONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "sd15": ("sd_v1", "stable-diffusion-v1"),
        "sd2": ("sd_v2", "stable-diffusion-v2-512"),
        "sdxl": ("sdxl_base_v1-0", "stable-diffusion-xl-v1-base"),
        "sdxl-refiner": ("sdxl_refiner_v1-0", "stable-diffusion-xl-v1-refiner"),
        "sd3": ("sd3", "stable-diffusion-3"),
        "flux": ("flux1", "flux-1-dev"),
        "chroma": ("chroma", "chroma"),
        "lumina2": ("lumina2", "lumina-2"),
        "qwen-image": ("qwen-image", "qwen-image"),
        "z-image": ("zimage", "z-image"),
        "wan": ("wan", "wan"),
    }
)
"""A family as `ss_base_model_version` and `modelspec.architecture` say it."""


@dataclass(frozen=True, slots=True)
class FileNames:
    """The names of one model's modules in a file; `kohya` or diffusers'."""

    kohya: bool
    prefixes: Mapping[str, str]
    checkpoint: Mapping[str, str]
    """The UNet's modules as SDXL's checkpoint names them, by their live names."""

    @classmethod
    def of(cls, components: Set[str], family: str, unet: Set[str]) -> FileNames:
        """The names for a model with these components; `unet` are the live module names of its UNet, if it has one."""
        if "transformer" in components:
            return cls(False, {name: f"{name}." for name in components}, {})
        several = "text_encoder_2" in components
        prefixes = {
            "unet": "lora_unet_",
            "text_encoder": "lora_te1_" if several else "lora_te_",
            "text_encoder_2": "lora_te2_",
            "vae": "lora_vae_",
        }
        spelled = aliases(unet) if family.startswith("sdxl") else ()
        return cls(True, prefixes, {live: alias for alias, live in spelled if alias.startswith(SGM)})

    def module(self, component: str, module: str) -> str:
        """The name of a live module of a component."""
        if component in ("text_encoder", "text_encoder_2", "text_encoder_3") and module.startswith(_CLIP):
            module = f"text_model.{module}"
        if not self.kohya:
            return self.prefixes[component] + module
        if component == "unet":
            module = self.checkpoint.get(module, module)
        return self.prefixes[component] + module.replace(".", "_")

    def low_rank(self, name: str, up: Tensor, down: Tensor) -> dict[str, Tensor]:
        """The tensors of ΔW = up · down, by the module's name in the file; up (out, r, 1…), down (r, in, *kernel)."""
        if not self.kohya:
            return {f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}
        alpha = torch.tensor(float(down.shape[0]))
        return {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down, f"{name}.alpha": alpha}

    def whole(self, name: str, leaf: str, delta: Tensor, *, normalises: bool) -> dict[str, Tensor]:
        """The tensor of a difference as it is: of a bias, of a normalisation, or of a weight."""
        suffixes = {True: ("w_norm", "b_norm"), False: ("diff", "diff_b")}[normalises]
        return {f"{name}.{suffixes[leaf == 'bias']}": delta}


_CLIP = ("encoder.layers.", "embeddings.", "final_layer_norm")
"""What stood below `text_model` until transformers 5.6, and does in every file."""
