"""What a user marks on cards: favourites, and when and how often each was used. One small file in the data folder."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import TypedDict

from app.errors import NetworkError, StorageError
from app.networks.sidecar import read_object
from app.settings import write_atomically

FILE = "networks.json"


class Mark(TypedDict, total=False):
    """What is marked of one network. Times are seconds since 1970."""

    favourite: bool
    times: int
    last: int


class Marks:
    """The marks by kind and name; safe to use from several threads. An unreadable file counts as an empty one."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE
        self._lock = threading.Lock()
        self._marks = _read(self._path)

    def of(self, kind: str, name: str) -> Mark:
        """What is marked of a network."""
        return self._marks.get(f"{kind}/{name}", {})

    def favour(self, kind: str, name: str, favourite: bool) -> None:
        """Make a network a favourite, or no longer; raises StorageError."""
        with self._lock:
            self._keep(f"{kind}/{name}", {**self.of(kind, name), "favourite": favourite})

    def count_use(self, kind: str, name: str) -> None:
        """A network was added to a prompt; raises StorageError."""
        with self._lock:
            mark = self.of(kind, name)
            used: Mark = {"times": mark.get("times", 0) + 1, "last": int(time.time())}
            self._keep(f"{kind}/{name}", {**mark, **used})

    def rename(self, kind: str, old: str, new: str) -> None:
        """The marks of a network go with it; raises StorageError."""
        with self._lock:
            if mark := self.of(kind, old):
                kept = {key: value for key, value in self._marks.items() if key != f"{kind}/{old}"}
                self._write({**kept, f"{kind}/{new}": mark})

    def _keep(self, key: str, mark: Mark) -> None:
        self._write({**self._marks, key: mark})

    def _write(self, marks: dict[str, Mark]) -> None:
        try:
            write_atomically(self._path, json.dumps(marks, indent=1, ensure_ascii=True).encode())
        except OSError as error:
            raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(self._path)) from error
        self._marks = marks


def _read(path: Path) -> dict[str, Mark]:
    try:
        document = read_object(path)
    except NetworkError:
        return {}
    return {key: _mark(value) for key, value in document.items() if isinstance(value, dict)}


def _mark(value: dict[str, object]) -> Mark:
    times, last = value.get("times"), value.get("last")
    mark: Mark = {"favourite": value.get("favourite") is True}
    if type(times) is int and type(last) is int:
        mark |= {"times": times, "last": last}
    return mark
