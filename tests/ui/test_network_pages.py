"""The networks as cards: facts, pictures and notes, from files that may be hostile."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from tests.ui.network_files import lora_bytes
from tests.ui.network_page import cards
from tests.ui.standin import painting_studio


@pytest.fixture(scope="module")
def studio_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data folder, with a few networks in it."""
    data = tmp_path_factory.mktemp("studio")
    loras = data / "models" / "loras"
    for name, base in (("ink", "sd15"), ("a/same", "sd15"), ("b/same", "sdxl")):
        path = loras / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lora_bytes(base, {"modelspec.trigger_phrase": f"{name} style"}))
    (loras / "broken.safetensors").write_bytes(b"not a network")
    Image.new("RGB", (600, 300), "red").save(loras / "ink.png")
    (loras / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbut no more")
    return data


@pytest.fixture(scope="module")
def tab(studio_folder: Path) -> Iterator[TestClient]:
    """A browser that has opened the page."""
    with TestClient(painting_studio(studio_folder, 0.0), base_url="http://localhost") as client:
        client.get("/")
        yield client


def test_two_files_of_one_name_are_two_cards_with_tags_of_their_own(tab: TestClient) -> None:
    found = cards(tab)
    assert found["a/same"]["add"] == "<lora:a/same:1>"
    assert found["b/same"]["add"] == "<lora:b/same:1>"
    assert (found["a/same"]["base"], found["b/same"]["base"]) == ("sd15", "sdxl")
    assert found["ink"]["words"] == ["ink style"]


def test_a_broken_file_is_a_card_that_says_so(tab: TestClient) -> None:
    assert cards(tab)["broken"]["problem"]


def test_the_cards_are_not_sent_again_while_they_are_the_same(tab: TestClient) -> None:
    first = tab.get("/app/networks.json")
    assert tab.get("/app/networks.json", headers={"if-none-match": first.headers["etag"]}).status_code == 304


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((512, 512), (256, 256)),
        ((600, 300), (512, 256)),
        ((400, 600), (256, 384)),
        ((64, 64), (64, 64)),
        ((3000, 90), (180, 90)),
        ((7, 4000), (7, 14)),
    ],
)
def test_a_thumbnail_is_small_and_shows_the_whole_picture_but_for_a_panorama_s_ends(
    tab: TestClient, studio_folder: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    Image.new("RGB", size, "red").save(studio_folder / "models" / "loras" / "ink.png")
    answer = tab.get(str(cards(tab)["ink"]["picture"]))
    with Image.open(io.BytesIO(answer.content)) as picture:
        assert (picture.format, picture.size) == ("WEBP", expected)
        assert picture.getpixel((expected[0] // 2, expected[1] // 2))[0] > 200  # type: ignore[index]
    assert tab.get(str(cards(tab)["ink"]["picture"])).content == answer.content


def test_a_picture_that_cannot_be_read_is_no_picture(tab: TestClient) -> None:
    assert tab.get(str(cards(tab)["broken"]["picture"])).status_code == 404


@pytest.mark.parametrize("key", ["..%2f..%2fsettings.toml", "ink.png", "0" * 20, "%00"])
def test_a_key_that_is_nobodys_finds_nothing(tab: TestClient, key: str) -> None:
    assert tab.get(f"/thumbs/{key}").status_code == 404


def test_the_base_of_a_checkpoint_that_does_not_say_is_unknown(tab: TestClient) -> None:
    assert tab.get("/app/base.json", params={"checkpoint": "demo"}).json()["base"] == "unknown"
    assert tab.get("/app/base.json", params={"checkpoint": "../absent"}).json()["base"] == "unknown"


def test_the_base_of_a_diffusers_folder_is_read_from_its_words(tab: TestClient, studio_folder: Path) -> None:
    for name, width, base in (("one", 768, "sd15"), ("two", 1024, "sd2")):
        folder = studio_folder / "models" / "checkpoints" / name
        (folder / "unet").mkdir(parents=True)
        (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
        (folder / "unet" / "config.json").write_text(json.dumps({"cross_attention_dim": width}))
        assert tab.get("/app/base.json", params={"checkpoint": name}).json()["base"] == base


@pytest.mark.parametrize(
    "values", [{"networks.default_strength": "loud"}, {"networks.absent": 1}, {"paths.models": "/"}, {"server": {}}]
)
def test_a_setting_that_cannot_be_is_refused_in_one_line(tab: TestClient, values: dict[str, object]) -> None:
    answer = tab.post("/app/settings", json=values)
    assert answer.status_code == 422
    assert answer.json()["detail"]


def test_every_setting_has_a_control(tab: TestClient) -> None:
    sections = tab.get("/app/settings.json").json()["sections"]
    fields = [field for section in sections for field in section["fields"]]
    assert {field["kind"] for field in fields} == {"text", "number", "choice", "switch", "lines"}
    assert all(field["choices"] for field in fields if field["kind"] == "choice")
    assert {field["key"] for field in fields if field["locked"]} == {"paths.models"}
