"""What a click on a card does to the prompts, and a second one takes away again."""

from __future__ import annotations

import json
from pathlib import Path

from fastapi.testclient import TestClient

from tests.ui.network_files import HOSTILE
from tests.ui.network_page import act, cards, click
from tests.ui.test_page_routes import finished


def test_a_click_adds_the_preferred_strength_the_words_and_the_negative_text_and_a_second_takes_them(
    tab: TestClient,
) -> None:
    first = click(tab, "noted", "a cat", "ugly")
    assert first["is_added"]
    assert first["prompt"] == "a cat <lora:noted:0.6>, noted one"
    assert first["negative"] == "ugly, blurry"
    edited = first["prompt"].replace("0.6", "te=0@0~1@1:unet=0.2")
    second = click(tab, "noted", edited, first["negative"], added=first["added"])
    assert not second["is_added"]
    assert (second["prompt"], second["negative"]) == ("a cat", "ugly")


def test_each_of_two_files_of_one_name_has_its_own_tag(tab: TestClient) -> None:
    both = click(tab, "styles/ink", click(tab, "ink")["prompt"])["prompt"]
    assert "<lora:ink:1>" in both and "<lora:styles/ink:1>" in both
    assert "<lora:styles/ink:1>" not in click(tab, "styles/ink", both)["prompt"]
    assert "<lora:ink:1>" in click(tab, "styles/ink", both)["prompt"]


def test_a_hostile_name_is_only_a_name(tab: TestClient) -> None:
    name = HOSTILE.replace("/", "")
    prompt = click(tab, name)["prompt"]
    active = tab.post("/app/prompt/active", json={"prompt": prompt}).json()["active"]
    assert [tag["file"] for tag in active] == [name]
    assert click(tab, name, prompt)["prompt"] == ""


def test_an_embedding_goes_where_the_cursor_is(tab: TestClient) -> None:
    first = click(tab, "easyneg", "a cat", "ugly", box="negative", caret=4)
    assert (first["prompt"], first["negative"]) == ("a cat", "ugly, easyneg")
    asked = tab.post("/app/prompt/active", json={"negative": first["negative"]}).json()
    assert asked["words"] == [cards(tab)["easyneg"]["key"]]
    assert click(tab, "easyneg", "a cat", first["negative"])["negative"] == "ugly"


def test_uses_are_counted_when_images_are_made_and_favourites_are_kept(tab: TestClient, data: Path) -> None:
    click(tab, "ink")
    assert cards(tab)["ink"]["times"] == 0
    finished(tab, prompt="a <lora:ink:1> <lora:ink:0.2> <lora:styles/ink:0.5> [<lora:noted:1>::0]")
    finished(tab, prompt="a <lora:ink:te=1>", negative_prompt="ugly, easyneg", checkpoint="demo")
    finished(tab, prompt="explode <lora:noted:1>")
    assert act(tab, "favourite", "ink", {"favourite": True}).json() == {"favourite": True}
    card = cards(tab)["ink"]
    assert card["times"] == 2 and card["last"] > 0 and card["favourite"]
    marks = tab.get("/app/networks/marks.json").json()["marks"]
    times = {name: marks[card["key"]]["times"] for name, card in cards(tab).items() if card["key"] in marks}
    assert times == {"ink": 2, "styles/ink": 1, "easyneg": 1, "demo": 1}
    assert json.loads((data / "networks.json").read_text())["lora/ink"]["favourite"] is True
