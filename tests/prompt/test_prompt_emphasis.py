"""Weights, chunks and compositions: the published cases of the original web UI, and what differs from it by intent."""

import math

import pytest

from app.prompt.emphasis import Branch, Break, Fragment, branches, fragments


def weighed(text: str) -> list[tuple[str, float]]:
    return [
        ("BREAK", 0) if isinstance(part, Break) else (part.text, pytest.approx(part.weight)) for part in fragments(text)
    ]


PUBLISHED = [
    ("normal text", [("normal text", 1)]),
    ("an (important) word", [("an ", 1), ("important", 1.1), (" word", 1)]),
    ("(unbalanced", [("unbalanced", 1.1)]),
    ("\\(literal\\]", [("(literal]", 1)]),
    ("(unnecessary)(parens)", [("unnecessaryparens", 1.1)]),
    (
        "a (((house:1.3)) [on] a (hill:0.5), sun, (((sky))).",
        [
            ("a ", 1),
            ("house", 1.3 * 1.1**2),
            (" ", 1.1),
            ("on", 1),
            (" a ", 1.1),
            ("hill", 0.5 * 1.1),
            (", sun, ", 1.1),
            ("sky", 1.1**4),
            (".", 1.1),
        ],
    ),
    ("(16:9)", [("16", 9)]),
    ("(a:1.2", [("a:1.2", 1.1)]),
    ("((a:1.2)", [("a", 1.32)]),
    ("[x:1.2]", [("x:1.2", 1 / 1.1)]),
    ("(a: -1.5 )", [("a", -1.5)]),
    ("a) b]", [("a) b]", 1)]),
]


@pytest.mark.parametrize(("text", "expected"), PUBLISHED)
def test_the_published_cases_hold(text: str, expected: list[tuple[str, float]]) -> None:
    assert weighed(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a BREAK b", [("a", 1), ("BREAK", 0), ("b", 1)]),
        ("(x BREAK y:1.2)", [("x", 1.2), ("BREAK", 0), ("y", 1.2)]),
        ("(x BREAK", [("x", 1.1), ("BREAK", 0)]),
        ("BREAK BREAK a", [("BREAK", 0), ("BREAK", 0), ("a", 1)]),
        ("BREAKFAST", [("BREAKFAST", 1)]),
    ],
)
def test_break_begins_a_chunk_inside_brackets_too(text: str, expected: list[tuple[str, float]]) -> None:
    assert weighed(text) == expected


def test_a_malformed_weight_is_text_and_does_not_raise() -> None:
    assert weighed("(a:1.2.3)") == [("a:1.2.3", 1.1)]


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("\\(\\)\\[\\]\\\\\\<", "()[]\\<"),
        ("\\:\\|", ":|"),
        ("¯\\_(ツ)_/¯", "¯_ツ_/¯"),
        ("end\\", "end"),
        ("<foo:(bar)>", "<foo:(bar)>"),
    ],
)
def test_a_backslash_makes_plain_what_follows_and_unknown_tags_are_plain(text: str, plain: str) -> None:
    assert "".join(part.text for part in fragments(text) if isinstance(part, Fragment)) == plain


def test_an_empty_text_is_one_empty_fragment() -> None:
    assert fragments("") == fragments("()") == (Fragment("", 1.0),)


def test_without_parsing_the_text_is_as_it_is() -> None:
    assert fragments("(a:1.2) BREAK \\(", parsed=False) == (Fragment("(a:1.2) BREAK \\(", 1.0),)


@pytest.mark.parametrize(
    "text", ["(" * 10_000 + "a", "[" * 10_000 + "(" * 10_000 + "a", f"(a:{'9' * 400})", "((a:0):1" + "0" * 400 + ")"]
)
def test_weights_are_finite(text: str) -> None:
    assert all(math.isfinite(part.weight) for part in fragments(text) if isinstance(part, Fragment))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a cat :1.2 AND a dog:-0.5", [Branch("a cat", 1.2), Branch("a dog", -0.5)]),
        ("a AND b :0.7", [Branch("a", 1), Branch("b", 0.7)]),
        ("a AND b: .5 AND (c:2)", [Branch("a", 1), Branch("b", 0.5), Branch("(c:2)", 1)]),
        ("a AND", [Branch("a", 1), Branch("", 1)]),
        ("(a AND b", [Branch("(a", 1), Branch("b", 1)]),
    ],
)
def test_and_composes(text: str, expected: list[Branch]) -> None:
    assert list(branches(text)) == expected


@pytest.mark.parametrize("text", ["a cat, :3", "ratio 16:9", "SAND and HAND:2", "(a AND b:1.2)", ""])
def test_without_an_and_there_is_one_branch_and_no_weight_is_read(text: str) -> None:
    assert branches(text) == (Branch(text, 1.0),)
