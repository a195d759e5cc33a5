"""From the tags of a prompt to networks matched with the loaded model, kept while the file and the model are the same."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from app.errors import NetworkError, Problem
from app.generation.result import NetworkUse
from app.networks.catalog import Catalog, NetworkFile
from app.networks.files import Network, read_network
from app.networks.resolve import Match, Model, resolve
from app.prompt.schedule import ScheduledNetwork

KEPT = 16
"""Networks kept in memory after use, least recently used first out."""
FileKey = tuple[Path, int, int]


@dataclass(frozen=True, slots=True)
class Bound:
    """The networks of one prompt: each tag that has one with its match, and what there is to tell."""

    networks: tuple[tuple[ScheduledNetwork, Match], ...]
    uses: tuple[NetworkUse, ...]
    problems: tuple[Problem, ...]


class NetworkBinder:
    """Finds, reads and matches networks for one loaded model."""

    def __init__(self, catalog: Catalog, model: Model, family: str) -> None:
        self._catalog = catalog
        self._model = model
        self._family = family
        self._matches: OrderedDict[FileKey, Match] = OrderedDict()

    def bind(self, tags: Sequence[ScheduledNetwork], *, missing: str = "refuse") -> Bound:
        """Match every tag's network with the model.

        A network that is missing, unreadable or made for another base is an error problem at its tag; with
        `missing="warn"` it is a warning, and the tag has no effect.
        """
        level = "error" if missing == "refuse" else "warning"
        networks: list[tuple[ScheduledNetwork, Match]] = []
        uses: list[NetworkUse] = []
        problems: list[Problem] = []
        for tag in tags:
            try:
                file = self._catalog.find(tag.name)
                match = self._match(file)
            except NetworkError as error:
                problems.append(Problem(level, f"{error.message}", tag.span, error.hint))
                continue
            problems += [replace(problem, span=tag.span, source="prompt") for problem in match.problems]
            if any(problem.level == "error" for problem in match.problems):
                continue
            networks.append((tag, match))
            uses.append(self._use(tag, file, match))
        return Bound(tuple(networks), tuple(uses), tuple(problems))

    def _match(self, file: NetworkFile) -> Match:
        key = (file.path, file.size, file.mtime_ns)
        match = self._matches.pop(key, None)
        if match is None:
            match = resolve(read_network(file.path), self._model, self._family)
        self._matches[key] = match
        while len(self._matches) > KEPT:
            self._matches.popitem(last=False)
        return match
