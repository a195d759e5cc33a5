from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.diffusion.layouts import CONFIGS
from app.diffusion.tokens import CHUNK, Words, chunked, count_tokens, read_tokenizer
from app.errors import CheckpointError
from app.prompt.emphasis import Break, Fragment
from tests.diffusion.models import tokenizer as transformers_tokenizer

CLIP = read_tokenizer(CONFIGS / "clip-tokenizer")
REFERENCE = transformers_tokenizer()
NO_WORDS = Words()


def text(words: str) -> list[Fragment | Break]:
    return [Fragment(words, 1.0)]


def test_the_published_tokens_of_an_astronaut() -> None:
    assert CLIP.ids("a photo of an astronaut riding a horse") == [320, 1125, 539, 550, 18376, 6765, 320, 4558]
    assert (CLIP.begin, CLIP.end, CLIP.pad) == (49406, 49407, 49407)


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60).filter(lambda t: "<|" not in t))
def test_tokens_are_those_of_transformers(words: str) -> None:
    assert CLIP.ids(words) == REFERENCE(words, add_special_tokens=False).input_ids


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.text(alphabet="ab ,x", max_size=200), st.floats(0.1, 2)), max_size=4))
def test_chunks_keep_every_token_in_order(runs: list[tuple[str, float]]) -> None:
    fragments = [Fragment(words, weight) for words, weight in runs]
    chunks = chunked(fragments, CLIP, NO_WORDS)
    assert all(len(chunk) <= CHUNK for chunk in chunks)
    expected = [(token, weight) for words, weight in runs for token in CLIP.ids(words)]
    assert [(token.id, token.weight) for chunk in chunks for token in chunk] == expected


def test_75_tokens_are_one_chunk_and_76_are_two() -> None:
    assert [len(chunk) for chunk in chunked(text("cat " * 75), CLIP, NO_WORDS)] == [75]
    assert [len(chunk) for chunk in chunked(text("cat " * 76), CLIP, NO_WORDS)] == [75, 1]


@pytest.mark.parametrize(("after", "sizes"), [(0, [75, 1]), (10, [65, 11]), (19, [56, 20]), (20, [75, 1])])
def test_a_full_chunk_ends_at_a_comma_at_most_20_tokens_back(after: int, sizes: list[int]) -> None:
    words = "cat " * (74 - after) + "," + " dog" * (after + 1)
    assert [len(chunk) for chunk in chunked(text(words), CLIP, NO_WORDS)] == sizes


def test_break_begins_a_new_chunk() -> None:
    chunks = chunked([Fragment("a cat", 1.0), Break(), Fragment("a dog", 1.0)], CLIP, NO_WORDS)
    assert [len(chunk) for chunk in chunks] == [2, 2]


def test_the_longest_name_of_an_embedding_wins_and_case_does_not_matter() -> None:
    words = Words.of({"old cat": 2, "old cat photo": 3}, CLIP)
    (chunk,) = chunked(text("an Old Cat photo, old cat"), CLIP, words)
    assert [(token.embedding, token.vector) for token in chunk if token.embedding] == [
        *(("old cat photo", n) for n in range(3)),
        *(("old cat", n) for n in range(2)),
    ]


def test_the_vectors_of_an_embedding_stay_in_one_chunk() -> None:
    words = Words.of({"zorp": 10}, CLIP)
    chunks = chunked(text("cat " * 70 + "zorp"), CLIP, words)
    assert [len(chunk) for chunk in chunks] == [70, 10]


def test_the_count_is_of_the_room_of_the_chunks_begun() -> None:
    count = count_tokens(text("cat " * 80), CLIP, NO_WORDS)
    assert (count.tokens, count.limit) == (80, 150)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": "b"}', '{"a": 1}'])
def test_a_folder_that_is_no_tokenizer_is_an_error_that_names_it(tmp_path: Path, content: str) -> None:
    (tmp_path / "vocab.json").write_text(content)
    (tmp_path / "merges.txt").write_text("#version: 0.2\na b\n")
    with pytest.raises(CheckpointError, match=tmp_path.name):
        read_tokenizer(tmp_path)


def test_counting_tokens_needs_no_torch() -> None:
    import subprocess
    import sys

    code = "import app.diffusion.tokens, sys; assert not {'torch', 'transformers', 'diffusers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
