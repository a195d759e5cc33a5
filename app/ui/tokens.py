"""How many tokens a prompt takes, by the tokenizer of the checkpoint that will read it."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from pathlib import Path

from app.diffusion.tokens import CHUNK, ClipTokenizer, TokenCount, Words, count_tokens, read_tokenizer
from app.engine.library import Library
from app.errors import CheckpointError
from app.prompt.emphasis import Break, Fragment, fragments

NO_WORDS = Words()
_WORD = re.compile(r"\w+|[^\w\s]")


class TokenCounter:
    """Counts for a checkpoint by name. Vocabularies are read once."""

    def __init__(self, library: Library) -> None:
        self._library = library
        self._read: dict[Path, ClipTokenizer | None] = {}
        self._lock = threading.Lock()

    def count(self, text: str, checkpoint: str) -> TokenCount:
        """The tokens of a stage's text, emphasis syntax left out; words and signs where no tokenizer can be read."""
        tokenizer = self._tokenizer(checkpoint)
        parts = fragments(text)
        return count_tokens(parts, tokenizer, NO_WORDS) if tokenizer else _count_words(parts)

    def _tokenizer(self, checkpoint: str) -> ClipTokenizer | None:
        try:
            folder = self._library.checkpoints.find(checkpoint).path / "tokenizer"
        except CheckpointError:
            return None
        with self._lock:
            if folder not in self._read:
                self._read[folder] = _read(folder)
            return self._read[folder]


def _read(folder: Path) -> ClipTokenizer | None:
    """A checkpoint that has no tokenizer here is told of when it is loaded, not while one types."""
    try:
        return read_tokenizer(folder)
    except CheckpointError:
        return None


def _count_words(parts: Iterable[Fragment | Break]) -> TokenCount:
    full, last = 0, 0
    for part in parts:
        if isinstance(part, Break):
            full, last = full + _chunks(last), 0
        else:
            last += len(_WORD.findall(part.text))
    return TokenCount(full * CHUNK + last, (full + _chunks(last)) * CHUNK)


def _chunks(tokens: int) -> int:
    return max(1, -(-tokens // CHUNK))
