"""Words from tag files, offered while one types: `<data>/tags/*.csv`, each line `name,type,count,"alias,alias"`."""

from __future__ import annotations

import csv
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = "tags"
MOST_OFFERED = 24
LARGEST_FILE = 64_000_000
"""Bytes; the largest tag files about are a tenth of this."""
MOST_WORDS = 500_000
LONGEST = 200


@dataclass(frozen=True, slots=True)
class TagWord:
    """A word, how many pictures bear it, and what else it is called. Spellings are in lower case, with spaces."""

    name: str
    count: int
    aliases: tuple[str, ...] = ()

    def called(self, query: str, *, begins: bool) -> str | None:
        """The spelling that begins with the query, or holds it; None for none."""
        spellings = (self.name, *self.aliases)
        return next((text for text in spellings if (text.startswith(query) if begins else query in text)), None)


class TagWords:
    """The words of a folder's files, read again when a file changes; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._stamp: tuple[tuple[str, int, int], ...] = ()
        self._words: tuple[TagWord, ...] = ()

    def search(self, query: str) -> list[tuple[TagWord, str]]:
        """The commonest words for a query, each with the spelling that fits: those that begin with it go first."""
        wanted = spelled(query)
        if not wanted:
            return []
        words = self._current()
        found: dict[str, tuple[TagWord, str]] = {}
        for begins in (True, False):
            for word in words:
                if len(found) == MOST_OFFERED:
                    return list(found.values())
                if word.name not in found and (spelling := word.called(wanted, begins=begins)) is not None:
                    found[word.name] = (word, spelling)
        return list(found.values())

    def _current(self) -> tuple[TagWord, ...]:
        with self._lock:
            files = _files(self._folder)
            stamp = tuple((path.name, size, time) for path, size, time in files)
            if stamp != self._stamp:
                self._words = _ranked(path for path, size, _ in files if size <= LARGEST_FILE)
                self._stamp = stamp
            return self._words


def spelled(text: str) -> str:
    """A word as it is compared."""
    return " ".join(text.replace("_", " ").split()).casefold()


def _files(folder: Path) -> list[tuple[Path, int, int]]:
    try:
        found = [(path, path.stat()) for path in sorted(folder.glob("*.csv")) if path.is_file()]
    except OSError:
        return []
    return [(path, status.st_size, status.st_mtime_ns) for path, status in found]


def _ranked(paths: Iterator[Path]) -> tuple[TagWord, ...]:
    words: dict[str, TagWord] = {}
    for path in paths:
        for word in _read(path):
            if len(words) < MOST_WORDS:
                words.setdefault(word.name, word)
    return tuple(sorted(words.values(), key=lambda word: -word.count))


def _read(path: Path) -> Iterator[TagWord]:
    """The words of one file; lines that are none are left out, and so is the rest of a file that breaks off."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            for row in csv.reader(line.replace("\0", "") for line in file):
                name = spelled(row[0])[:LONGEST] if row else ""
                if name:
                    count = int(row[2]) if len(row) > 2 and row[2].strip().isdecimal() and len(row[2]) < 16 else 0
                    aliases = tuple(spelled(alias)[:LONGEST] for alias in row[3].split(",")) if len(row) > 3 else ()
                    yield TagWord(name, count, tuple(alias for alias in aliases if alias))
    except (OSError, csv.Error):
        return
