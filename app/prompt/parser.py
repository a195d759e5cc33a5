"""Text to tree. The shape is Lark's to find (grammar.lark); what a bracket means is decided here, after it.

Every string parses, in linear time, at any depth: Lark's LALR machine keeps its own stack, as does all that follows it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

from lark import Lark, Token, Transformer

from app.errors import Span
from app.prompt.ast import (
    Alternation,
    And,
    Argument,
    Break,
    Editing,
    Emphasis,
    Moment,
    NetworkTag,
    Node,
    Prompt,
    Stray,
    Text,
    Unclosed,
    Weakening,
    Weight,
)
from app.prompt.slips import slips

_Child: TypeAlias = Token | Node
_Inside: TypeAlias = tuple[str, Token | None, list[tuple[int, list[Token]]]]
_PARTNERS = {"RPAR": "LPAR", "RSQB": "LSQB"}
_PROSE = frozenset({"TEXT", "COLON", "BAR", "LOOSE", "WHEN"})


class Brackets:
    """The filter between lexer and parser: brackets without a partner become STRAY, and the number before one LOOSE.

    A closing bracket takes the nearest open one of its kind; open ones of the other kind between them are stray.
    Linear: every bracket is pushed and popped once, and `waiting` answers "is one open?" without a search.
    """

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        found = list(stream)
        opened: list[Token] = []
        waiting = {"LPAR": 0, "LSQB": 0}
        for index, token in enumerate(found):
            if token.type in waiting:
                opened.append(token)
                waiting[token.type] += 1
            elif wanted := _PARTNERS.get(token.type):
                if not waiting[wanted]:
                    token.type = "STRAY"
                    if index and found[index - 1].type in ("WEIGHT", "WHEN"):
                        found[index - 1].type = "LOOSE"
                    continue
                while (last := opened.pop()).type != wanted:
                    waiting[last.type] -= 1
                    last.type = "STRAY"
                waiting[wanted] -= 1
        for token in opened:
            token.type = "STRAY"
        yield from found


class _Tree(Transformer[Token, Prompt]):
    """Builds the nodes as Lark finds their shapes, innermost first."""

    def prompt(self, children: list[_Child]) -> tuple[Node, ...]:
        return _nodes(children)

    def emphasis(self, children: list[_Child]) -> Emphasis:
        span = (_start(children[0]), _end(children[-1]))
        last = children[-2]
        if isinstance(last, Token) and last.type == "WEIGHT":
            weight = Weight(float(last[1:]), str(last), (_start(last), _end(last)))
            return Emphasis(_nodes(children[1:-2]), weight, span)
        return Emphasis(_nodes(children[1:-1]), None, span)

    def bracket(self, children: list[_Child]) -> Editing | Alternation | Weakening:
        span = (_start(children[0]), _end(children[-1]))
        inside = _loosened(children[1:-1])
        colons = [index for index, child in enumerate(inside) if _is(child, "COLON")]
        last = inside[-1] if inside else None
        if isinstance(last, Token) and last.type == "WHEN" and len(colons) <= 1:
            when = Moment(float(last[1:]), "." in last, str(last), (_start(last), _end(last)))
            before = _nodes(inside[: colons[0]]) if colons else None
            return Editing(before, _nodes(inside[colons[0] + 1 if colons else 0 : -1]), when, span)
        if not colons and not _is(last, "WHEN") and any(_is(child, "BAR") for child in inside):
            return Alternation(tuple(_nodes(option) for option in _split(inside)), span)
        return Weakening(_nodes(inside), span)


class _Tag(Transformer[Token, _Inside]):
    """Reads the inside of a tag: its kind, its name, and each argument's tokens with the place where it begins."""

    def name(self, children: list[Token]) -> Token | None:
        return children[0] if children else None

    def argument(self, children: list[Token]) -> list[Token]:
        return children

    def tag(self, children: list[Any]) -> _Inside:
        pairs = zip(children[4:-1:2], children[5:-1:2], strict=True)
        return children[1].strip().lower(), children[3], [(_end(colon), tokens) for colon, tokens in pairs]


@cache
def _parser() -> Lark:
    return Lark(
        _grammar(),
        start="prompt",
        parser="lalr",
        lexer="basic",
        postlex=Brackets(),
        transformer=_Tree(),
        maybe_placeholders=False,
    )


@cache
def _tag_parser() -> Lark:
    return Lark(
        _grammar(), start="tag", parser="lalr", lexer="contextual", transformer=_Tag(), maybe_placeholders=False
    )


