"""Laws of metadata: the most trusted source names the words, counts are true, and nothing a file says can raise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.networks.civitai import Civitai
from app.networks.metadata import DATES, TRAINING, clean, describe, tag_frequency, training, trigger_words, words
from app.networks.sidecar import Sidecar
from tests.networks.library import note

KEYS = ["ss_tag_frequency", "ss_output_name", "modelspec.title", "modelspec.trigger_phrase", "modelspec.description"]
KEYS += [key for _, keys in TRAINING for key in keys] + list(DATES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=10,
)
COUNTS = st.dictionaries(st.text("ab cé", min_size=1, max_size=5), st.integers(1, 100), max_size=5)

SIDECAR = ("a.json", {"activation text": "mine"})
MODELSPEC = {"modelspec.trigger_phrase": "authors"}
CIVITAI = ("a.civitai.info", {"trainedWords": ["civitais"]})
TAGS = {"ss_tag_frequency": json.dumps({"1_x": {"rare": 1, "often": 9, "usual": 5}})}


@pytest.mark.parametrize(
    ("files", "metadata", "expected", "source"),
    [
        ([SIDECAR, CIVITAI], MODELSPEC | TAGS, ("mine",), "sidecar"),
        ([CIVITAI], MODELSPEC | TAGS, ("authors",), "modelspec"),
        ([CIVITAI], TAGS, ("civitais",), "civitai"),
        ([], TAGS, ("often", "usual"), "training tags"),
        ([], {}, (), ""),
        ([("a.json", {"activation text": " , "})], TAGS, ("often", "usual"), "training tags"),
    ],
)
def test_the_most_trusted_source_names_the_words(
    tmp_path: Path, files: list[tuple[str, Any]], metadata: dict[str, str], expected: tuple[str, ...], source: str
) -> None:
    for name, document in files:
        note(tmp_path / name, document)
    said = describe(tmp_path / "a.safetensors", metadata)
    assert (said.trigger_words, said.trigger_source, said.problems) == (expected, source, ())


@pytest.mark.parametrize(
    ("name", "document"),
    [
        ("a.civitai.info", {"trainedWords": ["ohwx, red dress", "ohwx"], "model": {"name": "Title"}}),
        ("a.metadata.json", {"civitai": {"trainedWords": ["ohwx", "red dress"], "model": {"name": "Title"}}}),
        ("a.json", {"trainedWords": ["ohwx", "red dress"], "name": "Title"}),
        (
            "a.json",
            {
                "name": "Title",
                "modelVersions": [
                    {"files": [{"name": "b.safetensors"}], "trainedWords": ["other"]},
                    {"files": [{"name": "a.safetensors"}], "trainedWords": ["ohwx", "red dress"]},
                ],
            },
        ),
    ],
)
def test_every_layout_of_a_civitai_record_is_read(tmp_path: Path, name: str, document: dict[str, Any]) -> None:
    note(tmp_path / name, document)
    said = describe(tmp_path / "a.safetensors", {})
    assert (said.trigger_words, said.trigger_source, said.title) == (("ohwx", "red dress"), "civitai", "Title")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a, b , ,c", ["a", "b", "c"]),
        ("(a, b:1.2), c", ["(a, b:1.2)", "c"]),
        ("a\nb", ["a", "b"]),
        ("<lora:x:1,2>, y", ["<lora:x:1,2>", "y"]),
        ("a), b", ["a)", "b"]),
        ("(a, b", ["(a, b"]),
        ("", []),
    ],
)
def test_words_part_at_commas_outside_brackets(text: str, expected: list[str]) -> None:
    assert list(words(text)) == expected


@given(st.dictionaries(st.text(max_size=5), COUNTS, max_size=4))
def test_counts_are_the_sums_over_the_datasets(datasets: dict[str, dict[str, int]]) -> None:
    counts, problems = tag_frequency({"ss_tag_frequency": json.dumps(datasets)}, "a")
    expected: dict[str, int] = {}
    for dataset in datasets.values():
        for tag, count in dataset.items():
            if tag.strip():
                expected[tag.strip()] = expected.get(tag.strip(), 0) + count
    assert counts == expected
    assert list(counts.values()) == sorted(counts.values(), reverse=True)
    blank = any(not tag.strip() for dataset in datasets.values() for tag in dataset)
    assert len(problems) == blank


def test_a_flat_table_of_tags_is_read() -> None:
    assert tag_frequency({"ss_tag_frequency": '{"a": 1, "b": 2}'}, "x") == ({"b": 2, "a": 1}, ())


@pytest.mark.parametrize("value", ["nonsense", "[" * 100_000, "[]", "NaN", '"x"', "9" * 5000, "{", '{"a":' * 5000])
def test_unusable_tags_are_one_problem_and_no_tags(value: str) -> None:
    counts, problems = tag_frequency({"ss_tag_frequency": value}, "file")
    assert (counts, len(problems), problems[0].source) == ({}, 1, "file")


@pytest.mark.parametrize("count", ["NaN", "Infinity", "-1", "0", "1.5", "true", '"3"', "null", "1e3", "9" * 30, "[]"])
def test_only_whole_positive_numbers_are_counts(count: str) -> None:
    counts, problems = tag_frequency({"ss_tag_frequency": f'{{"d": {{"a": {count}, "b": 2}}}}'}, "file")
    assert (counts, len(problems)) == ({"b": 2}, 1)


def test_a_training_is_told_in_numbers_where_they_are_numbers() -> None:
    facts = training(
        {
            "ss_network_dim": "16",
            "ss_network_alpha": "8.0",
            "ss_epoch": "10",
            "ss_steps": "None",
            "ss_max_train_steps": "1600",
            "ss_num_train_images": "40",
            "ss_unet_lr": "1e-4",
            "ss_text_encoder_lr": "[1e-05, 1e-05]",
            "ss_resolution": "(512, 768)",
            "ss_sd_model_name": "base.safetensors",
            "ss_clip_skip": "None",
            "ss_training_finished_at": "1700000000.5",
        }
    )
    assert facts == {
        "rank": 16,
        "alpha": 8.0,
        "epochs": 10,
        "steps": 1600,
        "images": 40,
        "unet_learning_rate": 0.0001,
        "text_encoder_learning_rate": "[1e-05, 1e-05]",
        "resolution": "(512, 768)",
        "base_model": "base.safetensors",
        "date": "2023-11-14T22:13:20+00:00",
    }


@pytest.mark.parametrize("date", ["1e400", "-5", "nan", "99999999999999", "yesterday", "", "2024-13-01"])
def test_a_date_that_is_none_is_left_out(date: str) -> None:
    assert training({"ss_training_finished_at": date, "modelspec.date": "2024-05-06"})["date"] == "2024-05-06T00:00:00"


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=50) | JSON.map(json.dumps), max_size=8), JSON)
def test_nothing_a_file_says_can_raise_or_break_json(
    tmp_path_factory: pytest.TempPathFactory, metadata: dict[str, str], document: object
) -> None:
    folder = tmp_path_factory.mktemp("said")
    for suffix in (".json", ".civitai.info", ".metadata.json"):
        note(folder / f"a{suffix}", document)
    said = describe(folder / "a.safetensors", metadata)
    told = [said.title, said.author, said.text, said.trigger_words, said.tag_frequency, said.training]
    json.dumps(told, allow_nan=False, ensure_ascii=False).encode("utf-8")


def test_megabytes_are_cut_and_not_shown() -> None:
    huge = "x" * 10_000_000
    assert len(clean(huge)) == 500
    assert len(str(training({"ss_training_comment": huge})["comment"])) <= 2000
    assert tag_frequency({"ss_tag_frequency": json.dumps({"d": {huge: 1}})}, "a")[0] == {}
    many = json.dumps({"d": {f"t{i}": 1 for i in range(50_000)}})
    assert len(tag_frequency({"ss_tag_frequency": many}, "a")[0]) == 10_000


def test_what_commands_a_terminal_or_turns_text_around_is_taken_out() -> None:
    assert clean("a\x1b[31mb\u202ec\x00\ud800") == "a[31mbc"
    assert clean("水　彩") == "水 彩"


def test_whole_captions_that_were_counted_as_tags_are_no_trigger_words() -> None:
    captions = {f"a cat on background {number}": 1 for number in range(160)}
    assert trigger_words({}, Sidecar(), Civitai(), captions) == ((), "")
    assert trigger_words({}, Sidecar(), Civitai(), captions | {"pixelart": 160})[0] == ("pixelart",)
