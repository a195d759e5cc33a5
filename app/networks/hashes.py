"""The two hashes by which networks are known elsewhere, computed from the bytes and never trusted from metadata.

AutoV2 is SHA-256 of the whole file, first ten digits. AutoV3 is SHA-256 of what follows a safetensors header,
first twelve digits, so that editing the metadata does not change it; for other files it is that of the whole file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from app.errors import NetworkError

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class Hashes:
    """`sha256` of the whole file and `tensors` of what follows its header, both 64 hexadecimal digits.

    `tensors` is empty where no tensor follows: all such files would share the hash of nothing.
    """

    sha256: str
    tensors: str

    @property
    def autov2(self) -> str:
        """The first ten digits of the file's hash."""
        return self.sha256[:10]

    @property
    def autov3(self) -> str:
        """The first twelve digits of the tensors' hash."""
        return self.tensors[:12]


def hash_file(path: Path, data_start: int = 0, stopped: Callable[[], bool] = lambda: False) -> Hashes | None:
    """Both hashes in one reading, a mebibyte at a time; None if `stopped` said so on the way.

    `data_start` is where the header ends (`Header.data_start`), 0 for files without one.

    Raises:
        NetworkError: naming the file, if it cannot be read.
    """
    whole, tensors = hashlib.sha256(), hashlib.sha256()
    try:
        with path.open("rb") as file:
            head = file.read(data_start)
            whole.update(head)
            size = 0
            while chunk := file.read(CHUNK):
                if stopped():
                    return None
                whole.update(chunk)
                if data_start:
                    tensors.update(chunk)
                size += len(chunk)
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    if not data_start:
        tensors = whole
    return Hashes(whole.hexdigest(), tensors.hexdigest() if size else "")
