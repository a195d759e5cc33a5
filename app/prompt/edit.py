"""Small changes to the tags of a prompt's text: find, write, change, remove. The rest stays as typed."""

from __future__ import annotations

import re

from app.errors import Span
from app.prompt.arguments import ALIASES
from app.prompt.ast import Argument, NetworkTag, walk
from app.prompt.parser import parse
from app.prompt.strength import KINDS

_NEEDS_QUOTES = re.compile(r"[:<>]|\A\s|\s\Z|\A\"|\A\Z")


def tags(text: str, kinds: frozenset[str] = KINDS) -> tuple[NetworkTag, ...]:
    """The network tags of a text, in order, inside editing too: kind, name and arguments, with the span of each."""
    found = (node for node in walk(*parse(text).items) if isinstance(node, NetworkTag))
    return tuple(tag for tag in found if tag.kind in kinds and tag.name)


def format_tag(name: str, *values: str | float, kind: str = "lora", **named: str | float) -> str:
    """The tag that names this network: `format_tag("ink", 0.8, unet="0@0~1@1")`. The name is quoted if it must be."""
    quoted = '"' + name.replace('"', '""') + '"' if _NEEDS_QUOTES.search(name) else name
    arguments = [_number(value) for value in values] + [f"{key}={_number(value)}" for key, value in named.items()]
    return f"<{':'.join([kind, quoted, *arguments])}>"


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


def remove_tag(text: str, tag: NetworkTag) -> str:
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


def _number(value: str | float) -> str:
    return value if isinstance(value, str) else f"{value:.10g}"
