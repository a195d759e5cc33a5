"""The textual-inversion words that a prompt uses: from the embeddings folder, and bundled in its networks."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Vocabulary
from app.diffusion.embeddings import Embedding, fitted
from app.errors import NetworkError, Problem
from app.networks.catalog import Catalog
from app.networks.embeddings import read_embedding
from app.networks.resolve import Match


@dataclass(frozen=True, slots=True)
class Words:
    """The words that stand in either prompt, with their hashes, and what is wrong with others that stand there."""

    vocabulary: Vocabulary
    hashes: Mapping[str, str]
    problems: tuple[Problem, ...]


class WordFinder:
    """Finds the embeddings that prompts name, for one loaded checkpoint; keeps what it has read."""

    def __init__(self, catalog: Catalog, checkpoint: Checkpoint) -> None:
        self._catalog = catalog
        self._checkpoint = checkpoint
        self._read: dict[tuple[Path, int], Mapping[str, Tensor]] = {}

    def find(self, texts: Mapping[str, str], matches: Sequence[Match]) -> Words:
        """The words of `texts` (the prompts, by the name of their field).

        A word of another width than the checkpoint's is an error where it stands. A file of the folder
        goes before a word of the same name in a network.
        """
        found: dict[str, Embedding] = {}
        hashes: dict[str, str] = {}
        problems: list[Problem] = []
        bundled = {word: vectors for match in matches for word, vectors in match.network.embeddings.items()}
        files = {file.bare: file for file in self._catalog.entries()}
        for name in [*files, *(word for word in bundled if word not in files)]:
            source, place = next(((field, m) for field, text in texts.items() if (m := _place(name, text))), ("", None))
            if place is None:
                continue
            try:
                file = files.get(name)
                vectors = self._vectors(file.path, file.mtime_ns) if file else bundled[name]
                found[name] = fitted(name, vectors, self._checkpoint)
                if file:
                    hashes[name] = self._catalog.hashes(file).autov2
            except NetworkError as error:
                problems.append(Problem("error", error.message, place.span(), error.hint, source))
        return Words(Vocabulary(found), hashes, tuple(problems))

    def _vectors(self, path: Path, mtime_ns: int) -> Mapping[str, Tensor]:
        key = (path, mtime_ns)
        if key not in self._read:
            self._read[key] = read_embedding(path).vectors
        return self._read[key]


def _place(name: str, text: str) -> re.Match[str] | None:
    """Where a word stands by itself in a text, in any case."""
    return re.search(rf"(?<!\w){re.escape(name)}(?!\w)", text, re.IGNORECASE)
