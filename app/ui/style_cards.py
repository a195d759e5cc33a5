"""What is kept about styles beside their texts: stars, uses, and a picture each, in the data folder."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from app.errors import StorageError
from app.settings import write_atomically
from app.ui.marks import Mark, Marks
from app.ui.thumbnails import thumbnail

KIND = "style"


class StyleCards:
    """The marks and pictures of the styles of one data folder; safe to use from several threads."""

    def __init__(self, data: Path) -> None:
        self._folder = data / "styles"
        self.marks = Marks(self._folder)

    def mark(self, name: str) -> Mark:
        """The star of a style."""
        return self.marks.of(KIND, name)

    def picture(self, key: str) -> Path | None:
        """The file of a style's picture, if it has one. Keys are made by us: digits and letters."""
        path = self._folder / f"{key}.webp"
        return path if path.is_file() else None

    def version(self, key: str) -> str:
        """Changes when the picture does; empty without one."""
        path = self.picture(key)
        return f"{path.stat().st_mtime_ns:x}" if path else ""

    def keep_picture(self, key: str, image: Image.Image) -> None:
        """Make an image the style's picture.

        Raises:
            StorageError: it cannot be written.
        """
        try:
            write_atomically(self._folder / f"{key}.webp", thumbnail(image))
        except OSError as error:
            raise StorageError(f"The picture cannot be written ({error.strerror or error}).", where=key) from error

    def forget(self, key: str) -> None:
        """Take the picture of a deleted style away."""
        (self._folder / f"{key}.webp").unlink(missing_ok=True)
