"""A checkpoint in memory: its modules, and the facts about them that generating needs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from app.diffusion.device import Placement
from app.diffusion.tokens import ClipTokenizer
from app.errors import RequestError

Family = Literal["sd15", "sd2", "sdxl", "sdxl-refiner", "sd3", "flux", "unknown"]
Prediction = Literal["epsilon", "v_prediction", "flow"]

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
DENOISERS = ("unet", "transformer")
PATCH = 2
"""Latents along one side of what the transformers take as one token."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A loaded model. `components` are the live modules, by diffusers' names; dropping the record frees them.

    `inpainting`: the UNet also takes a mask and a masked picture. `zero_empty_negative`: an empty negative prompt is
    encoded as zeros (EncodingOptions.zero_if_empty). `t5_tokenizer` is transformers'.
    """

    name: str
    path: Path
    family: Family
    prediction: Prediction
    components: Mapping[str, nn.Module]
    tokenizers: Mapping[str, ClipTokenizer]
    scheduler_config: Mapping[str, Any]
    placement: Placement
    inpainting: bool = False
    zero_empty_negative: bool = False
    t5_tokenizer: Any = field(default=None, repr=False)

    @property
    def transformer(self) -> nn.Module | None:
        """The denoiser of SD3 and Flux."""
        return self.components.get("transformer")

    @property
    def vae(self) -> Any:
        """The AutoencoderKL; `Any` because diffusers is untyped."""
        return self.components["vae"]

    @property
    def text_encoders(self) -> tuple[str, ...]:
        """The names of the text encoders, in order."""
        return tuple(name for name in TEXT_ENCODERS if name in self.components)

    @property
    def clip_widths(self) -> dict[str, int]:
        """The width of a token's vector in each CLIP text encoder."""
        return {name: int(module_config(self.components[name])["hidden_size"]) for name in self.tokenizers}

    @property
    def latent_channels(self) -> int:
        return int(module_config(self.components["vae"])["latent_channels"])

    @property
    def vae_factor(self) -> int:
        """Pixels along one side of a latent."""
        return vae_factor(self.components["vae"])

    def check_size(self, width: int, height: int) -> None:
        """Refuse a picture's size in pixels whose sides do not divide into latents (a transformer's tokens).

        Raises:
            RequestError: naming the side.
        """
        unit = self.vae_factor * (1 if self.transformer is None else PATCH)
        for where, pixels in (("width", width), ("height", height)):
            if pixels % unit:
                raise RequestError(f"{pixels} is not a multiple of {unit}, as this model needs.", where=where)

    @cached_property
    def sha(self) -> str:
        """AutoV2: the first ten hex digits of the SHA-256 of the file (for a folder, of its denoiser's weights)."""
        digest = hashlib.sha256()
        for file in weight_files(self.path):
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    digest.update(block)
        return digest.hexdigest()[:10]

    @contextmanager
    def at_work(self, *names: str) -> Iterator[None]:
        """The named components are on the device inside the block, and where they were outside it."""
        away = [name for name in names if module_device(self.components[name]).type != self.placement.device.type]
        for name in away:
            self.components[name].to(self.placement.device)
        try:
            yield
        finally:
            if self.placement.offload == "model":
                for name in away:
                    self.components[name].to("cpu")


def module_device(module: nn.Module) -> torch.device:
    return next(module.parameters()).device


def module_dtype(module: nn.Module) -> torch.dtype:
    return next(parameter.dtype for parameter in module.parameters() if parameter.is_floating_point())


def module_config(module: nn.Module) -> Mapping[str, Any]:
    """The configuration of a diffusers or transformers module."""
    config: Any = module.config
    return config if isinstance(config, Mapping) else dict(config.to_dict())


def vae_factor(vae: nn.Module) -> int:
    return int(2 ** (len(module_config(vae)["block_out_channels"]) - 1))


def weight_files(path: Path) -> list[Path]:
    """The files whose bytes identify a checkpoint: itself, or its folder's denoiser."""
    if path.is_file():
        return [path]
    folders = [path / name for name in DENOISERS if (path / name).is_dir()] or [path]
    return sorted(file for folder in folders for file in folder.iterdir() if file.suffix in (".safetensors", ".bin"))
