"""The tree of a prompt: one frozen record per construct, each with the characters it spans.

Nothing here depends on the number of steps. Every node can say what it is made of (`parts`), so that printing
a tree gives its text back, and the spans of a node's parts follow one another without a gap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.errors import Problem, Span

HEAVIEST = 100.0
"""Weights lie within ± this, so that no product of them leaves the finite numbers."""


@dataclass(frozen=True, slots=True)
class Text:
    """Prose, with its escapes as typed."""

    text: str
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Stray:
    """A bracket without a partner. To scheduling it is prose; to emphasis an opening one reaches to the end."""

    text: str
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Break:
    """The word BREAK, which begins a new chunk."""

    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return ("BREAK",)


@dataclass(frozen=True, slots=True)
class And:
    """The word AND, which composes what stands before it with what follows."""

    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return ("AND",)


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument of a tag: `0.8` (no key) or `te=0.5`. The value is as typed, without the spaces around it."""

    key: str | None
    value: str
    span: Span
    value_span: Span


@dataclass(frozen=True, slots=True)
class NetworkTag:
    """`<kind:name(:argument)*>`. The kind is in lower case, the name is without its quotes, `text` is as typed."""

    kind: str
    name: str
    arguments: tuple[Argument, ...]
    text: str
    span: Span
    name_span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Unclosed:
    """The beginning of a tag without its end: `<lora:ink`. It is prose."""

    kind: str
    text: str
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return (self.text,)


@dataclass(frozen=True, slots=True)
class Weight:
    """The number of `(cat:1.2)`, as typed from its colon on."""

    value: float
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Emphasis:
    """`(cat)` weighs 1.1 times as much, `(cat:1.2)` 1.2 times."""

    items: tuple[Node, ...]
    weight: Weight | None
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return ("(", *self.items, self.weight.text if self.weight else "", ")")


@dataclass(frozen=True, slots=True)
class Weakening:
    """`[cat]` weighs 1.1 times less."""

    items: tuple[Node, ...]
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        return ("[", *self.items, "]")


@dataclass(frozen=True, slots=True)
class Moment:
    """The `when` of an editing: a fraction of the steps if it has a point, else a number of steps.

    `text` is as typed, from its colon on.
    """

    value: float
    fraction: bool
    text: str
    span: Span


@dataclass(frozen=True, slots=True)
class Editing:
    """`[before:after:when]`. `before` is None where it is not typed at all: `[after:when]`."""

    before: tuple[Node, ...] | None
    after: tuple[Node, ...]
    when: Moment
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        opening: tuple[str | Node, ...] = ("[",) if self.before is None else ("[", *self.before, ":")
        return (*opening, *self.after, self.when.text, "]")


@dataclass(frozen=True, slots=True)
class Alternation:
    """`[a|b|c]`: one option per step, in turn."""

    options: tuple[tuple[Node, ...], ...]
    span: Span

    def parts(self) -> tuple[str | Node, ...]:
        inside = [part for option in self.options for part in ("|", *option)]
        return ("[", *inside[1:], "]")


Node = Text | Stray | Break | And | NetworkTag | Unclosed | Emphasis | Weakening | Editing | Alternation


@dataclass(frozen=True, slots=True)
class Prompt:
    """A parsed text. `problems` are those of its shape; what depends on steps and settings is `schedule`'s."""

    text: str
    items: tuple[Node, ...]
    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return source(*self.items)


def switched_off(node: Node) -> NetworkTag | None:
    """The tag that `[<lora:ink:0.8>::0]` keeps at hand without using it; None for any other node."""
    if isinstance(node, Editing) and not node.after and not node.when.value and node.before and len(node.before) == 1:
        return node.before[0] if isinstance(node.before[0], NetworkTag) else None
    return None


def walk(*nodes: Node) -> Iterator[Node]:
    """Every node of these trees, parents before their children, in the order of the text. Never recurses."""
    stack: list[str | Node] = list(reversed(nodes))
    while stack:
        top = stack.pop()
        if not isinstance(top, str):
            yield top
            stack.extend(reversed(top.parts()))


def source(*nodes: Node) -> str:
    """The text these trees were parsed from. Never recurses."""
    printed: list[str] = []
    stack: list[str | Node] = list(reversed(nodes))
    while stack:
        top = stack.pop()
        if isinstance(top, str):
            printed.append(top)
        else:
            stack.extend(reversed(top.parts()))
    return "".join(printed)
