"""Scenes drawn with Pillow: emoji on flat backgrounds, with just enough variety to be pictures and not icons."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .words import COLOURS, EMOJI, NOUNS, TEMPLATE_WEIGHTS, TEMPLATES, Scene, caption, held_out

BITMAP_SIZE = 109  # the only size in which Noto Color Emoji holds its bitmaps
SIZE_SHARE = {"small": 0.34, "": 0.60, "large": 0.86}  # of the picture's side
PAIR_SHARE, TRIO_SHARE = 0.42, 0.40
PAIR_SPOTS = ((0.26, 0.5), (0.74, 0.5))
TRIO_SPOTS = ((0.26, 0.28), (0.74, 0.28), (0.5, 0.74))


@dataclass(frozen=True)
class Mix:
    """How often a random scene is of each kind, and how many of the words it draws from."""

    nouns: int = len(NOUNS)
    colours: int = len(COLOURS)
    counts: float = 0.25
    places: float = 0.1
    pairs: float = 0.05
    sizes: float = 0.45
    held_out: bool = False  # whether it is of the scenes that training never sees, or of the others

    @property
    def palette(self) -> tuple[str, ...]:
        """The background colours in use."""
        return tuple(COLOURS)[: self.colours]


@dataclass(frozen=True)
class Painter:
    """Draws scenes with the emoji of one font at one resolution."""

    font: Path
    side: int = 64

    def draw(self, scene: Scene, rng: np.random.Generator) -> Image.Image:
        """The scene as a picture; place, size, tilt and tint vary a little with ``rng``."""
        tint = rng.normal(0, 3, 3)
        background = tuple(int(v) for v in np.clip(np.array(COLOURS[scene.colour]) + tint, 0, 255))
        picture = Image.new("RGB", (self.side, self.side), background)
        for noun, share, spot in layout(scene):
            sprite = emoji_sprite(self.font, EMOJI[noun])
            width = max(4, round(self.side * share * rng.uniform(0.95, 1.05)))
            sprite = sprite.resize((width, width), Image.Resampling.LANCZOS)
            sprite = sprite.rotate(rng.normal(0, 3), Image.Resampling.BICUBIC)
            shift = rng.normal(0, 0.012, 2)
            corner = [round(self.side * (spot[axis] + shift[axis]) - width / 2) for axis in (0, 1)]
            picture.paste(sprite, (corner[0], corner[1]), sprite)
        return picture


def layout(scene: Scene) -> list[tuple[str, float, tuple[float, float]]]:
    """Each object of the scene: noun, share of the side, centre."""
    if scene.partner:
        return [(scene.noun, PAIR_SHARE, PAIR_SPOTS[0]), (scene.partner, PAIR_SHARE, PAIR_SPOTS[1])]
    if scene.count == 2:
        return [(scene.noun, PAIR_SHARE, spot) for spot in PAIR_SPOTS]
    if scene.count == 3:
        return [(scene.noun, TRIO_SHARE, spot) for spot in TRIO_SPOTS]
    if scene.place:
        return [(scene.noun, PAIR_SHARE, PAIR_SPOTS[scene.place == "right"])]
    return [(scene.noun, SIZE_SHARE[scene.size], (0.5, 0.5))]


def random_scene(mix: Mix, rng: np.random.Generator) -> Scene:
    """A scene drawn from the mix."""
    while held_out(scene := _any_scene(mix, rng)) != mix.held_out:
        pass
    return scene


def random_caption(scene: Scene, rng: np.random.Generator) -> str:
    """One of the ways to say the scene."""
    return caption(scene, int(rng.choice(TEMPLATES, p=TEMPLATE_WEIGHTS)))


@cache
def emoji_sprite(font: Path, character: str) -> Image.Image:
    """The emoji on a transparent square, cut to its ink so that every noun has the same apparent size."""
    face = ImageFont.truetype(str(font), BITMAP_SIZE)
    canvas = Image.new("RGBA", (BITMAP_SIZE * 2, BITMAP_SIZE * 2))
    ImageDraw.Draw(canvas).text((20, 20), character, font=face, embedded_color=True)
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"{font.name} has no picture for {character!r}")
    ink = canvas.crop(box)
    side = max(ink.size)
    square = Image.new("RGBA", (side, side))
    square.paste(ink, ((side - ink.width) // 2, (side - ink.height) // 2))
    return square


def _any_scene(mix: Mix, rng: np.random.Generator) -> Scene:
    nouns = NOUNS[: mix.nouns]
    scene = Scene(str(rng.choice(nouns)), str(rng.choice(mix.palette)))
    kind = rng.random()
    if kind < mix.counts:
        return replace(scene, count=int(rng.integers(2, 4)))
    if kind < mix.counts + mix.places:
        return replace(scene, place=str(rng.choice(("left", "right"))))
    if kind < mix.counts + mix.places + mix.pairs:
        others = [noun for noun in nouns if noun != scene.noun]
        return replace(scene, partner=str(rng.choice(others))) if others else scene
    if rng.random() < mix.sizes:
        return replace(scene, size=str(rng.choice(("small", "large"))))
    return scene
