"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def temporary_file(folder: Path, content: bytes) -> Iterator[Path]:
    """A new file in `folder` that holds `content`, on the disk; rename it within the block, or it is removed.

    Raises:
        OSError: it cannot be written; nothing is left behind.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{secrets.token_hex(8)}.tmp"
    try:
        with path.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        yield path
    finally:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step, over what was there; raises OSError and leaves `path` as it was."""
    with temporary_file(path.parent, content) as written:
        written.replace(path)
