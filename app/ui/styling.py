"""Styles in prompts: whether one is there, and the prompts without it. Tags in it may have other strengths by now."""

from __future__ import annotations

import re
from collections.abc import Iterator

from app.generation.styles import PLACE, Style
from app.prompt.edit import placed_tags

_BEFORE = r"(?:(?<=,)|(?<=^))\s*"
_AFTER = r"\s*(?=,|$)"


def is_applied(style: Style, prompt: str, negative: str) -> bool:
    """Whether both prompts hold what the style adds to them."""
    return without(style, prompt, negative) is not None


def without(style: Style, prompt: str, negative: str) -> tuple[str, str] | None:
    """Both prompts without the style; None where it is not in them."""
    if not (style.prompt.replace(PLACE, "").strip() or style.negative.replace(PLACE, "").strip()):
        return None
    first, second = _taken(prompt, style.prompt), _taken(negative, style.negative)
    return None if first is None or second is None else (first, second)


def _taken(text: str, added: str) -> str | None:
    """A text without what a style adds to it: the last piece that it may have added; None where there is none."""
    if not added.strip():
        return text
    if PLACE not in added:
        places = list(re.finditer(f"{_BEFORE}{_pattern(added.strip())}{_AFTER}", text))
        return _without_piece(text, places[-1].span()) if places else None
    before, after = added.split(PLACE, 1)
    for start, inside in _places(text, before):
        if not after:
            return text[:start] + text[inside:]
        ends = list(re.finditer(_pattern(after), text[inside:]))
        if ends:
            stop, rest = ends[-1].span()
            return text[:start] + text[inside : inside + stop] + text[inside + rest :]
    return None


def _places(text: str, before: str) -> Iterator[tuple[int, int]]:
    """Where a style's beginning may stand, and where it ends."""
    if not before:
        yield 0, 0
        return
    for place in re.finditer(_pattern(before), text):
        yield place.span()


def _pattern(added: str) -> str:
    """An expression for a style's text, whatever its tags' arguments have become."""
    if "<" not in added:
        return re.escape(added)
    parts: list[str] = []
    end = 0
    for placed in placed_tags(added):
        start, stop = placed.tag.span
        name_end = placed.tag.name_span[1]
        parts += [re.escape(added[end:start]), re.escape(added[start:name_end]), r"(?::[^<>]*)?>"]
        end = stop
    return "".join([*parts, re.escape(added[end:])])


def _without_piece(text: str, span: tuple[int, int]) -> str:
    """The text without a piece between commas, and without one of those."""
    before, after = text[: span[0]].rstrip(), text[span[1] :].lstrip()
    if after.startswith(",") and before.endswith(","):
        after = after[1:].lstrip()
        return f"{before} {after}" if after else before
    if not before:
        return after.removeprefix(",").lstrip()
    return f"{before} {after}" if after else before.removesuffix(",")
