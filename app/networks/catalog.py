"""The library of one kind of networks: which files there are, what is known of them, and which one a name means."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from app.errors import NetworkError, Problem
from app.networks.first_look import FirstLook
from app.networks.hashes import Hashes
from app.networks.hashing import Hasher
from app.networks.index import Index, Row, Stamp
from app.networks.names import Names, names_of, with_aliases
from app.networks.record import NetworkFile, from_row, inspect, to_row
from app.networks.scan import OUTSIDE_HINT, Found, Kind, Scan

__all__ = ["Catalog", "NetworkFile"]

BATCH = 100
"""Files that are read between two writes to the index, so that a first scan cut short is not lost."""
PATIENCE = 4.0
"""A missing name is looked for on the disk again, unless the last look was less than this many times its own duration
ago: prompts full of wrong names cannot keep a large disk busy."""
PUBLISH_SECONDS = 2.0
NAMES_SECONDS = 0.3
"""How long `so_far` waits for the names, which a walk over the folders gives."""
HASH_PREFIX = 8
"""Digits that a hash must have at least to be looked for."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """One state of the library; readers keep theirs while the next is made."""

    files: tuple[NetworkFile, ...]
    names: Names
    signatures: Mapping[Path, str]
    problems: tuple[Problem, ...]


@dataclass(frozen=True, slots=True)
class SoFar:
    """What is known of a library now. While it is looked at for the first time, `read` of `total` files were read."""

    files: tuple[NetworkFile, ...]
    read: int
    total: int
    is_whole: bool


class Catalog:
    """The networks of one kind below some folders; safe to use from several threads, and from several processes.

    Nothing is read before it is asked for. `refresh` notices what was added, changed or removed; `find` does so by
    itself where a name is missing or its file has changed. One bad file is one record with a problem.
    """

    def __init__(self, roots: Sequence[Path], kind: Kind, index_path: Path) -> None:
        self.roots = tuple(dict.fromkeys(Path(os.path.abspath(root)) for root in roots))  # noqa: PTH100 - keeps links
        self.kind: Kind = kind
        self._index = Index(index_path)
        self._hasher = Hasher(self._index)
        self._lock = threading.RLock()
        self._listing: _Listing | None = None
        self._first = FirstLook((), kind)
        self._named = threading.Event()
        self._looking = threading.Lock()
        self._look_again = 0.0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def entries(self) -> tuple[NetworkFile, ...]:
        """Every network, by name."""
        return self._current().files

    def so_far(self, patience: float = NAMES_SECONDS) -> SoFar:
        """What is known now, without waiting for a first look, which this begins; later it is what `entries` says."""
        if self._listing is None and self._looking.acquire(blocking=False):
            threading.Thread(target=self._begin, name=f"first look {self.kind}", daemon=True).start()
        self._named.wait(patience)
        first = self._first  # before the listing: it is emptied once that is there
        if (listing := self._listing) is not None:
            return SoFar(listing.files, len(listing.files), len(listing.files), is_whole=True)
        return SoFar(first.files, first.read, first.total, is_whole=False)

    def whole(self, file: NetworkFile) -> NetworkFile:
        """The record of one of `so_far`'s files, read now if it has not been."""
        return self._first.whole(file)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the folders or the index, rather than with one network."""
        return (*self._current().problems, *self._index.problems)

    def find(self, name: str) -> NetworkFile:
        """The network that a tag's name means.

        Raises:
            NetworkError: there is none (near names are offered), there are several (their full names are given), or
                it is a link out of the folder.
        """
        if (early := self._first.find(name)) is not None:
            return early
        try:
            file = self._current().names.find(name)
        except NetworkError:
            if time.monotonic() < self._look_again:
                raise
            file = self._look().names.find(name)
        if not _unchanged(file):
            file = self._look().names.find(name)
        if file.refused:
            raise NetworkError(file.refused, where=name, hint=OUTSIDE_HINT)
        return file

    def with_hash(self, digits: str) -> NetworkFile | None:
        """The network whose AutoV3 or AutoV2 hash agrees with these hexadecimal digits (eight or more), if any."""
        wanted = digits.strip().lower()
        if len(wanted) < HASH_PREFIX:
            return None
        hashes = ((file, known) for file in self.entries() for known in (file.autov3, file.autov2) if known)
        return next((file for file, known in hashes if known.startswith(wanted[: len(known)])), None)

    def refresh(self, progress: Callable[[int, int], None] = lambda done, total: None) -> None:
        """Look at the folders again. Only new and changed files are read; `progress` is told how many of how many."""
        self._look(progress)

    def hashes(self, file: NetworkFile) -> Hashes:
        """Both hashes of a file, computed now if they are not known.

        Raises:
            NetworkError: naming the file, if it cannot be read.
        """
        known = self._hasher.known(file.file, Stamp(file.size, file.mtime_ns))
        hashes = known if known and _unchanged(file) else self._hasher.hash(file.file)
        if hashes is None:
            raise NetworkError("Hashing it was stopped.", where=str(file.path))
        if hashes is not known:
            self._publish_hashes()
        return hashes

    def start_hashing(self) -> None:
        """Compute the hashes that are missing in a thread of its own, until all are done or `close` is called."""
        with self._lock:
            if self._thread is None or not self._thread.is_alive():
                self._stop.clear()
                self._thread = threading.Thread(target=self.hash_all, name=f"hashing {self.kind}", daemon=True)
                self._thread.start()

    def hash_all(self) -> None:
        """Hash what is not hashed yet, the smallest first, until done or `close` is called from another thread.

        Files that cannot be read have said so already.
        """
        published = time.monotonic()
        for file in sorted(self.entries(), key=lambda file: file.size):
            if self._stop.is_set():
                break
            if file.autov2 or any(problem.level == "error" for problem in file.problems):
                continue
            try:
                self._hasher.hash(file.file, self._stop.is_set)
            except NetworkError:
                continue  # gone or changed since it was listed; the next refresh tells
            if time.monotonic() - published > PUBLISH_SECONDS:
                self._publish_hashes()
                published = time.monotonic()
        self._publish_hashes()

    def close(self) -> None:
        """Stop hashing, and wait until it has stopped."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _begin(self) -> None:
        """The first look, in a thread of its own."""
        try:
            self._current()
        finally:
            self._looking.release()

    def _current(self) -> _Listing:
        with self._lock:
            return self._listing or self._look()

    def _look(self, progress: Callable[[int, int], None] = lambda done, total: None) -> _Listing:
        """The state of the folders now, published."""
        with self._lock:
            began = time.monotonic()
            scan = Scan(self.roots, self.kind)
            if self._listing is None:
                self._first = FirstLook(scan.found, self.kind)
            self._named.set()
            records = self._known(scan.found)
            self._tell(records)
            records |= self._read([found for found in scan.found if found.path not in records], progress)
            files = [self._hashed(records[found.path]) for found in scan.found]
            listing = self._publish(files, {f.path: f.signature for f in scan.found}, scan.problems)
            self._first = FirstLook((), self.kind)
            ended = time.monotonic()
            self._look_again = ended + PATIENCE * (ended - began)
            return listing

    def _known(self, found: Iterable[Found]) -> dict[Path, NetworkFile]:
        """What is known of the files that have not changed: from the last listing, at first from the index.

        What is gone is dropped from the index, but not with a whole folder: an unplugged drive comes back.
        """
        here = {entry.path: entry for entry in found}
        if self._listing is not None:
            signatures = self._listing.signatures
            records = {
                file.path: replace(file, name=here[file.path].name, picture=here[file.path].picture)
                for file in self._listing.files
                if file.path in here and here[file.path].signature == signatures[file.path]
            }
        else:
            rows = self._index.rows(self.roots, self.kind)
            signatures = {path: row.signature for path, row in rows.items()}
            kept = {path: self._kept(row, here[path]) for path, row in rows.items() if path in here}
            records = {path: record for path, record in kept.items() if record is not None}
        gone = [path for path in signatures if path not in here]
        for root in self.roots if gone else ():
            if root.is_dir():
                self._index.forget(root, self.kind, [path for path in gone if path.is_relative_to(root)])
        return records

    def _kept(self, row: Row, found: Found) -> NetworkFile | None:
        if row.signature != found.signature:
            return None
        try:
            return from_row(row.facts, found, self.kind)
        except (ValueError, KeyError, TypeError, AttributeError):  # not what `to_row` wrote: read the file instead
            return None

    def _read(self, fresh: Sequence[Found], progress: Callable[[int, int], None]) -> dict[Path, NetworkFile]:
        """Inspect new and changed files, and keep what is learnt, a batch at a time."""
        records: dict[Path, NetworkFile] = {}
        for start in range(0, len(fresh), BATCH):
            batch = fresh[start : start + BATCH]
            made = {found.path: inspect(found, self.kind) for found in batch}
            records |= made
            self._tell(made)
            for root in {found.root for found in batch}:
                mine = {f.path: Row(f.signature, to_row(made[f.path])) for f in batch if f.root == root}
                self._index.keep(root, self.kind, mine)
            progress(start + len(batch), len(fresh))
        return records

    def _tell(self, records: Mapping[Path, NetworkFile]) -> None:
        """Let a first look be seen while it goes on."""
        if self._listing is None:
            self._first.add(records)

    def _publish(
        self, files: Sequence[NetworkFile], signatures: Mapping[Path, str], problems: Iterable[Problem]
    ) -> _Listing:
        ordered = tuple(sorted(with_aliases(files), key=lambda file: (file.name.casefold(), file.name)))
        self._listing = _Listing(ordered, names_of(ordered), MappingProxyType(dict(signatures)), tuple(problems))
        return self._listing

    def _hashed(self, file: NetworkFile) -> NetworkFile:
        """The record, with the hashes that are known for the file as it was listed."""
        hashes = self._hasher.known(file.file, Stamp(file.size, file.mtime_ns))
        autov2, autov3 = (hashes.autov2, hashes.autov3) if hashes else ("", "")
        same = (file.autov2, file.autov3) == (autov2, autov3)
        return file if same else replace(file, autov2=autov2, autov3=autov3)

    def _publish_hashes(self) -> None:
        with self._lock:
            listing = self._current()
            self._publish([self._hashed(file) for file in listing.files], listing.signatures, listing.problems)


def _unchanged(file: NetworkFile) -> bool:
    """Whether the file is still as it was listed."""
    try:
        status = file.file.stat(follow_symlinks=not file.refused)
    except OSError:
        return False
    return (status.st_size, status.st_mtime_ns) == (file.size, file.mtime_ns)
