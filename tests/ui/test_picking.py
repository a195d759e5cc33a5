"""What a click adds to the prompts, a second click takes away."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.networks.record import NetworkFile
from app.prompt.edit import placed_tags, switch
from app.ui.picking import (
    Picked,
    add_tag,
    add_word,
    as_added,
    has_word,
    remove_tags,
    trigger_words,
    without_piece,
    without_word,
)

TAG = "<lora:ink:0.8>"


def network(words: tuple[str, ...] = ("ink style", "wash"), **facts: object) -> NetworkFile:
    return NetworkFile(
        name="ink", path=Path("ink"), file=Path("ink"), kind="lora", size=1, mtime_ns=1, trigger_words=words, **facts
    )


def removed(picked: Picked, prompt: str | None = None) -> Picked:
    """The prompts after a second click, the prompt having been edited in between."""
    prompt = picked.prompt if prompt is None else prompt
    meant = [placed for placed in placed_tags(prompt) if placed.tag.name == "ink"]
    assert picked.added
    return remove_tags(prompt, picked.negative, meant, picked.added)


@pytest.mark.parametrize(
    ("typed", "expected"),
    [
        ("|", f"{TAG} ink style, wash"),
        ("a cat|", f"a cat {TAG}, ink style, wash"),
        ("a cat, |", f"a cat, {TAG} ink style, wash"),
        ("a cat,|", f"a cat, {TAG} ink style, wash"),
        ("a cat|, sitting", f"a cat {TAG}, ink style, wash, sitting"),
        ("a cat| on a mat", f"a cat {TAG}, ink style, wash, on a mat"),
        ("|a cat", f"{TAG} ink style, wash, a cat"),
        ("a c|at", f"a cat {TAG}, ink style, wash"),
        ("[|a:b:5]", f"[{TAG} ink style, wash, a:b:5]"),
        ("<lora:o|ther:1> b", f"<lora:other:1> {TAG}, ink style, wash, b"),
        ("wash, a cat|", f"wash, a cat {TAG}, ink style"),
        ("(wash:1.2), Ink  Style|", f"(wash:1.2), Ink  Style {TAG}"),
    ],
)
def test_a_click_adds_the_tag_at_the_cursor_with_the_words_that_are_missing(typed: str, expected: str) -> None:
    caret = typed.index("|")
    picked = add_tag(typed.replace("|", "", 1), "", TAG, network(), caret)
    assert picked.prompt == expected
    assert picked.prompt[: picked.caret].rstrip(", ").endswith((TAG, "wash", "ink style"))


@given(st.text("ab ,()[]|:\n<>lorink1.😀", max_size=40), st.integers(0, 40), st.text("ab ,", max_size=12))
def test_a_second_click_gives_both_prompts_back(prompt: str, caret: int, negative: str) -> None:
    before = [placed.tag.name for placed in placed_tags(prompt)]
    picked = add_tag(prompt, negative, TAG, network(negative_text="blurry, grey"), caret)
    if "ink" in before or [placed.tag.text for placed in placed_tags(picked.prompt)].count(TAG) != 1:
        return  # The cursor stood where text and tag make something else together.
    back = removed(picked)
    assert (back.prompt, back.negative) == (prompt, negative)


@pytest.mark.parametrize("edited", ["<lora:ink:0.3:te=0@0~1@50%>", "<lora:ink>", '<lora:"ink":-1>', "<LORA:ink:0.80>"])
def test_a_tag_that_was_edited_is_taken_away_all_the_same(edited: str) -> None:
    picked = add_tag("a cat, sitting", "ugly", TAG, network(negative_text="grey"), 5)
    back = removed(picked, picked.prompt.replace(TAG, edited))
    assert (back.prompt, back.negative) == ("a cat, sitting", "ugly")


def test_words_that_were_moved_are_taken_away_and_words_that_were_changed_stay() -> None:
    picked = add_tag("a cat", "", TAG, network(), 5)
    moved = removed(picked, f"wash, a cat, ink style of old, {TAG}")
    assert moved.prompt == "a cat, ink style of old,"


def test_words_that_stood_there_before_stay() -> None:
    picked = add_tag("wash, a cat", "", TAG, network(), 11)
    assert picked.added and picked.added.words == ("ink style",)
    assert removed(picked).prompt == "wash, a cat"


def test_a_tag_that_is_switched_off_is_taken_away_with_its_brackets() -> None:
    picked = add_tag("a cat", "", TAG, network(), 5)
    off = switch(picked.prompt, placed_tags(picked.prompt)[0])
    assert off == "a cat [<lora:ink:0.8>::0], ink style, wash"
    assert removed(picked, off).prompt == "a cat"


def test_without_a_memory_of_the_click_only_the_tag_goes() -> None:
    prompt = f"a cat {TAG}, ink style"
    assert remove_tags(prompt, "", placed_tags(prompt), None).prompt == "a cat, ink style"


def test_captions_are_written_as_a_prompt_needs_them_and_activation_text_as_it_stands() -> None:
    caption = network(("ink (artist)",), trigger_source="training tags")
    assert trigger_words(caption) == ("ink \\(artist\\)",)
    assert trigger_words(caption, "a, ink \\(artist\\)") == ()
    noted = network(("blue", "dress"), activation_text="(blue dress:1.2), hat")
    assert trigger_words(noted) == ("(blue dress:1.2)", "hat")


def test_negative_text_joins_what_is_there() -> None:
    file = network((), negative_text="blurry, grey")
    assert add_tag("", "", TAG, file, 0).negative == "blurry, grey"
    assert add_tag("", "grey, ugly", TAG, file, 0).negative == "grey, ugly, blurry"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, wash, b", "a, b"),
        ("wash, b", "b"),
        ("a, Wash", "a"),
        ("a (x, wash), wash", "a (x, wash)"),
        ("a washer, b", "a washer, b"),
        ("<lora:x:1> wash, b", "<lora:x:1> b"),
        ("a\nwash\nb", "a\n\nb"),
    ],
)
def test_a_piece_goes_with_one_of_its_commas(text: str, expected: str) -> None:
    assert without_piece(text, "wash") == expected


def test_an_embedding_is_a_word_of_its_own() -> None:
    assert add_word("a cat, sitting", "easyneg", 3) == ("a cat, easyneg, sitting", 14)
    assert add_word("", "easyneg", 0) == ("easyneg", 7)
    assert has_word("(EasyNeg:1.2)", "easyneg") and not has_word("easynegative", "easyneg")
    assert without_word("a cat, easyneg, sitting", "easyneg") == "a cat, sitting"
    assert without_word("a cat (easyneg:1.2)", "easyneg") == "a cat (:1.2)"


@given(
    st.recursive(
        st.none() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
    )
)
def test_any_record_of_a_browser_is_read_or_left(record: object) -> None:
    as_added(record)


def test_a_record_survives_the_browser() -> None:
    picked = add_tag("a cat", "b", TAG, network(negative_text="c"), 5)
    assert picked.added
    kept = asdict(picked.added) | {"words": list(picked.added.words)}
    assert as_added(kept) == picked.added
