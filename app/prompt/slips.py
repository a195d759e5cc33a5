"""What looks like a slip of a prompt's shape: it is still a prompt, and the user is told how it is read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import islice

from app.errors import Problem
from app.prompt.ast import HEAVIEST, And, Emphasis, Node, Stray, Text, Weakening, walk

_NEARLY_A_WEIGHT = re.compile(r":\s*[+-]?[0-9.,]+\s*\Z")
_MOST_PROBLEMS = 50
_LONE_AND = "AND inside brackets is read as a word; it composes only outside them."
_MOVE_AND = "Give each side of the AND its own brackets."


def slips(items: Sequence[Node]) -> tuple[Problem, ...]:
    """What looks like a slip of the shape. The first fifty; a page of brackets is not worth more."""
    return tuple(islice((problem for node in walk(*items) for problem in _slips_of(node)), _MOST_PROBLEMS))


def _slips_of(node: Node) -> Iterator[Problem]:
    if isinstance(node, Stray):
        yield _stray(node)
    if isinstance(node, Emphasis | Weakening):
        yield from (Problem("warning", _LONE_AND, item.span, _MOVE_AND) for item in node.items if isinstance(item, And))
    if isinstance(node, Emphasis):
        yield from _weight_slips(node)


def _weight_slips(node: Emphasis) -> Iterator[Problem]:
    if node.weight and abs(node.weight.value) > HEAVIEST:
        message = f"A weight is at most {HEAVIEST:g}; this one is read as that."
        yield Problem("warning", message, node.weight.span, "Weights between 0.5 and 1.5 are usual.")
    last = node.items[-1] if node.items and not node.weight else None
    if isinstance(last, Text) and (nearly := _NEARLY_A_WEIGHT.search(last.text)):
        span = (last.span[0] + nearly.start(), last.span[1])
        message = f"{nearly[0].strip()} is not a weight; it is read as words."
        yield Problem("warning", message, span, "Write a number such as 1.2.")


def _stray(node: Stray) -> Problem:
    reach = "weighs everything after it" if node.text in "([" else "is read as text"
    hint = (
        f"Close it, or write \\{node.text} for the character."
        if node.text in "(["
        else f"Write \\{node.text} for the character."
    )
    return Problem("warning", f"This {node.text} has no partner; it {reach}.", node.span, hint)
