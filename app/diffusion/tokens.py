"""CLIP's tokens: a text in words of the vocabulary, in the chunks of 75 that the text encoder takes. No torch here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers
from tokenizers.models import BPE

from app.errors import CheckpointError
from app.prompt.emphasis import Break, Fragment

CHUNK = 75
"""Tokens of content in a chunk; the beginning and the end mark make it 77."""
BACKTRACK = 20
"""A chunk that is full ends at its last comma instead, if that is at most this many tokens back."""
WORDS = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
"""What CLIP takes as one word before it looks for pairs to merge."""
BEGIN, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True, slots=True)
class ClipTokenizer:
    """CLIP's byte-pair encoding over one vocabulary; `pad` fills a chunk after its end mark."""

    model: Tokenizer
    begin: int
    end: int
    pad: int
    comma: int | None

    def ids(self, text: str) -> list[int]:
        """The tokens of a text, without marks."""
        return list(self.model.encode(text, add_special_tokens=False).ids)


@dataclass(frozen=True, slots=True)
class Token:
    """A token with its weight; one that stands for a vector of an embedding names both."""

    id: int
    weight: float
    embedding: str | None = None
    vector: int = 0


Chunk = tuple[Token, ...]
"""At most CHUNK tokens."""


@dataclass(frozen=True, slots=True)
class Words:
    """The embeddings that are words of a prompt: how many vectors each has, and the tokens its name is spelt with."""

    vectors: Mapping[str, int] = field(default_factory=dict)
    spellings: Mapping[int, tuple[tuple[tuple[int, ...], str], ...]] = field(default_factory=dict)
    """By first token; the longest spelling first, so that the longest name wins."""

    @classmethod
    def of(cls, vectors: Mapping[str, int], tokenizer: ClipTokenizer) -> Words:
        """`vectors` maps names to counts; a name that has no tokens, or more vectors than a chunk holds, is no word."""
        spelt: dict[int, list[tuple[tuple[int, ...], str]]] = {}
        for name, count in vectors.items():
            ids = tuple(tokenizer.ids(name))
            if ids and 0 < count <= CHUNK:
                spelt.setdefault(ids[0], []).append((ids, name))
        longest_first = {first: tuple(sorted(rows, key=lambda row: -len(row[0]))) for first, rows in spelt.items()}
        return cls(dict(vectors), longest_first)

    def at(self, ids: Sequence[int], position: int) -> tuple[str, int] | None:
        """The embedding whose name begins at a position, and the number of tokens its name takes."""
        for spelling, name in self.spellings.get(ids[position], ()):
            if tuple(ids[position : position + len(spelling)]) == spelling:
                return name, len(spelling)
        return None


@dataclass(frozen=True, slots=True)
class TokenCount:
    """What the page shows: `tokens` of `limit`, the room of the chunks begun."""

    tokens: int
    limit: int


def count_tokens(fragments: Iterable[Fragment | Break], tokenizer: ClipTokenizer, words: Words) -> TokenCount:
    """How many tokens a text takes, and of how many; a chunk cut short by BREAK or a comma counts as full."""
    chunks = chunked(fragments, tokenizer, words)
    return TokenCount((len(chunks) - 1) * CHUNK + len(chunks[-1]), len(chunks) * CHUNK)


def chunked(fragments: Iterable[Fragment | Break], tokenizer: ClipTokenizer, words: Words) -> tuple[Chunk, ...]:
    """The chunks of a text, at least one: BREAK begins a new one, and an embedding's vectors stay together."""
    done: list[Chunk] = []
    chunk: list[Token] = []
    for group in _groups(fragments, tokenizer, words):
        if group is None:
            done.append(tuple(chunk))
            chunk = []
            continue
        if len(chunk) + len(group) > CHUNK:
            full, chunk = _split(chunk, group, tokenizer.comma)
            done.append(full)
        chunk.extend(group)
    return (*done, tuple(chunk))


def _groups(
    fragments: Iterable[Fragment | Break], tokenizer: ClipTokenizer, words: Words
) -> Iterable[tuple[Token, ...] | None]:
    """The tokens of the fragments, those of one embedding together; None for a BREAK."""
    for fragment in fragments:
        if isinstance(fragment, Break):
            yield None
            continue
        ids = tokenizer.ids(fragment.text)
        position = 0
        while position < len(ids):
            match = words.at(ids, position)
            if match is None:
                yield (Token(ids[position], fragment.weight),)
                position += 1
            else:
                name, length = match
                yield tuple(Token(tokenizer.begin, fragment.weight, name, n) for n in range(words.vectors[name]))
                position += length


def _split(chunk: list[Token], arriving: tuple[Token, ...], comma: int | None) -> tuple[Chunk, list[Token]]:
    """The chunk to close and the tokens that move on, when `arriving` no longer fits: a phrase is kept whole."""
    commas = [n for n, token in enumerate(chunk) if token.id == comma and token.embedding is None]
    breaks_phrase = arriving[0].embedding is not None or arriving[0].id != comma
    if commas and breaks_phrase and len(chunk) - commas[-1] <= BACKTRACK:
        kept = chunk[commas[-1] + 1 :]
        if len(kept) + len(arriving) <= CHUNK:
            return tuple(chunk[: commas[-1] + 1]), kept
    return tuple(chunk), []


def read_tokenizer(folder: Path) -> ClipTokenizer:
    """CLIP's tokenizer from a folder as transformers writes it: `vocab.json` and `merges.txt`, or `tokenizer.json`.

    Raises:
        CheckpointError: if they are missing, or are not a byte-pair vocabulary with CLIP's two marks.
    """
    try:
        vocabulary, merges = _vocabulary(folder)
        config = _json(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").exists() else {}
        pad = config.get("pad_token", END)
        pad = str(pad.get("content") if isinstance(pad, dict) else pad)
        model = Tokenizer(BPE(vocab=vocabulary, merges=merges, end_of_word_suffix="</w>", unk_token=END))
        begin, end = vocabulary[BEGIN], vocabulary[END]
    except OSError as error:
        raise CheckpointError(f"It cannot be read ({error.strerror}).", where=str(error.filename or folder)) from error
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(f"This is not a CLIP tokenizer ({error}).", where=str(folder)) from error
    model.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    model.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    padding = vocabulary.get(pad, vocabulary.get(f"{pad}</w>", end))
    return ClipTokenizer(model, begin, end, padding, vocabulary.get(",</w>"))


def _vocabulary(folder: Path) -> tuple[dict[str, int], list[tuple[str, str]]]:
    if (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        lines = (folder / "merges.txt").read_text("utf-8").splitlines()
        merges: list[Any] = [line.split() for line in lines if line.strip() and not line.startswith("#version")]
        vocabulary = _json(folder / "vocab.json")
    else:
        model = _json(folder / "tokenizer.json").get("model", {})
        vocabulary = model["vocab"]
        merges = [pair.split(" ") if isinstance(pair, str) else pair for pair in model["merges"]]
    if not all(isinstance(word, str) and type(number) is int for word, number in vocabulary.items()):
        raise ValueError("its vocabulary is not words with numbers")
    pairs = [(pair[0], pair[1]) for pair in merges if len(pair) == 2]
    if len(pairs) != len(merges) or not all({a, b, a + b} <= vocabulary.keys() for a, b in pairs):
        raise ValueError("its merges are not pairs of its words")
    return vocabulary, pairs


def _json(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text("utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path.name} is not a JSON object")
    return content
