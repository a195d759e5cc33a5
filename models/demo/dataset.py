"""A folder of captioned pictures, in the layout that trainers share: ``REPEATS_NAME/picture.png`` and ``.txt``."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image
from torch import Tensor

from .autoencoder import encode, to_tensor


@dataclass(frozen=True)
class Subset:
    """One ``REPEATS_NAME`` folder: its pictures, each beside its caption."""

    folder: Path

    @property
    def repeats(self) -> int:
        """How often each picture appears in an epoch."""
        number = self.folder.name.partition("_")[0]
        return int(number) if number.isdecimal() else 1

    @property
    def pictures(self) -> list[Path]:
        """The pictures' files."""
        return sorted(self.folder.glob("*.png"))

    def captions(self) -> list[str]:
        """The pictures' captions."""
        files = [file.with_suffix(".txt") for file in self.pictures]
        return [file.read_text(encoding="utf-8").strip() for file in files]

    def tags(self) -> Counter[str]:
        """How often each tag, between commas, stands in the captions."""
        return Counter(tag.strip() for text in self.captions() for tag in text.split(","))


def subsets(folder: Path) -> list[Subset]:
    """The parts of a data folder.

    Raises:
        ValueError: it holds no part with pictures.
    """
    found = [Subset(path) for path in sorted(folder.iterdir()) if path.is_dir()]
    if not any(part.pictures for part in found):
        raise ValueError(f"{folder} holds no REPEATS_NAME folder with pictures")
    return found


@dataclass(frozen=True)
class Dataset:
    """Pictures [n, 3, side, side] in -1…1, as scaled latents too, and what each shows."""

    pictures: Tensor
    latents: Tensor
    captions: list[str]

    @classmethod
    def read(cls, folder: Path, vae: AutoencoderKL, resolution: int) -> Dataset:
        """Everything in a data folder; an example stands there as often as its part's number of repeats says."""
        pictures: list[Image.Image] = []
        captions: list[str] = []
        for part in subsets(folder):
            for file, caption in zip(part.pictures, part.captions(), strict=True):
                picture = Image.open(file).convert("RGB").resize((resolution, resolution), Image.Resampling.LANCZOS)
                pictures += [picture] * part.repeats
                captions += [caption] * part.repeats
        images = to_tensor(pictures).to(vae.device)
        return cls(images, encode(vae, images) * vae.config.scaling_factor, captions)

    def draw(self, number: int, rng: np.random.Generator) -> tuple[Tensor, list[str]]:
        """That many examples: indices, and their captions."""
        chosen = rng.integers(len(self.captions), size=number)
        return torch.from_numpy(chosen), [self.captions[index] for index in chosen]