@cache
def curve_parser() -> Lark:
    """The parser of one strength, for curve.py."""
    return Lark(_grammar(), start="curve", parser="lalr", lexer="contextual", maybe_placeholders=False)


@cache
def _grammar() -> str:
    return Path(__file__).with_name("grammar.lark").read_text("utf-8")


def parse(text: str) -> Prompt:
    """The tree of a prompt. Every string has one; what looks like a slip is among its problems."""
    items: tuple[Node, ...] = _parser().parse(text)  # type: ignore[assignment]
    return Prompt(text, items, slips(items))


def tokens(text: str) -> list[Token]:
    """The tokens of a prompt, brackets without a partner retagged as STRAY."""
    return list(_parser().lex(text))


def _is(child: _Child | None, kind: str) -> bool:
    return isinstance(child, Token) and child.type == kind


def _start(child: _Child) -> int:
    return child.start_pos or 0 if isinstance(child, Token) else child.span[0]


def _end(child: _Child) -> int:
    return child.end_pos or 0 if isinstance(child, Token) else child.span[1]


def _loosened(children: list[_Child]) -> list[_Child]:
    """The children of a square bracket, each LOOSE number a colon and a number again."""
    if not any(_is(child, "LOOSE") for child in children):
        return children
    apart: list[_Child] = []
    for child in children:
        if isinstance(child, Token) and child.type == "LOOSE":
            start, end = _start(child), _end(child)
            apart.append(Token("COLON", ":", start_pos=start, end_pos=start + 1))
            apart.append(Token("TEXT", child[1:], start_pos=start + 1, end_pos=end))
        else:
            apart.append(child)
    return apart


def _split(children: Sequence[_Child]) -> list[list[_Child]]:
    """The options between the bars."""
    options: list[list[_Child]] = [[]]
    for child in children:
        if _is(child, "BAR"):
            options.append([])
        else:
            options[-1].append(child)
    return options


def _nodes(children: Sequence[_Child]) -> tuple[Node, ...]:
    """Tokens become leaves; neighbouring prose becomes one."""
    nodes: list[Node] = []
    prose: list[Token] = []
    for child in children:
        if isinstance(child, Token) and child.type in _PROSE:
            prose.append(child)
            continue
        if prose:
            nodes.append(_text(prose))
            prose = []
        nodes.append(_leaf(child) if isinstance(child, Token) else child)
    if prose:
        nodes.append(_text(prose))
    return tuple(nodes)


def _text(prose: list[Token]) -> Text:
    return Text(str(prose[0]) if len(prose) == 1 else "".join(prose), (_start(prose[0]), _end(prose[-1])))


def _leaf(token: Token) -> Node:
    span = (_start(token), _end(token))
    match token.type:
        case "BREAK":
            return Break(span)
        case "AND":
            return And(span)
        case "TAG":
            return _tag(token)
        case "UNCLOSED":
            return Unclosed(token[1:].partition(":")[0].strip().lower(), str(token), span)
        case _:
            return Stray(str(token), span)


def _tag(token: Token) -> NetworkTag:
    """The tag that a TAG token is; its TAG terminal has made sure that the tag grammar fits."""
    inside: _Inside = _tag_parser().parse(str(token))  # type: ignore[assignment]  # Lark says Tree; _Tag makes this
    kind, name, arguments = inside
    offset = _start(token)
    bare, span = _stripped(name, offset) if name else ("", (offset + token.index(":") + 1,) * 2)
    return NetworkTag(
        kind=kind,
        name=bare[1:-1].replace('""', '"') if name and name.type == "QUOTED" else bare,
        arguments=tuple(_argument(offset + start, parts, offset) for start, parts in arguments),
        text=str(token),
        span=(offset, _end(token)),
        name_span=span,
    )


def _argument(start: int, parts: list[Token], offset: int) -> Argument:
    """The argument that begins at `start` and is made of these tokens: a key, a value, both or neither."""
    key = next((part.rstrip()[:-1].strip().lower() for part in parts if part.type == "KEY"), None)
    end = offset + _end(parts[-1]) if parts else start
    value, span = _stripped(parts[-1], offset) if parts and parts[-1].type == "VALUE" else ("", (end, end))
    return Argument(key, value, (start, end), span)


def _stripped(token: Token, offset: int) -> tuple[str, Span]:
    """A token's text without the spaces around it, and where that stands."""
    bare = token.strip()
    start = offset + _start(token) + len(token) - len(token.lstrip())
    return bare, (start, start + len(bare))
