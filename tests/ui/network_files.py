"""Libraries of networks for the page: real small files, written without torch."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path

import numpy
from PIL import Image, ImageDraw
from safetensors.numpy import save

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
WIDTHS = {"sd15": 768, "sdxl": 2048}
FIRST = ("ink", "neon", "gouache", "paper", "velvet", "brass", "misty", "baroque", "pixel", "charcoal")
SECOND = ("wash", "portrait", "forest", "knight", "city", "texture", "lines", "garden", "outfit", "light")
HOSTILE = "x${alert(1)}<img src=x onerror=alert(1)>"


def lora_bytes(base: str = "sd15", metadata: Mapping[str, str] | None = None) -> bytes:
    """A LoRA of one module of a family."""
    tensors = {
        f"{MODULE}.lora_down.weight": numpy.zeros((2, WIDTHS[base]), numpy.float32),
        f"{MODULE}.lora_up.weight": numpy.zeros((8, 2), numpy.float32),
        f"{MODULE}.alpha": numpy.array(1.5, numpy.float32),
    }
    return save(tensors, dict(metadata or {}))


def write_library(folder: Path, count: int) -> None:
    """`count` LoRAs of two families in some folders; every third has a picture, and one a hostile name."""
    chance = random.Random(7)
    contents = {
        (base, first): lora_bytes(base, {"modelspec.trigger_phrase": f"{first} style"})
        for base in WIDTHS
        for first in FIRST
    }
    for index in range(count):
        first, second = FIRST[index % 10], SECOND[index // 10 % 10]
        base = "sdxl" if index % 4 == 3 else "sd15"
        path = folder / ("", "styles", "people/painted")[index % 3] / f"{first}_{second}_{index:04}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[base, first])
        if index % 3 == 0 and index < 200:
            _picture(chance).save(path.with_suffix(".png"))
    if count:
        (folder / f"{HOSTILE.replace('/', '')}.safetensors").write_bytes(lora_bytes())


TOUR = """
[settings]
checkpoint = "demo"
steps = 3
seed = 5

[[stops]]
name = "words"
title = "Words"
line = "What the model draws by itself."
prompt = "a lighthouse"

[[stops]]
name = "network"
title = "A network"
line = "A tag with a strength."
prompt = "a lighthouse <lora:ink_wash_0000:0.8>"
width = 128
height = 64
cfg_scale = 4.5

[[stops]]
name = "missing"
title = "Not here"
line = "Its network is not installed."
prompt = "a lighthouse <lora:nowhere:1>"
"""


def write_tour(models: Path, tour: str = TOUR) -> None:
    """A tour of the models folder, with the picture of its first stop."""
    folder = models / "demo"
    (folder / "tour").mkdir(parents=True, exist_ok=True)
    (folder / "tour.toml").write_text(tour)
    _picture(random.Random(3)).resize((64, 64)).save(folder / "tour" / "words.webp")


def _picture(chance: random.Random) -> Image.Image:
    """A small painting."""
    colours = [tuple(chance.randrange(30, 230) for _ in range(3)) for _ in range(9)]
    small = Image.new("RGB", (2, 3))
    small.putdata(colours[:6])
    picture = small.resize((256, 384), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for colour in colours[6:]:
        x, y, radius = chance.randrange(256), chance.randrange(384), chance.randrange(20, 90)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)
    return picture
