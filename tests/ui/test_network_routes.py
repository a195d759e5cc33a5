"""The networks' routes: cards, pictures, details, what a click changes, and what a user does to the files."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import save

from tests.ui.network_files import HOSTILE, lora_bytes
from tests.ui.network_page import cards, studio
from tests.ui.test_page_routes import finished

LORAS = "models/loras"


def write(models: Path) -> None:
    """A small library."""
    loras = models / "loras"
    (loras / "styles").mkdir()
    frequency = json.dumps({"10_ink": {"ink style": 30, "wash": 20, "paper": 3}})
    (loras / "ink.safetensors").write_bytes(lora_bytes("sd15", {"ss_tag_frequency": frequency, "ss_epoch": "8"}))
    (loras / "styles" / "ink.safetensors").write_bytes(lora_bytes("sdxl"))
    (loras / f"{HOSTILE.replace('/', '')}.safetensors").write_bytes(lora_bytes())
    (loras / "broken.safetensors").write_bytes(b"nothing of the kind")
    (loras / "noted.safetensors").write_bytes(lora_bytes())
    note = {
        "activation text": "noted one",
        "preferred weight": 0.6,
        "negative text": "blurry",
        "other tool": [1, {"x": 2}],
    }
    (loras / "noted.json").write_text(json.dumps(note))
    Image.new("RGB", (600, 500), "teal").save(loras / "noted.preview.png")
    (loras / "bomb.safetensors").write_bytes(lora_bytes())
    (loras / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"\x00" * 500)
    (models / "embeddings" / "easyneg.safetensors").write_bytes(
        save({"emb_params": numpy.zeros((2, 768), numpy.float32)})
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path


@pytest.fixture
def tab(data: Path) -> Iterator[TestClient]:
    """A browser that has opened the page."""
    with studio(data, write) as client:
        client.get("/")
        yield client


def act(tab: TestClient, action: str, name: str, body: dict[str, Any] | None = None) -> Any:
    """Do something to a network."""
    card = cards(tab)[name]
    return tab.post(f"/app/networks/{card['kind']}/{action}/{card['key']}", json=body or {})


def click(tab: TestClient, name: str, prompt: str = "", negative: str = "", **more: Any) -> dict[str, Any]:
    """Click a card."""
    card = cards(tab)[name]
    question = {"prompt": prompt, "negative": negative, "kind": card["kind"], "key": card["key"], "caret": len(prompt)}
    answer = tab.post("/app/prompt/toggle", json=question | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def details(tab: TestClient, name: str, **query: Any) -> dict[str, Any]:
    """The details of a network."""
    card = cards(tab)[name]
    return tab.get(f"/app/networks/{card['kind']}/details/{card['key']}", params=query).json()


# --- looking -----------------------------------------------------------------------------------------------------


def test_every_file_is_a_card_and_two_of_one_name_are_two(tab: TestClient) -> None:
    seen = cards(tab)
    assert {"ink", "styles/ink", "broken", "noted", "bomb", "easyneg", "demo"} <= set(seen)
    assert seen["ink"]["add"] == "<lora:ink:1>" and seen["styles/ink"]["add"] == "<lora:styles/ink:1>"
    assert seen["ink"]["base"] == "sd15" and seen["styles/ink"]["base"] == "sdxl"
    assert seen["broken"]["problem"]
    assert seen["noted"]["weight"] == 0.6


def test_the_cards_come_compressed_and_once(tab: TestClient) -> None:
    first = tab.get("/app/networks.json")
    assert first.headers["content-encoding"] == "gzip"
    again = tab.get("/app/networks.json", headers={"if-none-match": first.headers["etag"]})
    assert again.status_code == 304 and not again.content


def test_a_file_that_is_put_there_appears_and_one_that_is_taken_away_goes(tab: TestClient, data: Path) -> None:
    new = data / LORAS / "new.safetensors"
    new.write_bytes(lora_bytes())
    tab.post("/app/networks/refresh")
    assert "new" in cards(tab)
    key = cards(tab)["new"]["key"]
    new.unlink()
    tab.post("/app/networks/refresh")
    assert "new" not in cards(tab)
    assert tab.get(f"/app/networks/lora/details/{key}").status_code == 404


def test_a_thumbnail_is_small_and_kept(tab: TestClient, data: Path) -> None:
    address = cards(tab)["noted"]["picture"]
    answer = tab.get(address)
    assert answer.headers["content-type"] == "image/webp" and "immutable" in answer.headers["cache-control"]
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert picture.size == (256, 384)
    assert len(list((data / "cache" / "thumbnails").iterdir())) == 1
    assert tab.get(address).content == answer.content


def test_a_picture_that_is_none_is_no_picture(tab: TestClient) -> None:
    assert tab.get(cards(tab)["bomb"]["picture"]).status_code == 404


@pytest.mark.parametrize("key", ["..%2f..%2fsettings.toml", "../../settings.toml", "ink", "%00", "a" * 5000])
def test_a_key_is_looked_up_and_nothing_else(tab: TestClient, key: str) -> None:
    for address in (
        f"/app/networks/lora/thumb/{key}",
        f"/app/networks/lora/details/{key}",
        f"/app/networks/{key}/thumb/x",
    ):
        assert tab.get(address).status_code == 404


def test_details_tell_what_the_training_counted(tab: TestClient) -> None:
    told = details(tab, "ink")
    assert told["tag_frequency"] == {"ink style": 30, "wash": 20, "paper": 3}
    assert told["training"]["epochs"] == 8
    assert told["trigger_words"] == ["ink style", "wash"]
    assert told["reason"] and told["ranks"] == {"2": 1}
    assert "sha256" not in told
    assert re.fullmatch("[0-9a-f]{64}", details(tab, "ink", hashed=True)["sha256"])
    for name in ("broken", "easyneg", "demo"):
        assert details(tab, name)["name"] == name


# --- picking -----------------------------------------------------------------------------------------------------


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


def test_what_is_used_is_counted_and_favourites_are_kept(tab: TestClient, data: Path) -> None:
    click(tab, "ink")
    click(tab, "ink")
    assert act(tab, "favourite", "ink", {"favourite": True}).json() == {"favourite": True}
    card = cards(tab)["ink"]
    assert card["times"] == 2 and card["last"] > 0 and card["favourite"]
    assert json.loads((data / "networks.json").read_text())["lora/ink"]["favourite"] is True


# --- active networks ---------------------------------------------------------------------------------------------


def active(tab: TestClient, prompt: str) -> list[dict[str, Any]]:
    """The networks of a prompt."""
    return tab.post("/app/prompt/active", json={"prompt": prompt}).json()["active"]


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
    ],
)
def test_a_slider_changes_its_argument_and_nothing_else(
    tab: TestClient, prompt: str, change: str, key: str, value: str, expected: str
) -> None:
    answer = edit(tab, prompt, change, key, value).json()
    assert answer["prompt"] == expected
    assert answer["active"] == active(tab, expected)


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


def test_a_network_of_another_family_than_the_checkpoint_says_so(tab: TestClient, data: Path) -> None:
    name = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    weight = {f"unet.{name}": numpy.zeros((8, 768), numpy.float16)}
    (data / "models" / "checkpoints" / "old.safetensors").write_bytes(save(weight))
    tab.post("/app/networks/refresh")
    question = {"prompt": "<lora:ink:1> <lora:styles/ink:1>", "checkpoint": "old"}
    ours, other = tab.post("/app/prompt/active", json=question).json()["active"]
    assert (ours["other"], other["other"]) == ("", "sd15")


def test_a_tag_without_a_file_or_a_meaning_says_so(tab: TestClient) -> None:
    missing, void = active(tab, "<lora:inkk:1> <lora:ink:1:loud>")
    assert missing["key"] is None and "ink" in missing["problem"]
    assert void["problem"] and void["strengths"] == {}


# --- files -------------------------------------------------------------------------------------------------------


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


def test_trigger_words_are_not_applied_where_the_user_opted_out(tab: TestClient) -> None:
    assert act(tab, "notes", "noted", {"activation_text": "noted one", "auto_apply": False}).status_code == 200
    explained = tab.post("/app/explain", json={"prompt": "<lora:noted:1> <lora:ink:1>"}).json()
    assert explained["added"] == []
