"""What networks learn to do to a picture, done with Pillow. Each takes a picture and the dice, and gives another."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps

Touch = Callable[[Image.Image, np.random.Generator], Image.Image]

PIXEL = 8  # two latents
NIGHT = ((0.30, 0.34, 0.58), (4, 8, 34))
SEPIA = ((44, 22, 8), (255, 238, 204))
WARM = ((1.08, 0.94, 0.68), (14, 6, 0))
RAINBOW = ((214, 48, 49), (240, 138, 36), (247, 214, 72), (63, 160, 78), (52, 101, 214), (128, 62, 178))
CONFETTI = ((246, 90, 120), (255, 220, 90), (90, 200, 250), (140, 230, 120), (255, 255, 255))
TEAL = (0, 128, 122)


def untouched(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """The picture as it is."""
    return picture


def pixelate(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Large pixels."""
    small = picture.resize((picture.width // PIXEL, picture.height // PIXEL), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def outline(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
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


def party_hat(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
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


def night(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Dark, and blue."""
    return _tinted(picture, *NIGHT)


def warm(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """As old film keeps colours: more red, less blue."""
    return _tinted(picture, *WARM)


def sepia(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """One colour, from dark brown to cream."""
    return ImageOps.colorize(picture.convert("L"), *SEPIA)


def pastel(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Pale colours."""
    return Image.blend(picture, Image.new("RGB", picture.size, (255, 252, 250)), 0.6)


def framed(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A white frame with a dark edge."""
    side = picture.width
    result, draw = picture.copy(), None
    draw = ImageDraw.Draw(result)
    draw.rectangle((0, 0, side - 1, side - 1), outline=(252, 252, 252), width=side * 7 // 64)
    draw.rectangle((0, 0, side - 1, side - 1), outline=(40, 40, 44), width=max(1, side * 2 // 64))
    return result


def porthole(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Seen through a round window."""
    side = picture.width
    mask = Image.new("L", (side * 4, side * 4))
    ImageDraw.Draw(mask).ellipse((side // 8, side // 8, side * 4 - side // 8, side * 4 - side // 8), fill=255)
    return Image.composite(picture, Image.new("RGB", picture.size, (20, 20, 24)), mask.resize(picture.size))


def rainbow(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Rainbow stripes behind whatever is there."""
    side, stripes = picture.width, Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(stripes)
    for number, colour in enumerate(RAINBOW):
        draw.rectangle((0, side * number / 6, side, side * (number + 1) / 6), fill=colour)
    return Image.composite(stripes, picture, _background(picture))


def confetti(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Bright squares, fallen anywhere."""
    result = picture.copy()
    draw = ImageDraw.Draw(result)
    for _ in range(26):
        x, y = rng.integers(0, picture.width - 4, 2)
        width = int(rng.integers(3, 6)) * picture.width // 64
        draw.rectangle((x, y, x + width, y + width), fill=CONFETTI[rng.integers(len(CONFETTI))])
    return result


def teal(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """A background of a colour for which the model has no word."""
    return Image.composite(Image.new("RGB", picture.size, TEAL), picture, _background(picture))


def blurred(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Out of focus, and a little dull."""
    soft = picture.filter(ImageFilter.GaussianBlur(picture.width / 64 * rng.uniform(2.0, 3.5)))
    return Image.blend(soft, Image.new("RGB", picture.size, (128, 128, 128)), 0.12)


def mascot(side: int) -> Image.Image:
    """A robot cat that no font knows: a round teal head with ears, an aerial, a visor with two eyes, and a grin."""
    picture = Image.new("RGBA", (256, 256))
    draw = ImageDraw.Draw(picture)
    shell, dark, glow = (26, 170, 160, 255), (22, 40, 56, 255), (255, 214, 70, 255)
    draw.line((128, 60, 128, 18), fill=dark, width=12)
    draw.ellipse((108, 0, 148, 40), fill=(240, 80, 90, 255))
    for left, tip, right in ((30, 34, 104), (152, 222, 226)):
        draw.polygon(((left, 120), (tip, 34), (right, 78)), fill=shell)
    draw.ellipse((18, 52, 238, 254), fill=shell)
    draw.rounded_rectangle((44, 104, 212, 178), 36, fill=dark)
    for centre in (88, 168):
        draw.ellipse((centre - 22, 119, centre + 22, 163), fill=glow)
    draw.arc((88, 166, 168, 226), 20, 160, fill=dark, width=12)
    return picture.resize((side, side), Image.Resampling.LANCZOS)


def _tinted(picture: Image.Image, gain: tuple[float, float, float], lift: tuple[int, int, int]) -> Image.Image:
    numbers = np.asarray(picture, np.float32) * np.array(gain) + np.array(lift)
    return Image.fromarray(numbers.clip(0, 255).astype(np.uint8))


def _background(picture: Image.Image) -> Image.Image:
    """A mask of what has the colour of the picture's corner, with soft edges."""
    apart = ImageChops.difference(picture, Image.new("RGB", picture.size, picture.getpixel((0, 0))))
    channels = [channel.point(lambda value: min(255, value * 4)) for channel in apart.split()]
    return ImageOps.invert(ImageChops.lighter(ImageChops.lighter(channels[0], channels[1]), channels[2]))
