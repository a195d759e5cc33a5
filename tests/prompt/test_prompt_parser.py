"""The tree: what each construct becomes, what stays prose, what is said about slips."""

import pytest

from app.prompt.ast import (
    Alternation,
    And,
    Break,
    Editing,
    Emphasis,
    NetworkTag,
    Stray,
    Text,
    Unclosed,
    Weakening,
    source,
    walk,
)
from app.prompt.parser import parse


def only(text: str) -> object:
    (item,) = parse(text).items
    return item


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("prose", Text),
        ("(cat)", Emphasis),
        ("(cat:1.2)", Emphasis),
        ("[cat]", Weakening),
        ("[cat:dog:0.5]", Editing),
        ("[dog:5]", Editing),
        ("[cat::5]", Editing),
        ("[cat|dog]", Alternation),
        ("[|]", Alternation),
        ("BREAK", Break),
        ("AND", And),
        ("<lora:ink>", NetworkTag),
        ("<lora:ink", Unclosed),
        ("(", Stray),
        ("]", Stray),
        ("\\(", Text),
        ("\\<lora\\:ink>", Text),
        ("<3", Text),
        ("SAND BREAKFAST", Text),
        ("a | b: c", Text),
        ("[cat:dog]", Weakening),
        ("[cat:dog:soon]", Weakening),
        ("[a:b:c:5]", Weakening),
        ("[a:b|c]", Weakening),
    ],
)
def test_a_shape_has_its_meaning(text: str, kind: type) -> None:
    assert isinstance(parse(text).items[0], kind)


def test_an_editing_has_what_comes_before_after_and_when() -> None:
    item = only("[cat:(dog):0.25]")
    assert isinstance(item, Editing)
    assert (source(*(item.before or ())), source(*item.after), item.when.value) == ("cat", "(dog)", 0.25)
    assert item.when.fraction


def test_an_editing_without_a_before_is_not_one_with_an_empty_before() -> None:
    added, replaced = only("[dog:5]"), only("[:dog:5]")
    assert isinstance(added, Editing) and isinstance(replaced, Editing)
    assert added.before is None
    assert replaced.before == ()


def test_a_bracket_that_closes_too_early_makes_the_one_inside_it_stray() -> None:
    kinds = [type(item) for item in walk(*parse("(a [b) c]").items)]
    assert kinds == [Emphasis, Text, Stray, Text, Text, Stray]


def test_a_number_before_a_stray_bracket_still_parts_an_editing() -> None:
    item = only("[a:1.2):5]")
    assert isinstance(item, Editing)
    assert (source(*(item.before or ())), source(*item.after)) == ("a", "1.2)")


@pytest.mark.parametrize(
    "name",
    [
        "ink",
        "my ink",
        "ünïcode 🎨",
        "it's",
        'say "hi"',
        "a=b",
        "sub/folder/ink.v2",
        "C\\models\\ink",
        "(x)[y]|z",
        "a,b",
    ],
)
def test_a_bare_name_holds_anything_but_colons_and_angle_brackets(name: str) -> None:
    tag = only(f"<lora:{name}:0.5>")
    assert isinstance(tag, NetworkTag)
    assert tag.name == name
    assert [argument.value for argument in tag.arguments] == ["0.5"]


@pytest.mark.parametrize("name", ["a:b > c", "C:\\models\\ink", "<lora:x>", 'a "b" c', "🎨:🎨", " spaced "])
def test_a_quoted_name_holds_anything(name: str) -> None:
    tag = only('<lora:"' + name.replace('"', '""') + '":1>')
    assert isinstance(tag, NetworkTag)
    assert tag.name == name


def test_kinds_and_keys_are_read_in_any_case_and_names_as_typed() -> None:
    tag = only("< LoRA : Ink : TE = 0.5 >")
    assert isinstance(tag, NetworkTag)
    assert (tag.kind, tag.name) == ("lora", "Ink")
    assert [(argument.key, argument.value) for argument in tag.arguments] == [("te", "0.5")]


def test_every_span_of_a_tag_points_at_its_text() -> None:
    text = "a <lora: ink :0.8: te = 0.5 :> b"
    (tag,) = [node for node in walk(*parse(text).items) if isinstance(node, NetworkTag)]
    assert text[slice(*tag.span)] == "<lora: ink :0.8: te = 0.5 :>"
    assert text[slice(*tag.name_span)] == "ink"
    assert [text[slice(*argument.span)] for argument in tag.arguments] == ["0.8", " te = 0.5 ", ""]
    assert [text[slice(*argument.value_span)] for argument in tag.arguments] == ["0.8", "0.5", ""]


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("a (cat", (2, 3)),
        ("a cat]", (5, 6)),
        ("(a cat:1.2.3)", (6, 12)),
        ("(a cat:1,2)", (6, 10)),
        ("(a AND b)", (3, 6)),
        ("(a:1000000)", (2, 10)),
    ],
)
def test_a_slip_is_a_warning_where_it_stands_with_a_remedy(text: str, span: tuple[int, int]) -> None:
    (problem,) = parse(text).problems
    assert (problem.level, problem.span) == ("warning", span)
    assert problem.message and problem.hint


@pytest.mark.parametrize(
    "text", ["a cat", "(a:1.2), [b], [c:d:3]", "a AND b :0.7", "\\(a\\)", "(a BREAK b)", "[a AND b:c:3]"]
)
def test_nothing_is_said_of_what_is_right(text: str) -> None:
    assert parse(text).problems == ()


def test_a_page_of_brackets_has_a_bounded_number_of_problems() -> None:
    assert len(parse("(" * 10_000).problems) < 100
