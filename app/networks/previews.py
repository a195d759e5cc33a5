"""The picture that shows what a network does: one beside the file, else one in its metadata.

Pictures are hostile: only the formats below pass, known by their first bytes and not by their names, and only up to
`SIZE_LIMIT`. They are not decoded here.
"""

from __future__ import annotations

import base64
import binascii
import stat
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.networks.metadata import metadata_json
from app.networks.sidecar import stem

SIZE_LIMIT = 32_000_000
"""Bytes of one picture."""
SUFFIXES = tuple(f"{middle}.{kind}" for middle in ("", ".preview") for kind in ("png", "jpg", "jpeg", "webp", "gif"))


@dataclass(frozen=True, slots=True)
class Preview:
    """The bytes of a picture, its media type, and where it was found: a file's name or a metadata key."""

    data: bytes
    media_type: str
    source: str


def picture_name(network: Path, names: Container[str]) -> str:
    """Which of the `names` in a network's folder is its picture: `name.png`, …, `name.preview.png`, …; or ""."""
    name = stem(network)
    return next((name + suffix for suffix in SUFFIXES if name + suffix in names), "")


def read_preview(network: Path, metadata: Mapping[str, str]) -> Preview | None:
    """The picture of a network, or None: the one beside it, else `modelspec.thumbnail`, else `ssmd_cover_images`."""
    return next(_candidates(network, metadata), None)


def _candidates(network: Path, metadata: Mapping[str, str]) -> Iterator[Preview]:
    for suffix in SUFFIXES:
        name = stem(network) + suffix
        data = _read(network.parent / name)
        if media_type := _media_type(data):
            yield Preview(data, media_type, name)
    yield from _embedded(metadata.get("modelspec.thumbnail", "").partition("base64,")[2], "modelspec.thumbnail")
    covers = metadata_json(metadata.get("ssmd_cover_images", ""))
    for cover in covers if isinstance(covers, list) else ():
        if isinstance(cover, str):
            yield from _embedded(cover.rpartition("base64,")[2], "ssmd_cover_images")


def _read(path: Path) -> bytes:
    """A picture's bytes; none of what is missing, unreadable, too large or not a file."""
    try:
        status = path.stat()
        return path.read_bytes() if stat.S_ISREG(status.st_mode) and status.st_size <= SIZE_LIMIT else b""
    except OSError:
        return b""


def _embedded(text: str, source: str) -> Iterator[Preview]:
    try:
        data = base64.b64decode(text, validate=True) if len(text) <= SIZE_LIMIT else b""
    except (binascii.Error, ValueError):
        return
    if media_type := _media_type(data):
        yield Preview(data, media_type, source)


def _media_type(data: bytes) -> str:
    """What a picture is, by its first bytes; empty for anything else (SVG included: it can hold scripts)."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if data.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if data.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "image/webp"
    return ""
