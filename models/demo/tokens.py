"""A tokenizer of CLIP's kind with a small vocabulary of its own: one token for each known word, bytes for the rest."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from pathlib import Path

from transformers import CLIPTokenizer
from transformers.convert_slow_tokenizer import bytes_to_unicode

START, END = "<|startoftext|>", "<|endoftext|>"
CONTEXT = 77


def learn_merges(words: list[str]) -> list[tuple[str, str]]:
    """The byte pair merges, in order, after which each of the words is a single token."""
    alphabet = bytes_to_unicode()
    spelled = []
    for word in words:
        symbols = [alphabet[byte] for byte in word.encode()]
        symbols[-1] += "</w>"
        spelled.append(symbols)
    merges: list[tuple[str, str]] = []
    while pairs := Counter(pair for symbols in spelled for pair in pairwise(symbols)):
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        spelled = [_merge(symbols, best) for symbols in spelled]
    return merges


def build_tokenizer(words: list[str], folder: Path) -> CLIPTokenizer:
    """Write the vocabulary below ``folder`` and load it as pipelines do."""
    folder.mkdir(parents=True, exist_ok=True)
    merges = learn_merges(words)
    alphabet = sorted(bytes_to_unicode().values())
    tokens = [
        *alphabet,
        *(letter + "</w>" for letter in alphabet),
        *dict.fromkeys(a + b for a, b in merges),
        START,
        END,
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False), encoding="utf-8")
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tokenizer = CLIPTokenizer(
        vocab=str(folder / "vocab.json"), merges=str(folder / "merges.txt"), model_max_length=CONTEXT
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def _merge(symbols: list[str], pair: tuple[str, str]) -> list[str]:
    merged: list[str] = []
    for symbol in symbols:
        if merged and (merged[-1], symbol) == pair:
            merged[-1] += symbol
        else:
            merged.append(symbol)
    return merged
