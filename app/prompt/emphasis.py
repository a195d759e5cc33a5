"""How much each part of a stage's text weighs, and which texts it composes."""

from __future__ import annotations

import re
from dataclasses import dataclass

from lark import Token

from app.prompt.ast import HEAVIEST
from app.prompt.parser import tokens

STRONGER = 1.1
"""What a pair of round brackets multiplies by, and a pair of square ones divides by."""
_ESCAPE = re.compile(r"\\(.?)", re.DOTALL)
_TRAILING_WEIGHT = re.compile(r":\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))\Z")


@dataclass(frozen=True, slots=True)
class Fragment:
    """Text without its syntax, and what its embedding is multiplied by."""

    text: str
    weight: float


@dataclass(frozen=True, slots=True)
class Break:
    """A new chunk begins here."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One of the texts that AND composes, and how much it counts."""

    text: str
    weight: float


def fragments(text: str, *, parsed: bool = True) -> tuple[Fragment | Break, ...]:
    """The text in runs of equal weight; at least one. `parsed=False` (emphasis mode None) leaves it as it is.

    Round and square brackets pair up apart from each other, as in the original web UI; an opening one without a partner
    reaches to the end of the text, a closing one is text.
    """
    if not parsed:
        return (Fragment(text, 1.0),)
    parts = tokens(text)
    factors = _factors(parts)
    stacks: dict[str, list[float]] = {"(": [1.0], "[": [1.0]}
    found: list[tuple[str | None, float]] = []
    for index, part in enumerate(parts):
        factor = factors.get(index)
        weight = _bounded(stacks["("][-1] * stacks["["][-1])
        if part.type == "BREAK":
            found.append((None, 1.0))
        elif factor is None:
            found.append((_ESCAPE.sub(r"\1", part) if part.type == "TEXT" else str(part), weight))
        elif part in ("(", "["):
            stacks[part].append(_bounded(stacks[part][-1] * factor))
        elif part in (")", "]"):
            stacks["(" if part == ")" else "["].pop()
    return _runs(found)


def branches(text: str) -> tuple[Branch, ...]:
    """The texts that AND composes; one, with its text as it is, where there is no AND outside brackets.

    A weight (`a cat :0.7`) is read only where there is an AND.
    """
    depth, start = 0, 0
    texts: list[str] = []
    for token in tokens(text):
        depth += (token.type in ("LPAR", "LSQB")) - (token.type in ("RPAR", "RSQB"))
        if token.type == "AND" and not depth:
            texts.append(text[start : token.start_pos])
            start = token.end_pos or 0
    if not texts:
        return (Branch(text, 1.0),)
    return tuple(_branch(part) for part in [*texts, text[start:]])


def _branch(text: str) -> Branch:
    bare = text.strip()
    weight = _TRAILING_WEIGHT.search(bare)
    return Branch(bare[: weight.start()].rstrip(), _bounded(float(weight[1]))) if weight else Branch(bare, 1.0)


def _factors(parts: list[Token]) -> dict[int, float]:
    """What each bracket multiplies by, by the index of its token; and 1 for a weight, which is no text."""
    factors: dict[int, float] = {}
    opened: dict[str, list[int]] = {"(": [], "[": []}
    for index, part in enumerate(parts):
        if part.type in ("TEXT", "TAG"):
            continue
        if part in opened:
            opened[part].append(index)
            factors[index] = STRONGER if part == "(" else 1 / STRONGER
        elif part == ")" and opened["("]:
            start = opened["("].pop()
            factors[index] = 1.0
            if parts[index - 1].type in ("WEIGHT", "LOOSE"):
                factors[start] = _bounded(float(parts[index - 1][1:]))
                factors[index - 1] = 1.0
        elif part == "]" and opened["["]:
            opened["["].pop()
            factors[index] = 1.0
    return factors


def _bounded(weight: float) -> float:
    return max(-HEAVIEST, min(HEAVIEST, weight))


def _runs(found: list[tuple[str | None, float]]) -> tuple[Fragment | Break, ...]:
    """Neighbours of equal weight made one; no space beside a BREAK; no empty runs."""
    runs: list[tuple[list[str], float] | None] = []
    for text, weight in found:
        if text is None:
            runs.append(None)
        elif text and runs and runs[-1] is not None and runs[-1][1] == weight:
            runs[-1][0].append(text)
        elif text:
            runs.append(([text], weight))
    parts: list[Fragment | Break] = []
    for index, run in enumerate(runs):
        if run is None:
            parts.append(Break())
            continue
        text = "".join(run[0])
        text = text.lstrip() if index and runs[index - 1] is None else text
        text = text.rstrip() if index + 1 < len(runs) and runs[index + 1] is None else text
        if text:
            parts.append(Fragment(text, run[1]))
    return tuple(parts) or (Fragment("", 1.0),)
