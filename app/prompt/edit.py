"""Small changes to the tags of a prompt's text: find, write, change, remove. The rest stays as typed."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.errors import Span
from app.prompt.arguments import ALIASES
from app.prompt.ast import Argument, NetworkTag, switched_off, walk
from app.prompt.parser import parse
from app.prompt.strength import KINDS

_NEEDS_QUOTES = re.compile(r"[:<>]|\A\s|\s\Z|\A\"|\A\Z")


@dataclass(frozen=True, slots=True)
class PlacedTag:
    """A tag, and the characters it takes up. `[<lora:ink:0.8>::0]` is a tag that is off."""

    tag: NetworkTag
    span: Span
    off: bool


def placed_tags(text: str, kinds: frozenset[str] | None = KINDS) -> tuple[PlacedTag, ...]:
    """The network tags of a text, in order, inside editing too, switched off or not. No `kinds` are all."""
    nodes = tuple(walk(*parse(text).items))
    off = {tag.span: node.span for node in nodes if (tag := switched_off(node))}
    found = (
        node for node in nodes if isinstance(node, NetworkTag) and node.name and (kinds is None or node.kind in kinds)
    )
    return tuple(PlacedTag(tag, off.get(tag.span, tag.span), tag.span in off) for tag in found)


def tags(text: str, kinds: frozenset[str] = KINDS) -> tuple[NetworkTag, ...]:
    """The network tags of a text that are not switched off: kind, name and arguments, with the span of each."""
    return tuple(placed.tag for placed in placed_tags(text, kinds) if not placed.off)


def switch(text: str, placed: PlacedTag) -> str:
    """The text with this tag of it switched off, or on again as it was."""
    return _replaced(text, placed.span, placed.tag.text if placed.off else f"[{placed.tag.text}::0]")


def format_tag(name: str, *values: str | float, kind: str = "lora", **named: str | float) -> str:
    """The tag that names this network: `format_tag("ink", 0.8, unet="0@0~1@1")`. The name is quoted if it must be."""
    arguments = [_number(value) for value in values] + [f"{key}={_number(value)}" for key, value in named.items()]
    return f"<{':'.join([kind, _quoted(name), *arguments])}>"


def rename_tag(text: str, tag: NetworkTag, name: str) -> str:
    """The text with another network named by a tag of it."""
    return _replaced(text, tag.name_span, _quoted(name))


def set_argument(text: str, tag: NetworkTag, key: str | None, value: str | float) -> str:
    """The text with one argument of a tag of it changed or added. `key` None is the first number."""
    typed = f"{key}={_number(value)}" if key else _number(value)
    same = ALIASES.get(key, key) if key else None
    argument = next((found for found in tag.arguments if ALIASES.get(found.key or "", found.key) == same), None)
    if argument:
        return _replaced(text, argument.span, typed)
    place = tag.arguments[-1].span[1] if tag.arguments and key else tag.name_span[1]
    return _replaced(text, (place, place), f":{typed}")


def remove_argument(text: str, tag: NetworkTag, argument: Argument) -> str:
    """The text without this argument of a tag of it. Numbers without a name count by place: those after it move up."""
    return _replaced(text, (argument.span[0] - 1, argument.span[1]), "")


def remove_tag(text: str, tag: NetworkTag | PlacedTag) -> str:
    """The text without this tag of it, the spaces around it folded into one; at either end of the text, into none."""
    before, after = text[: tag.span[0]], text[tag.span[1] :]
    if not before or before[-1].isspace():
        after = after.lstrip()
    return before + after if after.strip() else before.rstrip() + after.strip()


def append_tag(text: str, tag: str) -> str:
    """The text with a tag at its end, a space between them."""
    return f"{text.rstrip()} {tag}" if text.strip() else tag


def _replaced(text: str, span: Span, new: str) -> str:
    return text[: span[0]] + new + text[span[1] :]


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if _NEEDS_QUOTES.search(name) else name


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"
