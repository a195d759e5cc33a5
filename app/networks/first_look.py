"""A library while it is looked at for the first time: every name at once, and what the files hold as they are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

from app.errors import NetworkError
from app.networks.names import Names, names_of
from app.networks.record import NOT_READ, NetworkFile, inspect, named
from app.networks.scan import Found, Kind


class FirstLook:
    """One thread adds records, any may ask. The names are complete but for aliases, which the files say."""

    def __init__(self, found: Sequence[Found], kind: Kind) -> None:
        self.total = len(found)
        self.read = 0
        self._kind = kind
        self._found = {entry.path: entry for entry in found}
        # The keys are all here from the beginning: readers may walk over them while values are replaced.
        self._records = {entry.path: named(entry, kind) for entry in found}

    @property
    def files(self) -> tuple[NetworkFile, ...]:
        """Every network, by name; those that have not been read yet are names alone."""
        return tuple(sorted(self._records.values(), key=lambda file: (file.name.casefold(), file.name)))

    def add(self, records: Mapping[Path, NetworkFile]) -> None:
        """Take in what has been read."""
        self._records |= records
        self.read += len(records)

    def whole(self, file: NetworkFile) -> NetworkFile:
        """The record of a network, read now if it has not been."""
        record, found = self._records.get(file.path, file), self._found.get(file.path)
        return inspect(found, self._kind) if found and record.reason == NOT_READ else record

    def find(self, name: str) -> NetworkFile | None:
        """The network that a tag's name means. None is for a name that may still turn out to be an alias or wrong."""
        try:
            file = self._names.find(name)
        except NetworkError:
            return None
        return None if file.refused else self.whole(file)

    @cached_property
    def _names(self) -> Names:
        return names_of(self.files)
