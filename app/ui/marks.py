"""What is marked on cards: favourites, and how often and when each made images. One small file in the data folder."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterable
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

    def count_uses(self, networks: Iterable[tuple[str, str]]) -> None:
        """Images were made with these networks, each named by kind and name; raises StorageError."""
        with self._lock:
            marks = dict(self._marks)
            for kind, name in dict.fromkeys(networks):
                mark = self.of(kind, name)
                marks[f"{kind}/{name}"] = {**mark, "times": mark.get("times", 0) + 1, "last": int(time.time())}
            if marks != self._marks:
                self._write(marks)

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
