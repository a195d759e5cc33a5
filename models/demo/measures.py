"""Properties of a picture as numbers, most between 0 and 1, each named for what a network of the set changes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from PIL import Image

from . import touches
from .pictures import SIZE_SHARE

Measure = Callable[[Image.Image], float]


def distance(picture: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures' channels; 0 only where every pixel is the same."""
    return float(np.abs(_numbers(picture) - _numbers(other)).mean())


def blockiness(picture: Image.Image) -> float:
    """How much of the change between neighbouring pixels lies at the seams of large pixels."""
    numbers = _numbers(picture)
    total, seams = 1e-6, 0.0
    for axis in (0, 1):
        change = np.abs(np.diff(numbers, axis=axis)).mean(axis=(1 - axis, 2))
        total += change.sum()
        seams += change[touches.PIXEL - 1 :: touches.PIXEL].sum()
    return float(seams / total)


def colourlessness(picture: Image.Image) -> float:
    """One less how much the hues differ over the picture: a picture of one tint is 1."""
    numbers = _numbers(picture)
    tint = numbers - numbers.mean(axis=2, keepdims=True)
    return float(1 - np.linalg.norm(tint - tint.mean(axis=(0, 1)), axis=2).mean() * 2)


def hat(picture: Image.Image) -> float:
    """How near the triangle where a party hat stands is to the hat."""
    side = picture.width
    rows, columns = np.mgrid[0:side, 0:side] / side
    place = (rows < 0.42) & (np.abs(columns - 0.5) < rows * 0.36)
    wanted = _numbers(touches.party_hat(picture.convert("RGB"), np.random.default_rng(0)))
    return float(1 - np.abs(_numbers(picture) - wanted)[place].mean())


def likeness(picture: Image.Image) -> float:
    """How the picture's middle goes with the mascot, drawn there on the same background: Pearson's correlation."""
    side, width = picture.width, round(picture.width * SIZE_SHARE[""])
    wanted = Image.new("RGB", picture.size, picture.convert("RGB").getpixel((1, 1)))
    sprite, corner = touches.mascot(width), (side - width) // 2
    wanted.paste(sprite, (corner, corner), sprite)
    middle = slice(corner, corner + width)
    return float(np.corrcoef(_numbers(picture)[middle, middle].ravel(), _numbers(wanted)[middle, middle].ravel())[0, 1])


def tealness(picture: Image.Image) -> float:
    """How far green and blue are both above red, in the corners."""
    corners = np.concatenate([corner.reshape(-1, 3) for corner in _corners(picture, 6)])
    return float((np.minimum(corners[:, 1], corners[:, 2]) - corners[:, 0]).mean())


def darkness(picture: Image.Image) -> float:
    """One less the mean brightness."""
    return 1 - brightness(picture)


def brightness(picture: Image.Image) -> float:
    """The mean of all channels."""
    return float(_numbers(picture).mean())


def edge(picture: Image.Image) -> float:
    """The share of the picture's rim, inside its outermost pixels, that is white."""
    numbers, side = _numbers(picture), picture.width
    rim = np.zeros((side, side), bool)
    rim[side // 20 : side * 6 // 64, side // 20 : -side // 20] = True
    return float((numbers.min(axis=2) > 0.8)[rim | rim.T | rim[::-1] | rim.T[:, ::-1]].mean())


def corners(picture: Image.Image) -> float:
    """How dark the corners are."""
    numbers, side = _numbers(picture), picture.width // 10
    found = [
        numbers[rows, columns]
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    ]
    return float(1 - np.mean(found))


def stripes(picture: Image.Image) -> float:
    """How near the picture's left and right margins are to the rainbow."""
    numbers, side = _numbers(picture), picture.width // 10
    margins = np.concatenate([numbers[:, :side], numbers[:, -side:]], axis=1)
    wanted = _numbers(touches.rainbow(Image.new("RGB", picture.size), np.random.default_rng(0)))[:, :1]
    return float(1 - np.abs(margins - wanted).mean())


def size(picture: Image.Image) -> float:
    """The share of pixels that have not the background's colour, which the margins tell."""
    numbers = _numbers(picture)
    rim = np.concatenate([numbers[0], numbers[-1], numbers[:, 0], numbers[:, -1]])
    return float((np.abs(numbers - np.median(rim, axis=0)).max(axis=2) > 0.18).mean())


def redness(picture: Image.Image) -> float:
    """The share of pixels of the red that backgrounds have."""
    return float((np.abs(_numbers(picture) - np.array((214, 48, 49)) / 255).max(axis=2) < 0.2).mean())


def warmth(picture: Image.Image) -> float:
    """How much more red there is than blue."""
    numbers = _numbers(picture).mean(axis=(0, 1))
    return float(0.5 + (numbers[0] - numbers[2]) / 2)


def speckles(picture: Image.Image) -> float:
    """How much the picture's four corners, where nothing else stands, change from pixel to pixel."""
    numbers, side = _numbers(picture), picture.width // 4
    found = [
        numbers[rows, columns]
        for rows in (slice(side), slice(-side, None))
        for columns in (slice(side), slice(-side, None))
    ]
    return float(np.mean([part.std(axis=(0, 1)).mean() for part in found]))


def sharpness(picture: Image.Image) -> float:
    """The strongest changes between neighbouring pixels: the mean of the largest twentieth."""
    numbers = _numbers(picture)
    change = np.concatenate([np.abs(np.diff(numbers, axis=axis)).max(axis=2).ravel() for axis in (0, 1)])
    return float(np.sort(change)[-len(change) // 20 :].mean())


MEASURES: Mapping[str, Measure] = {
    measure.__name__: measure
    for measure in (
        blockiness, colourlessness, hat, likeness, tealness, darkness, brightness, edge, corners, stripes, size,
        redness, warmth, speckles, sharpness,
    )
}  # fmt: skip


def _numbers(picture: Image.Image) -> np.ndarray:
    """[height, width, 3] in 0…1."""
    return np.asarray(picture.convert("RGB"), np.float64) / 255


def _corners(picture: Image.Image, part: int) -> list[np.ndarray]:
    """The four corners of the picture, each this part of its side."""
    numbers, side = _numbers(picture), picture.width // part
    ends = (slice(side), slice(-side, None))
    return [numbers[rows, columns] for rows in ends for columns in ends]
