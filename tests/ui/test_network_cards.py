"""The networks as cards: facts, pictures and details, of files that may be hostile."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.ui.network_files import lora_bytes
from tests.ui.network_page import LORAS, cards, details


def test_every_file_is_a_card_and_two_of_one_name_are_two(tab: TestClient) -> None:
    seen = cards(tab)
    assert {"ink", "styles/ink", "broken", "noted", "bomb", "easyneg", "demo"} <= set(seen)
    assert seen["ink"]["add"] == "<lora:ink:1>" and seen["styles/ink"]["add"] == "<lora:styles/ink:1>"
    assert seen["ink"]["base"] == "sd15" and seen["styles/ink"]["base"] == "sdxl"
    assert seen["broken"]["problem"]
    assert seen["noted"]["weight"] == 0.6


def test_the_cards_come_compressed_and_once(tab: TestClient) -> None:
    cards(tab)
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
        assert picture.size == (round(256 * 600 / 500), 256)
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
