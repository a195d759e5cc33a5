"""What a user does to the files of a network: notes, a picture, another name, the trash."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.ui.network_page import LORAS, act, active, cards, details
from tests.ui.test_page_routes import finished


def test_notes_are_saved_where_other_programs_read_them_and_their_keys_stay(tab: TestClient, data: Path) -> None:
    notes = {"activation_text": "one, two", "preferred_weight": 0.9, "notes": "mine", "auto_apply": False}
    assert act(tab, "notes", "noted", notes).json() == {"saved": True}
    kept = json.loads((data / LORAS / "noted.json").read_text())
    assert kept["activation text"] == "one, two" and kept["preferred weight"] == 0.9 and kept["notes"] == "mine"
    assert kept["other tool"] == [1, {"x": 2}] and kept["auto apply"] is False
    assert details(tab, "noted")["auto_apply"] is False
    assert cards(tab)["noted"]["words"] == ["one", "two"]
    act(tab, "notes", "noted", notes | {"auto_apply": True})
    assert "auto apply" not in json.loads((data / LORAS / "noted.json").read_text())


def test_notes_that_are_not_ours_are_not_written_over(tab: TestClient, data: Path) -> None:
    (data / LORAS / "ink.json").write_text("not json")
    tab.post("/app/networks/refresh")
    assert act(tab, "notes", "ink", {"notes": "x"}).status_code == 422
    assert (data / LORAS / "ink.json").read_text() == "not json"


def test_a_preview_is_an_image_of_ones_own(tab: TestClient, data: Path) -> None:
    job = finished(tab)["id"]
    assert act(tab, "preview", "noted", {"job": job, "index": 0}).json() == {"saved": True}
    assert (data / LORAS / "noted.png").is_file()
    assert [path.name for path in (data / "trash").rglob("*.png")] == ["noted.preview.png"]
    assert tab.get(cards(tab)["noted"]["picture"]).status_code == 200
    stranger = TestClient(tab.app, base_url="http://localhost")
    stranger.get("/")
    assert act(stranger, "preview", "noted", {"job": job, "index": 0}).status_code == 404
    assert act(tab, "preview", "noted", {"job": job, "index": 9}).status_code == 404


def test_a_network_is_renamed_with_what_lies_beside_it(tab: TestClient, data: Path) -> None:
    act(tab, "favourite", "noted", {"favourite": True})
    assert act(tab, "rename", "noted", {"name": "better.name"}).json()["name"] == "better.name"
    names = {path.name for path in (data / LORAS).iterdir() if "name" in path.name or "noted" in path.name}
    assert names == {"better.name.safetensors", "better.name.json", "better.name.preview.png"}
    card = cards(tab)["better.name"]
    assert card["favourite"] and card["weight"] == 0.6 and card["picture"]


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a\0b", "ink", "a" * 180, "con:1", "trailing "])
def test_a_name_that_cannot_be_used_renames_nothing(tab: TestClient, data: Path, name: str) -> None:
    before = sorted(path.name for path in (data / LORAS).rglob("*"))
    assert act(tab, "rename", "noted", {"name": name}).status_code == 422
    assert sorted(path.name for path in (data / LORAS).rglob("*")) == before


def test_a_deleted_network_lies_in_the_trash_and_its_tag_says_so(tab: TestClient, data: Path) -> None:
    assert act(tab, "delete", "noted").json()["deleted"]
    trashed = {path.name for path in (data / "trash").rglob("*") if path.is_file()}
    assert trashed == {"noted.safetensors", "noted.json", "noted.preview.png"}
    assert "noted" not in cards(tab)
    assert active(tab, "<lora:noted:1>")[0]["problem"]


def test_notes_that_two_networks_share_stay_with_the_other(tab: TestClient, data: Path) -> None:
    (data / LORAS / "noted.pt").write_bytes(b"pickle")
    tab.post("/app/networks/refresh")
    act(tab, "delete", "noted")
    assert (data / LORAS / "noted.json").is_file()


def test_trigger_words_are_not_applied_where_the_user_opted_out_or_switched_off(tab: TestClient) -> None:
    assert tab.post("/app/settings", json={"networks.auto_apply": "all"}).status_code == 200
    question = {"prompt": "<lora:noted:1> [<lora:ink:1>::0]"}
    assert tab.post("/app/explain", json=question).json()["added"] == ["noted one"]
    assert act(tab, "notes", "noted", {"activation_text": "noted one", "auto_apply": False}).status_code == 200
    assert tab.post("/app/explain", json=question).json()["added"] == []
