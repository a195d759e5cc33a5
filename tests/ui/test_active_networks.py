"""The list under the prompt: what each tag says and does, and the changes that sliders make."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy
import pytest
from fastapi.testclient import TestClient
from safetensors.numpy import save

from app.networks.files import read_network
from app.plugins import NetworkKind
from tests.diffusion import original
from tests.ui.network_page import active, cards, click, studio, write


def edit(tab: TestClient, prompt: str, change: str, key: str = "all", value: str = "", tag: int = 0) -> Any:
    """Change a tag."""
    question = {"prompt": prompt, "tag": tag, "change": change, "key": key, "value": value}
    return tab.post("/app/prompt/edit", json=question)


@pytest.mark.parametrize(
    ("prompt", "change", "key", "value", "expected"),
    [
        ("a <lora:ink:1>, b", "set", "all", "0.5", "a <lora:ink:0.5>, b"),
        ("a <lora:ink>", "set", "te", "0@0~1@50%", "a <lora:ink:te=0@0~1@50%>"),
        ("<lora:ink:1:0.5>", "set", "unet", "0.7", "<lora:ink:1:0.7>"),
        ("<lora:ink:1:dit=0.5>", "set", "unet", "0.7", "<lora:ink:1:unet=0.7>"),
        ("<lora:ink:1:te=0.5>", "clear", "te", "", "<lora:ink:1>"),
        ("<lora:ink:1:te=0.5>", "clear", "mid", "", "<lora:ink:1:te=0.5>"),
        ("a <lora:ink:0.3:te=1>, b", "switch", "all", "", "a [<lora:ink:0.3:te=1>::0], b"),
        ("a [<lora:ink:0.3:te=1>::0], b", "switch", "all", "", "a <lora:ink:0.3:te=1>, b"),
        ("a [<lora:ink:0.3>::0], b", "set", "all", "1", "a [<lora:ink:1>::0], b"),
        ("a [<lora:ink:0.3>::0] b", "remove", "all", "", "a b"),
        ("a <lora:inc:0.3>, b", "name", "all", "styles/ink", "a <lora:styles/ink:0.3>, b"),
        ('a <lora:"x:y":te=1>, b', "name", "all", "a:b > c", 'a <lora:"a:b > c":te=1>, b'),
        ("a [<lora:inc>::0], b", "name", "all", "ink", "a [<lora:ink>::0], b"),
    ],
)
def test_a_slider_changes_its_argument_and_nothing_else(
    tab: TestClient, prompt: str, change: str, key: str, value: str, expected: str
) -> None:
    assert edit(tab, prompt, change, key, value).json() == {"prompt": expected}


@pytest.mark.parametrize(
    ("seen", "tag", "prompt", "expected"),
    [
        ("<lora:a:1> <lora:b:1>", 1, "<lora:b:1>", ""),
        ("<lora:a:1>", 0, "<lora:b:1> <lora:c:1> <lora:a:1>", "<lora:b:1> <lora:c:1>"),
        ("<lora:a:1> <lora:b:1> <lora:c:1>", 1, "<lora:x:1> <lora:b:1>", "<lora:x:1>"),
        ("<lora:a:1> <lora:a:2>", 1, "<lora:a:2>", ""),
        ("<lora:a:1> x <lora:b:1>", 1, "<lora:a:0.5> <lora:b:1>", "<lora:a:0.5>"),
        ("a <lora:a:1>", 0, "words before <lora:a:0.9>", "words before"),
        ("<lora:a:1> <lora:b:1>", 0, "<lora:a:2>", ""),
        ("<lora:a:1> <lora:b:1>", 0, "<lora:b:1>", None),
        ("<lora:a:1>", 0, "<lora:b:1>", None),
        ("<lora:a:1> <lora:b:1>", 0, "<lora:b:1> <lora:a:2> <lora:a:3>", None),
        ("<lora:a:1>", 3, "", None),
        ("<lora:a:1>", 1, "<lora:a:1> <lora:b:1>", None),
    ],
)
def test_a_click_means_the_tag_that_was_seen_though_the_text_has_changed(
    tab: TestClient, seen: str, tag: int, prompt: str, expected: str | None
) -> None:
    answer = tab.post("/app/prompt/edit", json={"prompt": prompt, "seen": seen, "tag": tag, "change": "remove"})
    assert answer.json().get("prompt") == expected


@pytest.mark.parametrize(
    ("change", "key", "value", "tag"),
    [
        ("set", "all", "loud", 0),
        ("set", "all", "1:te=3", 0),
        ("set", "all", "1> <lora:x", 0),
        ("set", "lbw", "1", 0),
        ("set", "all", "1", 7),
        ("clear", "all", "", 0),
    ],
)
def test_what_cannot_be_written_changes_nothing(tab: TestClient, change: str, key: str, value: str, tag: int) -> None:
    assert edit(tab, "<lora:ink:1:2>", change, key, value, tag).status_code == 422


def test_what_is_off_keeps_its_place_and_says_nothing(tab: TestClient) -> None:
    prompt = "a cat [<lora:gone:0.8>::0]"
    (tag,) = active(tab, prompt)
    assert tag["off"] and tag["strengths"]["all"]["points"][0]["value"] == 0.8
    explained = tab.post("/app/explain", json={"prompt": prompt}).json()
    assert explained["problems"] == [] and explained["networks"] == []


def test_the_list_tells_what_acts_and_what_is_typed(tab: TestClient) -> None:
    (tag,) = active(tab, "<lora:ink:0.5:unet=0@0~1@50%>")
    strengths = tag["strengths"]
    assert strengths["all"]["typed"] and strengths["unet"]["typed"] and not strengths["te"]["typed"]
    assert [point["value"] for point in strengths["te"]["points"]] == [0.5]
    assert strengths["te"]["points"][0]["at"] is None
    assert [(p["value"], p["at"], p["join"]) for p in strengths["mid"]["points"]] == [(0, 0, "~"), (1, 0.5, "")]


def test_the_tags_of_the_negative_prompt_are_told_after_those_of_the_prompt(tab: TestClient) -> None:
    texts = {"prompt": "<lora:ink:1>", "negative": "blurry <lora:ink:0.5>, <lora:noted:1>"}
    told = tab.post("/app/prompt/active", json=texts).json()["active"]
    assert [(tag["box"], tag["index"], tag["name"]) for tag in told] == [
        ("prompt", 0, "ink"),
        ("negative", 0, "ink"),
        ("negative", 1, "noted"),
    ]
    assert told[1]["strengths"]["all"]["points"][0]["value"] == 0.5


def test_a_network_of_another_family_than_the_checkpoint_says_so(tab: TestClient, data: Path) -> None:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    weight = {f"unet.{name}": numpy.zeros((8, 768), numpy.float16)}
    (data / "models" / "checkpoints" / "old.safetensors").write_bytes(save(weight))
    tab.post("/app/networks/refresh")
    ours, other = active(tab, "<lora:ink:1> <lora:styles/ink:1>", "old")
    assert (ours["other"], other["other"]) == ("", "sd15")
    assert not ours["match"]["known"] and "known model" in ours["match"]["reason"]


def test_a_tag_without_a_file_or_a_meaning_says_so(tab: TestClient) -> None:
    missing, void = active(tab, "<lora:inkk:1> <lora:ink:1:loud>")
    assert missing["key"] is None and "ink" in missing["problem"] and missing["near"][0] == "ink"
    assert void["problem"] and void["strengths"] == {}


def test_what_fits_the_checkpoint_is_told_before_it_is_loaded(tab: TestClient, data: Path) -> None:
    original.write(original.reduced("sd15"), data / "models" / "checkpoints" / "small.safetensors")
    prompt = "<lora:ink:1> [<lora:styles/ink:1>::0] <lora:broken:1>"
    first = tab.post("/app/prompt/active", json={"prompt": prompt, "checkpoint": "small"}).json()["active"]
    assert [tag["match"] for tag in first] == [{"known": False, "reason": ""}] * 3
    mine, other, broken = (tag["match"] for tag in active(tab, prompt, "small"))
    assert mine["family"] == "sd15" and mine["matched"] + mine["mismatched"] + mine["unmatched"] == 1
    assert other["matched"] == 0 and "was made for sdxl" in other["error"]
    assert broken["matched"] == 0 and broken["error"]


def test_without_a_checkpoint_it_is_not_known_and_says_why(tab: TestClient) -> None:
    for checkpoint, reason in (("", "No checkpoint"), ("absent", "no checkpoint named"), ("demo", "empty")):
        (tag,) = active(tab, "<lora:ink:1>", checkpoint)
        assert not tag["match"]["known"] and reason in tag["match"]["reason"]


def test_tags_of_an_extensions_kind_are_networks_too(data: Path) -> None:
    with studio(data, write, [NetworkKind("mine", read_network)]) as tab:
        first, second = active(tab, "a <mine:ink:1>, <other:ink:1> <lora:noted:1>")
        assert (first["name"], first["key"], second["name"]) == ("ink", cards(tab)["ink"]["key"], "noted")
        changed = edit(tab, "<mine:ink:1> <lora:noted:1>", "set", "all", "0.5", tag=1).json()
        assert changed["prompt"] == "<mine:ink:1> <lora:noted:0.5>"
        assert click(tab, "ink", "a cat <mine:ink:te=0.2>")["prompt"] == "a cat"
