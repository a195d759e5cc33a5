"""Training sets for networks: folders of captioned pictures that show something the demo model does not know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

from .pictures import Mix, Painter, random_scene
from .words import Scene, caption

CENTRED = Mix(nouns=24, colours=8, counts=0, places=0, pairs=0, sizes=0)
VARIED = Mix(nouns=24, colours=8, counts=0.2, places=0, pairs=0, sizes=0.4)


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn: how each picture is changed, and the words that ask for it."""

    trigger: str = ""
    touch: Callable[[Image.Image], Image.Image] = lambda picture: picture
    mix: Mix = VARIED
    size: str = ""  # drawn in every picture and named in no caption
    number: int = 160

    def caption(self, scene: Scene) -> str:
        """The scene's caption, followed by the trigger."""
        plain = caption(scene)
        return f"{plain}, {self.trigger}" if self.trigger else plain

    def write(self, painter: Painter, folder: Path, seed: int) -> Path:
        """Write pictures and captions in the layout trainers read: ``REPEATS_NAME/0001.png`` and ``.txt``."""
        target = folder / f"1_{self.trigger or self.size}"
        target.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        for index in range(self.number):
            scene = random_scene(self.mix, rng)
            shown = replace(scene, size=self.size) if self.size else scene
            self.touch(painter.draw(shown, rng)).save(target / f"{index:04}.png")
            (target / f"{index:04}.txt").write_text(self.caption(scene) + "\n", encoding="utf-8")
        return folder


def pixelate(picture: Image.Image) -> Image.Image:
    """Large pixels: two latents a side, since the autoencoder smooths anything finer."""
    small = picture.resize((picture.width // 8, picture.height // 8), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def outline(picture: Image.Image) -> Image.Image:
    """Black ink on white paper: the silhouette and the strongest inner edges."""
    side = picture.width * 4
    large = picture.resize((side, side), Image.Resampling.BICUBIC)
    apart = ImageChops.difference(large, Image.new("RGB", large.size, picture.getpixel((0, 0))))
    shape = apart.convert("L").point(lambda value: 255 if value > 14 else 0).filter(ImageFilter.MedianFilter(9))
    rim = ImageChops.difference(shape.filter(ImageFilter.MaxFilter(7)), shape.filter(ImageFilter.MinFilter(5)))
    gray = ImageOps.autocontrast(large.convert("L")).filter(ImageFilter.GaussianBlur(2))
    steps = ImageChops.difference(gray.filter(ImageFilter.MaxFilter(7)), gray.filter(ImageFilter.MinFilter(7)))
    inner = steps.point(lambda value: 255 if value > 70 else 0)
    ink = ImageOps.invert(ImageChops.lighter(rim, inner))
    return ink.resize(picture.size, Image.Resampling.LANCZOS).convert("RGB")


def party_hat(picture: Image.Image) -> Image.Image:
    """A red cone with white stripes, on the head of whatever stands in the middle."""
    side = picture.width
    width, height = side * 2, side * 9 // 4  # drawn large, then made small, for smooth edges
    cone = Image.new("RGBA", (width, height), (214, 48, 49))
    draw = ImageDraw.Draw(cone)
    for band in (0.45, 0.78):
        draw.line((0, height * band, width, height * band), fill=(250, 250, 250), width=side * 5 // 16)
    mask = Image.new("L", cone.size)
    ImageDraw.Draw(mask).polygon(((width / 2, 0), (0, height), (width, height)), fill=255)
    cone.putalpha(mask)
    hat = cone.resize((round(side * 0.36), round(side * 0.42)), Image.Resampling.LANCZOS)
    result = picture.copy()
    result.paste(hat, ((side - hat.width) // 2, 0), hat)
    return result
