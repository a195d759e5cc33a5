"""Laws of styles in prompts: a second click takes away what the first one added."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.generation.styles import PLACE, Style
from app.ui.styling import is_applied, without

WORDS = st.text("ab ,(<>:[\\n", max_size=12)
PIECE = WORDS.filter(lambda text: text.strip() and text.strip() == text.strip(" ,\n"))


@given(before=WORDS, after=WORDS, prompt=WORDS, negative=WORDS)
def test_a_style_around_the_prompt_goes_as_it_came(before: str, after: str, prompt: str, negative: str) -> None:
    style = Style("s", f"{before}{PLACE}{after}")
    applied = style.applied(prompt, negative)
    if (before + after).strip():
        assert without(style, *applied) == (prompt, applied[1])
    else:
        assert without(style, *applied) is None


@given(style=PIECE, prompt=WORDS)
def test_a_style_after_the_prompt_goes_and_leaves_the_prompt_s_words(style: str, prompt: str) -> None:
    applied = Style("s", style).applied(prompt, "")
    taken = without(Style("s", style), *applied)
    assert taken is not None
    assert taken[0].strip().rstrip(", ") == prompt.strip().rstrip(", \n")


@pytest.mark.parametrize(
    ("style", "prompt", "left"),
    [
        ("calm", "a cat, calm, by night", "a cat, by night"),
        ("calm", "calm, a cat", "a cat"),
        ("calm", "calm", ""),
        ("calm", "a calming cat", None),
        ("calm, blue", "a cat, calm, blue", "a cat"),
        ("<lora:ink:0.5> inked", "a cat, <lora:ink:0.9:unet=0@0~1@1> inked, at dusk", "a cat, at dusk"),
        ("<lora:ink:0.5> inked", "a cat, <lora:hat:0.5> inked", None),
        ("old, {prompt}, film", "new, old, a cat, film, sharp", "new, a cat, sharp"),
        ("old, {prompt}, film", "a cat, film", None),
        ("", "a cat", None),
    ],
)
def test_a_style_is_found_wherever_it_stands_and_however_its_tags_were_changed(
    style: str, prompt: str, left: str | None
) -> None:
    taken = without(Style("s", style), prompt, "")
    assert taken == (None if left is None else (left, ""))


def test_a_style_of_both_prompts_is_there_only_when_both_have_it() -> None:
    style = Style("s", "calm", "blurry")
    assert is_applied(style, "a cat, calm", "text, blurry")
    assert not is_applied(style, "a cat, calm", "text")
    assert not is_applied(style, "a cat", "text, blurry")
