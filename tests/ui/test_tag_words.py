"""Words are offered from the tag files that users bring."""

from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.ui.tag_words import MOST_OFFERED, TagWords


def names(words: TagWords, query: str) -> list[str]:
    return [word.name for word, _ in words.search(query)]


def test_the_commonest_words_that_begin_with_it_go_first(tmp_path: Path) -> None:
    lines = ['long_hair,0,900,"longhair,/lh"', "long_skirt,0,300,", "very_long_hair,0,500,", "loose,0", "\ufefforchid"]
    (tmp_path / "tags.csv").write_text("\n".join(lines), encoding="utf-8")
    words = TagWords(tmp_path)
    assert names(words, "long") == ["long hair", "long skirt", "very long hair"]
    assert names(words, "Long_H") == ["long hair", "very long hair"]
    assert words.search("/lh")[0][1] == "/lh"
    assert names(words, "loo") == ["loose"]
    assert names(words, " ") == []


def test_a_file_that_is_put_there_is_read(tmp_path: Path) -> None:
    words = TagWords(tmp_path / "tags")
    assert names(words, "a") == []
    (tmp_path / "tags").mkdir()
    (tmp_path / "tags" / "mine.csv").write_text("".join(f"a{number},0,{number}\n" for number in range(100)))
    found = names(words, "a")
    assert len(found) == MOST_OFFERED and found[0] == "a99"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(content=st.binary(max_size=200))
def test_any_file_is_read_as_far_as_it_goes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tags.csv").write_bytes(content)
    TagWords(tmp_path).search("a")
