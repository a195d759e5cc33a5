"""Images as files: written whole or not at all, never over another; their text read with distrust."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from PIL import Image, ImageOps, PngImagePlugin

from app.errors import RequestError, StorageError
from app.generation.request import LARGEST_SIDE
from app.settings import temporary_file

KEY = "parameters"
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")
MAX_FILE_BYTES = 64 * 2**20
MAX_TEXT_CHARACTERS = 2**20
MAX_PIXELS = LARGEST_SIDE**2

_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286
# What Pillow's readers raise on a file made to break them.
_UNREADABLE = (
    OSError, SyntaxError, ValueError, TypeError, KeyError, IndexError, EOFError, OverflowError, RuntimeError,
    MemoryError, struct.error, zlib.error, Image.DecompressionBombError,
)  # fmt: skip


def png_bytes(image: Image.Image, infotext: str) -> bytes:
    """`image` as a PNG file that carries `infotext` under `parameters`."""
    text = PngImagePlugin.PngInfo()
    text.add_text(KEY, infotext)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def save_png(image: Image.Image, infotext: str, folder: Path, *, seed: int, when: datetime | None = None) -> Path:
    """Write `image` to `folder/2026-11-28/20261128-083000-<seed>.png` (or `…-<seed>-2.png`, …) and return the path.

    Raises:
        StorageError: the file cannot be written; nothing is left behind.
    """
    when = when or datetime.now()
    day = folder / f"{when:%Y-%m-%d}"
    content = png_bytes(image, infotext)
    try:
        return _placed(content, day, f"{when:%Y%m%d-%H%M%S}-{seed}")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StorageError(f"The image cannot be written: {reason}.", where=str(day), hint="Make room.") from error


def read_infotext(source: Path | bytes) -> str:
    """The text that a PNG, JPEG, WebP or GIF carries; "" when it carries none. No pixel is decoded.

    Raises:
        RequestError: `source` is not such an image, is too large, or cannot be read.
    """
    name = source.name if isinstance(source, Path) else "image"
    with _opened(source, name) as image:
        text = _text(image)
    if len(text) > MAX_TEXT_CHARACTERS:
        raise RequestError(f"Its text is longer than {MAX_TEXT_CHARACTERS} characters.", where=name)
    return text


def read_picture(source: Path | bytes, where: str = "") -> Image.Image:
    """A picture as RGB, turned the way its camera was held; what is transparent shows white.

    Raises:
        RequestError: `source` is not a PNG, JPEG, WebP or GIF, is too large, or cannot be read; `where` it stands.
    """
    name = where or (source.name if isinstance(source, Path) else "image")
    with _opened(source, name) as image:
        if image.width * image.height > MAX_PIXELS:
            raise RequestError(f"It has more than {MAX_PIXELS} pixels.", where=name)
        turned = ImageOps.exif_transpose(image)
        if not turned.has_transparency_data:
            return turned.convert("RGB")
        white = Image.new("RGBA", turned.size, "white")
        return Image.alpha_composite(white, turned.convert("RGBA")).convert("RGB")


@contextmanager
def _opened(source: Path | bytes, name: str) -> Iterator[Image.Image]:
    """An image file of a known format and a bearable size; whatever is wrong with it is told as a RequestError."""
    try:
        size = source.stat().st_size if isinstance(source, Path) else len(source)
        if size > MAX_FILE_BYTES:
            raise RequestError(f"{size} bytes are more than the {MAX_FILE_BYTES} that are read.", where=name)
        with Image.open(source if isinstance(source, Path) else io.BytesIO(source), formats=FORMATS) as image:
            yield image
    except _UNREADABLE as error:
        message = "This cannot be read as a PNG, JPEG, WebP or GIF image."
        raise RequestError(message, where=name) from error


def _placed(content: bytes, folder: Path, stem: str) -> Path:
    """Write `content` to a temporary file, then claim the first free name and rename onto it."""
    with temporary_file(folder, content) as written:
        target = _claimed(folder, stem)
        try:
            written.replace(target)
        except OSError:
            target.unlink()
            raise
    return target


def _claimed(folder: Path, stem: str) -> Path:
    """A new, empty file named `stem.png`, `stem-2.png`, …: whoever creates it owns the name."""
    number = 1
    while True:
        path = folder / (f"{stem}.png" if number == 1 else f"{stem}-{number}.png")
        try:
            path.touch(exist_ok=False)
            return path
        except FileExistsError:
            number += 1


def _text(image: Image.Image) -> str:
    """The infotext of an opened image, wherever its format keeps it."""
    text = image.info.get(KEY)
    if isinstance(text, str):
        return text
    comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    if not comment and image.format == "GIF":
        comment = image.info.get("comment", b"")
    return comment if isinstance(comment, str) else _comment(bytes(comment))


def _comment(comment: bytes) -> str:
    """An EXIF UserComment: eight bytes that name the code, then the text."""
    code, body = comment[:8], comment[8:]
    if code == b"UNICODE\0":
        # The standard's UTF-16 has no byte order; ASCII's zero bytes show which one a writer used.
        little = body[1::2].count(0) > body[0::2].count(0)
        return body.decode("utf-16-le" if little else "utf-16-be", "replace")
    if code == b"ASCII\0\0\0":
        return body.decode("ascii", "replace")
    return comment.decode("utf-8", "replace")
