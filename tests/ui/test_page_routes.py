"""The page's routes: whose they are, and what they make of bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from starlette.websockets import WebSocketDisconnect

from app.generation.png import png_bytes
from app.generation.request import GenerationRequest
from app.ui.owner import COOKIE
from tests.ui.standin import painting_studio

LIVE = "ws://localhost/app/ws"
QUICK = {"prompt": "a cat", "steps": 2, "width": 64, "height": 64, "seed": 3}


@pytest.fixture(scope="module")
def app_client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """The whole application, started."""
    app = painting_studio(tmp_path_factory.mktemp("studio"), 0.0)
    with TestClient(app, base_url="http://localhost") as client:
        yield client


@pytest.fixture
def tab(app_client: TestClient) -> TestClient:
    """A browser that has just opened the page."""
    return fresh(app_client)


def fresh(client: TestClient) -> TestClient:
    """Another browser on the same studio."""
    other = TestClient(client.app, base_url="http://localhost")
    assert other.get("/").status_code == 200
    return other


def finished(tab: TestClient, **values: object) -> dict[str, object]:
    """Generate, and wait for the job to end; its part of the live state."""
    job = tab.post("/app/generate", json=QUICK | values).json()["id"]
    with tab.websocket_connect(LIVE, headers={"origin": "http://localhost"}) as live:
        while True:
            last = live.receive_json()["last"]
            if last and last["id"] == job:
                return last


def test_a_browser_is_named_once_by_a_cookie_that_no_script_can_read(app_client: TestClient) -> None:
    tab = TestClient(app_client.app, base_url="http://localhost")
    first = tab.get("/")
    assert COOKIE in first.headers["set-cookie"]
    assert "HttpOnly" in first.headers["set-cookie"]
    assert "samesite=strict" in first.headers["set-cookie"].lower()
    assert "set-cookie" not in tab.get("/").headers


def test_a_request_without_a_name_is_refused(app_client: TestClient) -> None:
    nameless = TestClient(app_client.app, base_url="http://localhost")
    assert nameless.post("/app/generate", json=QUICK).status_code == 403
    assert nameless.post("/app/interrupt").status_code == 403


def test_an_image_is_its_owners_alone_and_carries_its_text(tab: TestClient) -> None:
    image = finished(tab)["images"][0]  # type: ignore[index]
    answer = tab.get(image["address"])
    assert answer.headers["content-type"] == "image/png"
    told = tab.post("/app/pnginfo", content=answer.content).json()
    assert told["fields"] | {"checkpoint": ""} == told["fields"] | QUICK | {"checkpoint": ""}
    assert fresh(tab).get(image["address"]).status_code == 404
    assert tab.get(image["address"].replace("/0", "/1")).status_code == 404
    assert tab.get(image["address"].replace("/0", "/-1")).status_code == 404


def test_what_is_shown_is_the_last_image_whatever_ended_since(tab: TestClient) -> None:
    first = finished(tab, seed=4)
    finished(tab, prompt="explode")
    with tab.websocket_connect(LIVE, headers={"origin": "http://localhost"}) as live:
        told = live.receive_json()
    assert told["last"]["state"] == "failed"
    assert told["recent"] == [{"id": first["id"], "seeds": [4]}]
    shown = tab.get(f"/app/jobs/{first['id']}.json").json()
    assert shown["images"] == first["images"]
    thumb = tab.get(f"/app/thumb/{first['id']}/0")
    assert thumb.headers["content-type"] == "image/jpeg"
    for address in (f"/app/jobs/{first['id']}.json", f"/app/thumb/{first['id']}/0"):
        assert fresh(tab).get(address).status_code == 404
    assert tab.get(f"/app/thumb/{first['id']}/1").status_code == 404


def test_a_checkpoint_brings_the_size_it_was_trained_on(tab: TestClient) -> None:
    assert tab.get("/app/size.json?checkpoint=demo").json() == {"width": 512, "height": 512}
    assert tab.get("/app/size.json?checkpoint=nowhere").json() == {"width": 512, "height": 512}


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"steps": 0}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"steps": 2.5}, "steps"),
        ({"width": 100_000}, "width"),
        ({"width": 65}, "width"),
        ({"prompt": ["a"]}, "prompt"),
        ({"prompt": "a" * 100_001}, "prompt"),
        ({"seed": True}, "seed"),
        ({"emphasis": "Loud"}, "emphasis"),
        ({"colour": 1}, "colour"),
        ({"init_image": 1}, "init_image"),
        ({"hires_upscaler": "Magic"}, "hires_upscaler"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(tab: TestClient, values: dict[str, object], field: str) -> None:
    answer = tab.post("/app/generate", json=QUICK | values)
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(f"{field}: ")


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity"])
def test_no_number_is_no_number(tab: TestClient, number: str) -> None:
    body = json.dumps(QUICK)[:-1] + f', "cfg_scale": {number}}}'
    answer = tab.post("/app/generate", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith("cfg_scale: ")


def test_a_failed_job_says_why_in_one_line(tab: TestClient) -> None:
    last = finished(tab, prompt="explode")
    assert last["state"] == "failed"
    assert last["error"] == "There is no network named 'ink2'. Did you mean ink?"


@pytest.mark.parametrize("origin", ["http://evil.example", "null", ""])
def test_the_live_state_is_not_told_to_a_foreign_page(tab: TestClient, origin: str) -> None:
    headers = {"origin": origin} if origin else {}
    with pytest.raises(WebSocketDisconnect), tab.websocket_connect(LIVE, headers=headers) as live:
        live.receive_json()


@pytest.mark.parametrize("content", [b"", b"text", b"\x89PNG\r\n\x1a\n", png_bytes(Image.new("RGB", (8, 8)), "x")[:60]])
def test_a_file_that_is_no_image_is_said_to_be_none(tab: TestClient, content: bytes) -> None:
    answer = tab.post("/app/pnginfo", content=content)
    assert answer.status_code == 422
    assert "cannot be read" in answer.json()["detail"]


def test_an_image_without_parameters_gives_none(tab: TestClient) -> None:
    plain = png_bytes(Image.new("RGB", (8, 8)), "")
    assert tab.post("/app/pnginfo", content=plain).json()["fields"] == {}


def test_the_prompts_are_explained_with_what_is_missing_and_how_long_they_are(tab: TestClient) -> None:
    typed = {"prompt": "😀 [cat:dog:5] <lora:absent:0@0~1@1>", "negative": "a BREAK b", "steps": 10}
    told = tab.post("/app/explain", json=typed).json()
    assert [stage["from"] for stage in told["prompt"]] == [1, 6]
    assert len(told["networks"][0]["strengths"]["unet"]) == 10
    start, end = told["problems"][0]["span"]
    assert typed["prompt"][start:end] == "<lora:absent:0@0~1@1>"  # type: ignore[index]
    assert told["tokens"]["negative"] == {"tokens": 76, "limit": 150}


@pytest.mark.parametrize("name", ["..%2fpage.py", "%2e%2e%2fpage.py", "../page.py", "nothing.js", "."])
def test_nothing_but_the_static_files_is_served_beside_them(tab: TestClient, name: str) -> None:
    assert tab.get(f"/app/static/{name}").status_code == 404


def test_a_script_is_asked_for_again_and_answered_briefly_while_it_is_the_same(tab: TestClient) -> None:
    first = tab.get("/app/static/boot.js")
    again = tab.get("/app/static/boot.js", headers={"if-none-match": first.headers["etag"]})
    assert first.headers["cache-control"] == "no-cache"
    assert again.status_code == 304


def in_fresh_python(code: str) -> str:
    """What a new Python prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    return done.stdout.strip()


def test_the_page_needs_no_torch() -> None:
    code = "import app.ui.page, app.ui.routes, sys; print([m for m in ('torch', 'diffusers') if m in sys.modules])"
    assert in_fresh_python(code) == "[]"


def test_gradio_writes_no_stubs_and_keeps_its_files_below_the_cache(tmp_path: Path) -> None:
    code = f"""
from pathlib import Path
from app.ui.quick_gradio import import_gradio
import_gradio(Path({str(tmp_path / "cache")!r}))
import gradio, gradio.component_meta, gradio.utils, sys
print(gradio.component_meta.create_or_modify_pyi(None, None, None))
print(gradio.utils.get_upload_folder())
print(any(type(finder).__module__.startswith("app.ui") for finder in sys.meta_path))
"""
    assert in_fresh_python(code).splitlines() == ["None", str(tmp_path / "cache"), "False"]


def test_every_field_of_a_request_has_its_control() -> None:
    from app.ui.form import IDS

    assert set(IDS) == {field.name for field in fields(GenerationRequest)} - {"init_image"}
