"""Text to tree. The shape is Lark's to find (grammar.lark); what a bracket means is decided here, after it.

Every string parses, in linear time, at any depth: Lark's LALR machine keeps its own stack, and so does everything after it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from lark import Lark, Token, Transformer

from app.errors import Problem
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
    walk,
)

DECIMAL = r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)"
_WEIGHT = re.compile(rf"\s*{DECIMAL}\s*")
_MOMENT = re.compile(rf"\s*{DECIMAL}(?:[eE][+-]?[0-9]+)?\s*")
_NEARLY_A_WEIGHT = re.compile(r":\s*[+-]?[0-9.,]+\s*\Z")
_PARTNERS = {"RPAR": "LPAR", "RSQB": "LSQB"}
_PROSE = frozenset({"TEXT", "COLON", "BAR"})
_MOST_PROBLEMS = 50


class Brackets:
    """The filter between lexer and parser: brackets without a partner become STRAY.

    A closing bracket takes the nearest open one of its kind; open ones of the other kind between them are stray. Linear: every
    bracket is pushed and popped once, and `waiting` answers "is one open?" without a search.
    """

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        tokens = list(stream)
        opened: list[Token] = []
        waiting = {"LPAR": 0, "LSQB": 0}
        for token in tokens:
            if token.type in waiting:
                opened.append(token)
                waiting[token.type] += 1
            elif wanted := _PARTNERS.get(token.type):
                if not waiting[wanted]:
                    token.type = "STRAY"
                    continue
                while (last := opened.pop()).type != wanted:
                    waiting[last.type] -= 1
                    last.type = "STRAY"
                waiting[wanted] -= 1
        for token in opened:
            token.type = "STRAY"
        yield from tokens


class _Tree(Transformer[Token, Prompt]):
    """Builds the nodes as Lark finds their shapes, innermost first."""

    def prompt(self, children: list[Token | Node]) -> tuple[Node, ...]:
        return _nodes(children)

    def emphasis(self, children: list[Token | Node]) -> Emphasis:
        span = (_start(children[0]), _end(children[-1]))
        inside = children[1:-1]
        if len(inside) >= 2 and _is(inside[-2], "COLON") and _is(inside[-1], "TEXT") and _WEIGHT.fullmatch(inside[-1]):
            colon, number = inside[-2:]
            weight = Weight(float(number), f":{number}", (_start(colon), _end(number)))
            return Emphasis(_nodes(inside[:-2]), weight, span)
        return Emphasis(_nodes(inside), None, span)

    def bracket(self, children: list[Token | Node]) -> Node:
        span = (_start(children[0]), _end(children[-1]))
        inside = children[1:-1]
        colons = [index for index, child in enumerate(inside) if _is(child, "COLON")]
        if 1 <= len(colons) <= 2 and (when := _moment(inside[colons[-1] + 1 :])):
            first = colons[0] if len(colons) == 2 else None
            after = inside[0 if first is None else first + 1 : colons[-1]]
            return Editing(None if first is None else _nodes(inside[:first]), _nodes(after), when, span)
        if not colons and any(_is(child, "BAR") for child in inside):
            return Alternation(tuple(_nodes(option) for option in _split(inside)), span)
        return Weakening(_nodes(inside), span)


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
    return Lark(_grammar(), start="tag", parser="lalr", lexer="contextual", maybe_placeholders=False)


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
    return Prompt(text, items, _problems(items))


def tokens(text: str) -> list[Token]:
    """The tokens of a prompt, brackets without a partner retagged as STRAY."""
    return list(_parser().lex(text))


def _is(child: Token | Node, kind: str) -> bool:
    return isinstance(child, Token) and child.type == kind


def _start(child: Token | Node) -> int:
    return child.start_pos or 0 if isinstance(child, Token) else child.span[0]


def _end(child: Token | Node) -> int:
    return child.end_pos or 0 if isinstance(child, Token) else child.span[1]


def _split(children: Sequence[Token | Node]) -> list[list[Token | Node]]:
    """The options between the bars."""
    options: list[list[Token | Node]] = [[]]
    for child in children:
        if _is(child, "BAR"):
            options.append([])
        else:
            options[-1].append(child)
    return options


def _moment(children: Sequence[Token | Node]) -> Moment | None:
    """The `when` of an editing, if this is one: a number and nothing else."""
    if len(children) != 1 or not _is(children[0], "TEXT"):
        return None
    text = str(children[0])
    if not _MOMENT.fullmatch(text):
        return None
    return Moment(float(text), "." in text, text, (_start(children[0]), _end(children[0])))


def _nodes(children: Sequence[Token | Node]) -> tuple[Node, ...]:
    """Tokens become leaves; neighbouring prose becomes one."""
    nodes: list[Node] = []
    prose: list[Token] = []
    for child in children:
        if isinstance(child, Token) and child.type in _PROSE:
            prose.append(child)
            continue
        if prose:
            nodes.append(Text("".join(prose), (_start(prose[0]), _end(prose[-1]))))
            prose = []
        nodes.append(_leaf(child) if isinstance(child, Token) else child)
    if prose:
        nodes.append(Text("".join(prose), (_start(prose[0]), _end(prose[-1]))))
    return tuple(nodes)


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
    tree = _tag_parser().parse(str(token))
    offset = _start(token)
    kind, name = tree.children[1], tree.children[3]
    typed = name.children[0] if name.children else Token("BARE", "", start_pos=kind.end_pos + 1)
    bare = typed.strip()
    begin = offset + typed.start_pos + len(typed) - len(typed.lstrip())
    return NetworkTag(
        kind=kind.strip().lower(),
        name=bare[1:-1].replace('""', '"') if typed.type == "QUOTED" else bare,
        arguments=tuple(
            _argument(pair, offset) for pair in zip(tree.children[4::2], tree.children[5::2], strict=False)
        ),
        text=str(token),
        span=(offset, _end(token)),
        name_span=(begin, begin + len(bare)),
    )


def _argument(pair: tuple[Token, object], offset: int) -> Argument:
    """The argument after this colon."""
    colon, node = pair
    key = value = ""
    for part in node.children:  # type: ignore[attr-defined]
        if part.type == "KEY":
            key = str(part)
        else:
            value = str(part)
    start = offset + colon.end_pos
    bare = value.strip()
    begin = start + len(key) + len(value) - len(value.lstrip())
    return Argument(
        key=key.rstrip("= \t\r\n").strip().lower() if key else None,
        value=bare,
        span=(start, start + len(key) + len(value)),
        value_span=(begin, begin + len(bare)),
    )


def _problems(items: Sequence[Node]) -> tuple[Problem, ...]:
    """What looks like a slip of the shape. The first fifty; a page of brackets is not worth more."""
    problems: list[Problem] = []
    for node in walk(*items):
        if isinstance(node, Stray):
            problems.append(_stray(node))
        elif isinstance(node, Emphasis) and node.weight is None and node.items and isinstance(node.items[-1], Text):
            if nearly := _NEARLY_A_WEIGHT.search(node.items[-1].text):
                start = node.items[-1].span[0] + nearly.start()
                message = f"{nearly[0].strip()} is not a weight; it is read as words."
                problems.append(
                    Problem("warning", message, (start, node.items[-1].span[1]), "Write a number such as 1.2.")
                )
        if len(problems) == _MOST_PROBLEMS:
            break
    return tuple(problems)


def _stray(node: Stray) -> Problem:
    reach = "weighs everything after it" if node.text in "([" else "is read as text"
    hint = (
        f"Close it, or write \\{node.text} for the character."
        if node.text in "(["
        else f"Write \\{node.text} for the character."
    )
    return Problem("warning", f"This {node.text} has no partner; it {reach}.", node.span, hint)
