"""The page's tour: only what can be made is offered, with its picture and everything that makes it."""

from __future__ import annotations

from pathlib import Path

from app.ui.form import IDS
from tests.ui.network_files import lora_bytes, write_tour
from tests.ui.network_page import studio


def _with_a_tour(models: Path) -> None:
    (models / "loras" / "ink_wash_0000.safetensors").write_bytes(lora_bytes())
    write_tour(models)


def test_the_stops_that_can_be_made_are_offered_with_their_pictures(tmp_path: Path) -> None:
    with studio(tmp_path, _with_a_tour) as tab:
        words, network = tab.get("/app/tour.json").json()["stops"]
        assert (words["title"], network["title"]) == ("Words", "A network")
        assert (network["fields"]["width"], network["fields"]["steps"], words["fields"]["width"]) == (128, 3, 512)
        assert set(words["fields"]) <= set(IDS)
        assert tab.get(words["picture"]).content.startswith(b"RIFF")
        assert network["picture"] is None
        for name in ("network", "missing", "nowhere", "..%2ftour.toml"):
            assert tab.get(f"/app/tour/{name}").status_code == 404


def test_what_a_stop_fills_in_is_a_request(tmp_path: Path) -> None:
    with studio(tmp_path, _with_a_tour) as tab:
        tab.get("/")
        tab.cookies.set("patchbay_owner", "a" * 24)
        for stop in tab.get("/app/tour.json").json()["stops"]:
            assert tab.post("/app/generate", json=stop["fields"]).status_code == 200


def test_a_broken_tour_says_where(tmp_path: Path) -> None:
    with studio(tmp_path, lambda models: write_tour(models, "[[stops]]\nname = 3")) as tab:
        answer = tab.get("/app/tour.json")
        assert answer.status_code == 422 and answer.json()["detail"].startswith("tour: ")
        assert tab.get("/app/tour/words").status_code == 422


def test_a_folder_without_a_tour_offers_nothing(tmp_path: Path) -> None:
    with studio(tmp_path, lambda models: None) as tab:
        assert tab.get("/app/tour.json").json() == {"stops": []}
