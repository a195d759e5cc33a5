"""Trigger words, applied: put into the prompt that is encoded, in a fixed order, where everyone can see them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from app.prompt.emphasis import Fragment, fragments

PLACEHOLDER = "_tags_"
"""Where the words go, if the prompt says so. It is never encoded itself."""


@dataclass(frozen=True, slots=True)
class TriggerOptions:
    """Whether trigger words are applied: none, the first `count` of each network, or all; and where."""

    apply: Literal["off", "first", "all"] = "off"
    count: int = 3
    place: Literal["end", "start"] = "end"


@dataclass(frozen=True, slots=True)
class Applied:
    """A prompt with its trigger words, and the words that were added."""

    prompt: str
    added: tuple[str, ...] = ()


def apply_triggers(prompt: str, networks: Sequence[Sequence[str]], options: TriggerOptions) -> Applied:
    """Add each network's trigger words, in the order of its tags, without those that stand in the prompt already.

    They replace the first `_tags_` of the prompt, and other ones vanish; without one they stand at its end or start.
    Applying them again changes nothing.
    """
    present = _pieces(prompt)
    added: dict[str, str] = {}
    for words in networks:
        for word in _chosen(words, options):
            if _folded(word) not in present:
                added.setdefault(_folded(word), word)
    text = ", ".join(added.values())
    if PLACEHOLDER in prompt:
        before, _, after = prompt.partition(PLACEHOLDER)
        prompt = _tidy(before, text, after.replace(PLACEHOLDER, ""))
    elif text and options.place == "start":
        prompt = _tidy("", text, prompt)
    elif text:
        prompt = _tidy(prompt, text, "")
    return Applied(prompt, tuple(added.values()))


def _chosen(words: Sequence[str], options: TriggerOptions) -> Sequence[str]:
    if options.apply == "off":
        return ()
    return [word.strip() for word in (words[: options.count] if options.apply == "first" else words) if word.strip()]


def _pieces(prompt: str) -> frozenset[str]:
    """What stands between the commas of a prompt, emphasis and tags aside."""
    bare = re.sub(r"<[^<>]*>", ",", prompt)
    plain = "".join(part.text if isinstance(part, Fragment) else "," for part in fragments(bare))
    return frozenset(_folded(piece) for piece in plain.split(","))


def _folded(word: str) -> str:
    return " ".join(word.split()).casefold()


def _tidy(before: str, text: str, after: str) -> str:
    """The three joined by commas; an empty middle takes its commas with it."""
    before, after = before.rstrip().rstrip(",").rstrip(), after.strip().lstrip(",").lstrip()
    return ", ".join(part for part in (before, text, after) if part)
