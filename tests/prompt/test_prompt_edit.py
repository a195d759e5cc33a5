"""Small changes to the tags of a text leave the rest as typed."""

import pytest

from app.prompt.edit import (
    append_tag,
    format_tag,
    placed_tags,
    remove_argument,
    remove_tag,
    set_argument,
    switch,
    tags,
)
from app.prompt.schedule import schedule


def test_tags_are_found_everywhere_and_unknown_kinds_are_not_tags() -> None:
    found = tags("a <lora:x> [<lyco:y:1>:(<hypernet:z>):3] <foo:bar> <lora:> \\<lora:n>")
    assert [(tag.kind, tag.name) for tag in found] == [("lora", "x"), ("lyco", "y"), ("hypernet", "z")]


@pytest.mark.parametrize(
    ("tag", "text"),
    [
        (format_tag("ink"), "<lora:ink>"),
        (format_tag("ink", 0.8), "<lora:ink:0.8>"),
        (format_tag("ink", 1, unet="0@0~1@1"), "<lora:ink:1:unet=0@0~1@1>"),
        (format_tag("a:b > c", 1), '<lora:"a:b > c":1>'),
        (format_tag('"a"', kind="hypernet"), '<hypernet:"""a""">'),
        (format_tag("C:\\x", 0.1 + 0.2), '<lora:"C:\\x":0.3>'),
    ],
)
def test_a_name_is_quoted_only_where_it_must_be(tag: str, text: str) -> None:
    assert tag == text


@pytest.mark.parametrize(
    ("text", "key", "value", "expected"),
    [
        ("a <lora:x>, b", None, 0.5, "a <lora:x:0.5>, b"),
        ("<lora:x:1:te=0>", None, 0.5, "<lora:x:0.5:te=0>"),
        ("<lora:x:te=0>", None, 0.5, "<lora:x:0.5:te=0>"),
        ("<lora:x:1:te=0>", "te", 0.5, "<lora:x:1:te=0.5>"),
        ("<lora:x:1>", "te", "0@0~1@1", "<lora:x:1:te=0@0~1@1>"),
        ("<lora:x>", "te", 0.5, "<lora:x:te=0.5>"),
        ("<lora:x:dit=1>", "unet", 0.5, "<lora:x:unet=0.5>"),
        ('<lora:"x:y">', None, 1, '<lora:"x:y":1>'),
        ("<lora:x:0. 6>", None, 0.6, "<lora:x:0.6>"),
    ],
)
def test_one_argument_is_changed_or_added(text: str, key: str | None, value: str | float, expected: str) -> None:
    assert set_argument(text, tags(text)[0], key, value) == expected


def test_an_argument_is_removed_with_its_colon() -> None:
    text = "<lora:x:1:te=0:dyn=8>"
    (tag,) = tags(text)
    assert remove_argument(text, tag, tag.arguments[1]) == "<lora:x:1:dyn=8>"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <lora:x> b", "a b"),
        ("<lora:x> b", "b"),
        ("a <lora:x>", "a"),
        ("<lora:x>", ""),
        ("a<lora:x>b", "ab"),
        ("a  b <lora:x> (c:1.2) [", "a  b (c:1.2) ["),
        ("[<lora:x>:b:3]", "[:b:3]"),
    ],
)
def test_a_removed_tag_takes_the_spaces_round_it(text: str, expected: str) -> None:
    assert remove_tag(text, tags(text)[0]) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("", "<lora:x>"), ("a ", "a <lora:x>"), ("a", "a <lora:x>"), ("  ", "<lora:x>")]
)
def test_a_tag_is_appended_after_one_space(text: str, expected: str) -> None:
    assert append_tag(text, "<lora:x>") == expected


@pytest.mark.parametrize("text", ["a <lora:x:0.5:te=0@0~1@50%>, b", "<lora:x>", "[a:<lora:x>:5]", "(<lora:x>:1.2)"])
def test_a_tag_switched_off_stands_in_the_text_and_acts_nowhere_and_comes_back_as_it_was(text: str) -> None:
    off = switch(text, placed_tags(text)[0])
    (placed,) = placed_tags(off)
    assert placed.off and off[slice(*placed.span)] == f"[{placed.tag.text}::0]"
    assert tags(off) == ()
    said = schedule(off, 20)
    assert said.networks == () and said.problems == ()
    assert switch(off, placed) == text


def test_a_tag_that_an_editing_shows_later_is_not_switched_off() -> None:
    for text in ("[<lora:x>::5]", "[<lora:x>:0]", "[<lora:x>:<lora:y>:0]", "[a <lora:x>::0]"):
        assert not any(placed.off for placed in placed_tags(text))
