"""From the `hypernet` tags of a prompt to hypernetworks on the loaded model, kept while their files are the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.engine.recent import Recent
from app.errors import NetworkError, Problem
from app.generation.result import NetworkUse
from app.networks.catalog import Catalog
from app.networks.families import family_of_widths
from app.networks.hypernetworks import Hypernetwork, read_hypernetwork
from app.networks.keys import Model
from app.networks.record import NetworkFile
from app.patching.hypernet import acting, attended
from app.prompt.schedule import ScheduledNetwork

KEPT = 1 << 30
"""Bytes of hypernetworks kept in memory after use."""


@dataclass(frozen=True, slots=True)
class BoundHypernetworks:
    """The hypernetworks of one prompt that can be used, in the order of their tags, and what is wrong with others."""

    pairs: tuple[tuple[ScheduledNetwork, Hypernetwork], ...]
    uses: tuple[NetworkUse, ...]
    problems: tuple[Problem, ...]


class HypernetworkBinder:
    """Reads hypernetworks for one loaded model."""

    def __init__(self, catalog: Catalog, model: Model) -> None:
        self._catalog = catalog
        self._model = model
        self._kept: Recent[Hypernetwork] = Recent(KEPT)

    @property
    def nbytes(self) -> int:
        """What the hypernetworks that are kept hold, as their files do."""
        return self._kept.nbytes

    def bind(self, files: Sequence[tuple[ScheduledNetwork, NetworkFile]]) -> BoundHypernetworks:
        """Read every tag's hypernetwork. One that is unreadable, or made for another model, is an error at its tag."""
        pairs: list[tuple[ScheduledNetwork, Hypernetwork]] = []
        uses: list[NetworkUse] = []
        problems: list[Problem] = []
        for tag, file in files:
            try:
                hypernetwork = self._read(file)
                use = self._use(tag, file, hypernetwork)
            except NetworkError as error:
                problems.append(Problem("error", f"{tag.name}: {error.message}", tag.span, error.hint))
                continue
            pairs.append((tag, hypernetwork))
            uses.append(use)
        return BoundHypernetworks(tuple(pairs), tuple(uses), tuple(problems))

    def _read(self, file: NetworkFile) -> Hypernetwork:
        key = (file.path, file.size, file.mtime_ns)
        return self._kept.take(key, lambda: (read_hypernetwork(file.path), file.size))

    def _use(self, tag: ScheduledNetwork, file: NetworkFile, hypernetwork: Hypernetwork) -> NetworkUse:
        """What is recorded: the attention layers it acts on, and how many of its widths the model does not have."""
        widths = set(attended(self._model).values())
        return NetworkUse(
            name=tag.name,
            kind=tag.kind,
            sha256=self._catalog.hashes(file).autov3,
            base_model=family_of_widths(hypernetwork.pairs).family,
            matched=len(acting(hypernetwork, self._model)),
            unmatched=sum(width not in widths for width in hypernetwork.pairs),
            mismatched=0,
            strengths=dict(tag.strengths),
        )
