"""From the tags of a prompt to networks matched with the loaded model, kept while file and model are the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from app.engine.matching import Loader, matched
from app.engine.recent import Recent
from app.errors import ExtensionError, NetworkError, Problem
from app.generation.result import NetworkUse
from app.networks.catalog import Catalog
from app.networks.keys import Model
from app.networks.record import NetworkFile
from app.networks.resolve import Match, resolve
from app.plugins import NetworkKind
from app.prompt.schedule import ScheduledNetwork

KEPT = 4 << 30
"""Bytes of networks kept in memory after use."""


@dataclass(frozen=True, slots=True)
class BoundNetwork:
    """A tag, the network it names, and where that network acts on the model."""

    tag: ScheduledNetwork
    match: Match
    use: NetworkUse


@dataclass(frozen=True, slots=True)
class Bound:
    """The networks of one prompt that can be used, and what there is to tell of them all."""

    networks: tuple[BoundNetwork, ...]
    problems: tuple[Problem, ...]

    @property
    def pairs(self) -> tuple[tuple[ScheduledNetwork, Match], ...]:
        """What a plan is made of."""
        return tuple((network.tag, network.match) for network in self.networks)


class NetworkBinder:
    """Reads networks and matches them with one loaded model of one family."""

    def __init__(
        self, catalog: Catalog, model: Model, family: str, kinds: Mapping[str, NetworkKind] | None = None
    ) -> None:
        self._catalog = catalog
        self._model = model
        self._family = family
        self._kinds = kinds or {}
        self._matches: Recent[Match] = Recent(KEPT)

    @property
    def nbytes(self) -> int:
        """What the networks that are kept hold, as their files do."""
        return self._matches.nbytes

    def bind(self, files: Sequence[tuple[ScheduledNetwork, NetworkFile]], loader: Loader = "native") -> Bound:
        """Match every tag's network with the model.

        A network that is unreadable or made for another base is an error at its tag, which then has no effect; what
        else there is to tell of a network is a warning.
        """
        networks: list[BoundNetwork] = []
        problems: list[Problem] = []
        for tag, file in files:
            try:
                match = self.match(file, loader, tag.kind)
                bound = BoundNetwork(tag, match, self._use(tag, file, match))
            except (NetworkError, ExtensionError) as error:
                problems.append(Problem("error", f"{tag.name}: {error.message}", tag.span, error.hint))
                continue
            problems += [replace(problem, span=tag.span, source="prompt") for problem in match.problems]
            if all(problem.level != "error" for problem in match.problems):
                networks.append(bound)
        return Bound(tuple(networks), tuple(problems))

    def match(self, file: NetworkFile, loader: Loader = "native", kind: str = "lora") -> Match:
        """Where a file's network acts on the model: read and resolved once, until the file changes.

        A kind that an extension adds is read by the extension, whatever the loader.

        Raises:
            NetworkError: the file cannot be read.
            ExtensionError: the extension that reads it failed.
        """
        reader = self._kinds.get(kind)
        key = (file.path, file.size, file.mtime_ns, f"kind {kind}" if reader else loader)

        def made() -> tuple[Match, int]:
            if reader:
                return resolve(reader.read(file.path), self._model, self._family), file.size
            return matched(file.path, self._model, self._family, loader), file.size

        return self._matches.take(key, made)

    def _use(self, tag: ScheduledNetwork, file: NetworkFile, match: Match) -> NetworkUse:
        return NetworkUse(
            name=tag.name,
            kind=tag.kind,
            sha256=self._catalog.hashes(file).autov3,
            base_model=match.network.base.family,
            matched=match.matched,
            unmatched=len(match.unmatched),
            mismatched=len(match.mismatched),
            strengths=dict(tag.strengths),
        )
