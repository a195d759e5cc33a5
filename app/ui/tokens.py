"""About how many tokens a prompt takes: its words and signs, until the checkpoint's own tokenizer is at hand."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.prompt.emphasis import Break, fragments

CHUNK = 75
_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True, slots=True)
class TokenCount:
    """`tokens` of `limit`, the room of the chunks begun."""

    tokens: int
    limit: int


def count_tokens(text: str) -> TokenCount:
    """The words of a stage's text in chunks of 75; BREAK fills its chunk."""
    full, last = 0, 0
    for fragment in fragments(text):
        if isinstance(fragment, Break):
            full, last = full + max(1, -(-last // CHUNK)), 0
        else:
            last += len(_WORD.findall(fragment.text))
    return TokenCount(full * CHUNK + last, (full + max(1, -(-last // CHUNK))) * CHUNK)
