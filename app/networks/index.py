"""What was learnt of each file, kept between starts in one SQLite file.

Everything in it can be learnt again: a damaged index is thrown away and said. Each call opens its own connection, so
threads and processes may use one index at once (WAL, and a wait where another is writing).
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from app.errors import Problem
from app.networks.hashes import Hashes

SCHEMA_VERSION = 2
"""Raised whenever what is kept changes; older indexes are then thrown away."""
BUSY_SECONDS = 10.0
TABLES: Mapping[str, str] = MappingProxyType(
    {
        "files": "root BLOB, path BLOB, kind TEXT, signature TEXT, facts TEXT, PRIMARY KEY (root, path, kind)",
        "hashes": "path BLOB PRIMARY KEY, size INTEGER, mtime_ns INTEGER, sha256 TEXT, tensors TEXT",
    }
)
"""Paths are bytes, as the disk has them: they need not be Unicode."""
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Row:
    """What is kept of one file; it holds while the signature is the file's."""

    signature: str
    facts: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """When a file was hashed: it holds while the size and time (nanoseconds since 1970) are the file's."""

    size: int
    mtime_ns: int


class Index:
    """The SQLite file at `path`. `problems` tells what had to be done about it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def rows(self, roots: Iterable[Path], kind: str) -> dict[Path, Row]:
        """What is kept of the files of one kind below these roots, by path."""
        query = "SELECT path, signature, facts FROM files WHERE root = ? AND kind = ?"

        def read(connection: sqlite3.Connection) -> dict[Path, Row]:
            found = [row for root in roots for row in connection.execute(query, (os.fsencode(root), kind))]
            return {Path(os.fsdecode(path)): Row(signature, facts) for path, signature, facts in found}

        return self._run(read, {})

    def keep(self, root: Path, kind: str, rows: Mapping[Path, Row]) -> None:
        """Add or replace what is kept of some files."""
        values = [(os.fsencode(root), os.fsencode(p), kind, row.signature, row.facts) for p, row in rows.items()]
        self._run(lambda c: c.executemany("INSERT OR REPLACE INTO files VALUES (?, ?, ?, ?, ?)", values), None)

    def forget(self, root: Path, kind: str, paths: Iterable[Path]) -> None:
        """Drop what is kept of files that are gone."""
        values = [(os.fsencode(root), os.fsencode(path), kind) for path in paths]
        self._run(lambda c: c.executemany("DELETE FROM files WHERE root = ? AND path = ? AND kind = ?", values), None)
        self._run(lambda c: c.executemany("DELETE FROM hashes WHERE path = ?", [(v[1],) for v in values]), None)

    def hashes(self) -> dict[Path, tuple[Stamp, Hashes]]:
        """Every hash that is kept, by the path of the file."""

        def read(connection: sqlite3.Connection) -> dict[Path, tuple[Stamp, Hashes]]:
            found = connection.execute("SELECT path, size, mtime_ns, sha256, tensors FROM hashes").fetchall()
            return {
                Path(os.fsdecode(path)): (Stamp(size, time), Hashes(sha, rest)) for path, size, time, sha, rest in found
            }

        return self._run(read, {})

    def keep_hashes(self, path: Path, stamp: Stamp, hashes: Hashes) -> None:
        """Add or replace a file's hashes."""
        values = (os.fsencode(path), stamp.size, stamp.mtime_ns, hashes.sha256, hashes.tensors)
        self._run(lambda c: c.execute("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?, ?, ?)", values), None)

    def _run(self, action: Callable[[sqlite3.Connection], Result], otherwise: Result) -> Result:
        """The action in one transaction; a damaged index is rebuilt once, one that cannot be used is said."""
        try:
            with self._connection() as connection:
                return action(connection)
        except (sqlite3.DatabaseError, ValueError, TypeError) as error:
            if not _damaged(error):
                return self._unused(str(error), otherwise)
            self._rebuild(str(error))
        except OSError as error:
            return self._unused(error.strerror or str(error), otherwise)
        try:
            with self._connection() as connection:
                return action(connection)
        except (sqlite3.DatabaseError, OSError) as error:
            return self._unused(str(error), otherwise)

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with closing(sqlite3.connect(self.path, timeout=BUSY_SECONDS)) as connection:
            with suppress(sqlite3.OperationalError):  # another process is at it, or the disk has no WAL: both are well
                connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != SCHEMA_VERSION:
                _create(connection)
            with connection:
                yield connection

    def _rebuild(self, cause: str) -> None:
        try:
            for suffix in ("", "-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
        except OSError:
            return  # the next try finds it as damaged as before, and says so
        message = f"The index of networks was damaged ({cause}) and has been made anew."
        self.problems.append(Problem("warning", message, source=str(self.path)))

    def _unused(self, cause: str, otherwise: Result) -> Result:
        message = f"The index of networks cannot be used ({cause}); files are read anew at each start."
        if all(problem.message != message for problem in self.problems):
            self.problems.append(Problem("warning", message, source=str(self.path)))
        return otherwise


def _create(connection: sqlite3.Connection) -> None:
    """Empty tables, in one transaction: another process waits, then finds them made."""
    connection.execute("BEGIN IMMEDIATE")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        for table, columns in TABLES.items():
            connection.execute(f"DROP TABLE IF EXISTS {table}")
            connection.execute(f"CREATE TABLE {table} ({columns})")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
    connection.execute("COMMIT")


def _damaged(error: Exception) -> bool:
    """Whether the file is not the index it should be, rather than locked, read-only or on a full disk."""
    if not isinstance(error, sqlite3.OperationalError):
        return True
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) == sqlite3.SQLITE_ERROR
