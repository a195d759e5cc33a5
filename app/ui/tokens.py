"""How many tokens a prompt takes, by the tokenizer of the checkpoint that will read it."""

from __future__ import annotations

import threading
from pathlib import Path

from app.diffusion.layouts import CONFIGS
from app.diffusion.tokens import ClipTokenizer, TokenCount, Words, count_tokens, read_tokenizer
from app.engine.library import Library
from app.errors import CheckpointError
from app.prompt.emphasis import fragments

CLIP = CONFIGS / "clip-tokenizer"
NO_WORDS = Words()


class TokenCounter:
    """Counts for a checkpoint by name. Vocabularies are read once."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._read: dict[Path, ClipTokenizer] = {}
        self._lock = threading.Lock()

    def count(self, text: str, checkpoint: str) -> TokenCount:
        """The tokens of a stage's text, its emphasis syntax left out."""
        return count_tokens(fragments(text), self._tokenizer(checkpoint), NO_WORDS)

    def _tokenizer(self, checkpoint: str) -> ClipTokenizer:
        """The checkpoint's own where it is a folder that has one, else CLIP's; what is wrong is told on loading."""
        try:
            folder = self._library.checkpoints.find(checkpoint).path / "tokenizer"
        except CheckpointError:
            folder = CLIP
        with self._lock:
            if folder not in self._read:
                self._read[folder] = _read(folder)
            return self._read[folder]


def _read(folder: Path) -> ClipTokenizer:
    try:
        return read_tokenizer(folder)
    except CheckpointError:
        return read_tokenizer(CLIP)
