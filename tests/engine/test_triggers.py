"""What is applied for the user is in the prompt, once, in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.triggers import PLACEHOLDER, Applied, TriggerOptions, apply_triggers

ALL, FIRST, OFF = TriggerOptions("all"), TriggerOptions("first", 1), TriggerOptions()


@pytest.mark.parametrize(
    ("prompt", "networks", "options", "expected"),
    [
        ("a cat", [["ink", "line art"]], ALL, Applied("a cat, ink, line art", ("ink", "line art"))),
        ("a cat", [["ink", "line art"]], FIRST, Applied("a cat, ink", ("ink",))),
        ("a cat", [["ink"]], OFF, Applied("a cat")),
        ("a cat", [["ink"], ["hat", "ink"]], ALL, Applied("a cat, ink, hat", ("ink", "hat"))),
        ("a cat, (INK:1.2)", [["ink"]], ALL, Applied("a cat, (INK:1.2)")),
        ("inkwell", [["ink"]], ALL, Applied("inkwell, ink", ("ink",))),
        ("a cat", [["ink"]], TriggerOptions("all", place="start"), Applied("ink, a cat", ("ink",))),
        ("a, _tags_, b", [["ink"]], ALL, Applied("a, ink, b", ("ink",))),
        ("a, _tags_, b", [["ink"]], OFF, Applied("a, b")),
        ("_tags_ _tags_", [["ink"]], ALL, Applied("ink", ("ink",))),
        ("", [["ink"]], ALL, Applied("ink", ("ink",))),
        ("a <lora:x:1>", [["x"]], ALL, Applied("a <lora:x:1>, x", ("x",))),
    ],
)
def test_words_are_added_where_and_as_the_options_say(
    prompt: str, networks: list[list[str]], options: TriggerOptions, expected: Applied
) -> None:
    assert apply_triggers(prompt, networks, options) == expected


WORDS = st.lists(st.lists(st.text("abc xyz", max_size=5), max_size=3), max_size=3)


@given(
    st.text("ab,<>:()_tgs ", max_size=30), WORDS, st.sampled_from([ALL, FIRST, TriggerOptions("all", place="start")])
)
def test_applying_twice_is_applying_once_and_the_placeholder_is_gone(
    prompt: str, networks: list[list[str]], options: TriggerOptions
) -> None:
    once = apply_triggers(prompt, networks, options)
    assert apply_triggers(once.prompt, networks, options) == Applied(once.prompt)
    assert PLACEHOLDER not in once.prompt
    assert all(word in once.prompt for word in once.added)
