"""From what a tag says to the network it means: full names, bare names, aliases; never a guess between two."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from app.errors import NetworkError
from app.networks.record import NetworkFile
from app.networks.scan import SUFFIXES

NEAR = 3
"""Near matches offered for a name that is missing."""
NAME_LIMIT = 300
"""Characters; longer names match nothing, and comparing them would take long."""


@dataclass(frozen=True, slots=True)
class Names:
    """The names of a library's networks: exact ones, and the same in lower case."""

    exact: Mapping[str, tuple[NetworkFile, ...]]
    folded: Mapping[str, tuple[NetworkFile, ...]]

    def find(self, name: str) -> NetworkFile:
        """The network that a tag's `name` means: exactly, or else whatever the case.

        Raises:
            NetworkError: no network has the name (near ones are offered), or several have (their full names are).
        """
        wanted = name.strip().replace("\\", "/").strip("/")
        for spelling in (wanted, _plain(wanted)):
            for table, key in ((self.exact, spelling), (self.folded, spelling.casefold())):
                match table.get(key, ()):
                    case (only,):
                        return only
                    case (_, _, *_) as several:
                        names = sorted(file.name for file in several)
                        message = f"Several networks have this name: {', '.join(names)}."
                        raise _missed(NetworkError(message, where=name, hint=_WHOLE), names)
        near = self.near(wanted)
        hint = f"Did you mean {', '.join(near)}?" if near else "Put the file in the networks folder."
        raise _missed(NetworkError("No network has this name.", where=name[:NAME_LIMIT], hint=hint), near)

    def near(self, wanted: str) -> tuple[str, ...]:
        """The names most like this one, as a tag would write them."""
        if not wanted or len(wanted) > NAME_LIMIT:
            return ()
        keys = difflib.get_close_matches(wanted.casefold(), self.folded, NEAR, 0.6)
        return tuple(dict.fromkeys(file.name for key in keys for file in self.folded[key]))[:NEAR]


def _missed(error: NetworkError, near: Iterable[str]) -> NetworkError:
    error.near = tuple(near)
    return error


_WHOLE = "Write the whole name, with its folders."


def _plain(name: str) -> str:
    """A name without the suffix of a file, which some write."""
    suffix = next((suffix for suffix in SUFFIXES if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(suffix)]


def names_of(files: Sequence[NetworkFile]) -> Names:
    """The names that work. A full name beats bare ones, any name of a file beats an alias, and a folder that is one
    network goes by the file in it too, where nothing else has that name."""
    full = _table((file.name, file) for file in files)
    bare = _table((file.bare, file) for file in files)
    alias = _table((file.alias, file) for file in files if file.alias)
    inner = _table((name, file) for file in files if file.file != file.path for name in _inner(file))
    folded = _folded(inner) | _folded(alias) | _folded(bare) | _folded(full)
    return Names(MappingProxyType(inner | alias | bare | full), MappingProxyType(folded))


def _inner(file: NetworkFile) -> tuple[str, str]:
    return f"{file.name}/{file.file.stem}", file.file.stem


def with_aliases(files: Sequence[NetworkFile]) -> list[NetworkFile]:
    """The files, with an alias each where its output name is no other file's, and no file's name, whatever the case."""
    taken = {name.casefold() for file in files for name in (file.name, file.bare)}
    owners = Counter(file.output_name.casefold() for file in files)

    def alias(file: NetworkFile) -> str:
        key = file.output_name.casefold()
        return file.output_name if owners[key] == 1 and key not in taken else ""

    return [file if file.alias == alias(file) else replace(file, alias=alias(file)) for file in files]


def _table(pairs: Iterable[tuple[str, NetworkFile]]) -> dict[str, tuple[NetworkFile, ...]]:
    table: dict[str, tuple[NetworkFile, ...]] = {}
    for name, file in pairs:
        table[name] = (*table.get(name, ()), file)
    return table


def _folded(table: Mapping[str, tuple[NetworkFile, ...]]) -> dict[str, tuple[NetworkFile, ...]]:
    return _table((name.casefold(), file) for name, files in table.items() for file in files)
