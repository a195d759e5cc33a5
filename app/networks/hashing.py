"""Hashes of files, computed once and kept while the file is as it was."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

from app.errors import NetworkError
from app.networks.hashes import Hashes, hash_file
from app.networks.header import read_header
from app.networks.index import Index, Stamp


class Hasher:
    """Hashes by file, kept in the index. Safe to use from several threads."""

    def __init__(self, index: Index) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[Stamp, Hashes]] | None = None

    def known(self, path: Path, stamp: Stamp) -> Hashes | None:
        """The hashes of a file that has this size and time, if they have been computed."""
        with self._lock:
            if self._known is None:
                self._known = self._index.hashes()
            kept = self._known.get(path)
        return kept[1] if kept is not None and kept[0] == stamp else None

    def hash(self, path: Path, stopped: Callable[[], bool] = lambda: False) -> Hashes | None:
        """The hashes of a file as it is now, computed if need be; None where `stopped` said so.

        Raises:
            NetworkError: naming the file, if it cannot be read.
        """
        try:
            status = path.stat()
        except OSError as error:
            raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
        stamp = Stamp(status.st_size, status.st_mtime_ns)
        if known := self.known(path, stamp):
            return known
        start = read_header(path).data_start if path.suffix.lower() == ".safetensors" else 0
        hashes = hash_file(path, start, stopped)
        if hashes is not None:
            with self._lock:
                if self._known is not None:
                    self._known[path] = (stamp, hashes)
            self._index.keep_hashes(path, stamp, hashes)
        return hashes
