"""Styles are saved, applied, and shared with other web UIs through styles.csv."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import StorageError
from app.generation.styles import Style, Styles, read_styles, written_styles

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@pytest.mark.parametrize(
    ("style", "prompt", "expected"),
    [
        ("ink, {prompt}, masterpiece", "a cat", "ink, a cat, masterpiece"),
        ("ink", "a cat", "a cat, ink"),
        ("ink", "a cat, ", "a cat, ink"),
        ("", "a cat", "a cat"),
        ("<lora:ink:0.5>", "", "<lora:ink:0.5>"),
    ],
)
def test_a_style_puts_the_prompt_where_it_says_or_follows_it(style: str, prompt: str, expected: str) -> None:
    assert Style("s", style).applied(prompt, "")[0] == expected


@given(st.lists(st.builds(Style, TEXT.filter(str.strip), TEXT, TEXT), unique_by=lambda style: style.name))
def test_styles_survive_the_file(styles: list[Style]) -> None:
    assert list(read_styles(written_styles(styles))) == styles


@given(st.binary(max_size=300))
def test_any_file_is_styles_or_one_error(content: bytes) -> None:
    with suppress(StorageError):  # said, never another error
        read_styles(b"name,prompt,negative_prompt\n" + content)


def test_styles_of_other_web_uis_are_read() -> None:
    content = '\ufeffname,prompt,negative_prompt\r\nNone,,\r\nInk,"a, {prompt}",blurry\r\n'.encode()
    assert read_styles(content) == (Style("None"), Style("Ink", "a, {prompt}", "blurry"))
    assert read_styles(b"name,text\nOld,words\n") == (Style("Old"),)


def test_a_style_of_a_name_that_is_there_takes_its_place(tmp_path: Path) -> None:
    styles = Styles(tmp_path)
    styles.save(Style("a", "1"), Style("b", "2"))
    styles.save(Style("a", "3"))
    assert [style.prompt for style in styles.all().values()] == ["3", "2"]
    styles.delete(Style("a").key)
    assert [style.name for style in styles.all().values()] == ["b"]
