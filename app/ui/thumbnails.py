"""Small pictures of networks: made once, kept in the cache, found by a key that nobody outside can point elsewhere."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

from PIL import Image, ImageOps

from app.errors import NetworkError, StorageError
from app.networks.header import read_header
from app.networks.previews import Preview, read_preview
from app.networks.record import NetworkFile
from app.settings import write_atomically
from app.ui.shelves import network_key

SIDE = 256
"""Pixels of the shorter side, at most: twice the width of a card."""
LONGEST = 2
"""The longer side, in shorter ones. The ends of a panorama are cut off; any other picture is for the card to crop."""
QUALITY = 72
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
LARGEST = 64_000_000
"""Pixels of a picture that is opened."""
# What Pillow's readers raise on a file made to break them.
UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def thumbnail_version(file: NetworkFile) -> str:
    """Changes when the network or the picture beside it does, or the size that thumbnails are made in."""
    try:
        seen = file.picture.stat().st_mtime_ns if file.picture else file.mtime_ns
    except OSError:
        seen = 0
    return f"{SIDE}-{seen:x}"


def thumbnail(picture: Image.Image) -> bytes:
    """A picture made small, in its own shape, as a WebP."""
    shorter = min(SIDE, *picture.size)
    tall, wide = picture.height / picture.width, picture.width / picture.height
    size = round(shorter * min(LONGEST, max(1, wide))), round(shorter * min(LONGEST, max(1, tall)))
    encoded = io.BytesIO()
    small = ImageOps.fit(picture.convert("RGB"), size, Image.Resampling.LANCZOS, centering=(0.5, 0.35))
    small.save(encoded, "WEBP", quality=QUALITY)
    return encoded.getvalue()


class Thumbnails:
    """The cache in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def of(self, file: NetworkFile) -> bytes | None:
        """The thumbnail as a WebP; None where the network has no picture that can be read."""
        kept = self._folder / f"{network_key(file)}-{thumbnail_version(file)}.webp"
        try:
            return kept.read_bytes() or None
        except OSError:
            made = _made(file)
        try:
            write_atomically(kept, made or b"")
        except (OSError, StorageError):
            return made  # A full disk: it is made again next time.
        return made


def _made(file: NetworkFile) -> bytes | None:
    preview = _preview(file)
    if preview is None:
        return None
    try:
        with Image.open(io.BytesIO(preview.data), formats=FORMATS) as picture:
            if picture.width * picture.height > LARGEST:
                return None
            picture.draft("RGB", (2 * SIDE, 2 * SIDE))
            return thumbnail(picture)
    except UNREADABLE:
        return None


def _preview(file: NetworkFile) -> Preview | None:
    metadata = {}
    if file.embedded_preview and file.picture is None:
        try:
            metadata = dict(read_header(file.file).metadata)
        except NetworkError:
            return None
    return read_preview(file.path, metadata)
