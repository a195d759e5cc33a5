"""The page's routes alone over a small library, and what a browser asks of them: quicker to start than the page."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy
from fastapi import FastAPI
from fastapi.testclient import TestClient
from PIL import Image
from safetensors.numpy import save
from starlette.middleware.gzip import GZipMiddleware

from app.engine.engine import Engine
from app.engine.library import Library
from app.plugins import NetworkKind
from app.settings import SettingsStore
from app.ui.owner import owner_cookie
from app.ui.routes import router
from tests.ui.network_files import HOSTILE, lora_bytes
from tests.ui.standin import Painter

LORAS = "models/loras"
PATIENCE = 300
"""Seconds that a slow import may take on a busy machine."""


def studio(data: Path, write: Callable[[Path], None], kinds: Iterable[NetworkKind] = ()) -> TestClient:
    """A browser on the routes over the library that `write(models)` makes; extensions add `kinds` of tags."""
    models = data / "models"
    for folder in ("checkpoints", "loras", "embeddings", "hypernetworks", "vae"):
        (models / folder).mkdir(parents=True)
    (models / "checkpoints" / "demo.safetensors").touch()
    write(models)
    settings = SettingsStore(data, {"paths.models": models})
    engine = Engine(lambda: Painter(data / "hold", 0.0), Library.of(settings.folders, kinds))

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        with engine:
            yield

    app = FastAPI(lifespan=running)
    app.include_router(router(engine, settings))
    app.add_middleware(GZipMiddleware, minimum_size=1024)
    app.add_middleware(owner_cookie)
    return TestClient(app, base_url="http://localhost")


def cards(tab: TestClient) -> dict[str, dict[str, Any]]:
    """Every card by its name, once all files have been read."""
    while (answer := tab.get("/app/networks.json").json())["reading"]:
        time.sleep(0.01)
    return {card["name"]: card for card in answer["cards"]}


def active(tab: TestClient, prompt: str, checkpoint: str = "") -> list[dict[str, Any]]:
    """The networks of a prompt, once it is known what fits the checkpoint."""
    end = time.monotonic() + PATIENCE
    while True:
        answer = tab.post("/app/prompt/active", json={"prompt": prompt, "checkpoint": checkpoint})
        found: list[dict[str, Any]] = answer.json()["active"]
        if all(tag["match"]["known"] or tag["match"]["reason"] for tag in found if tag["key"]):
            return found
        assert time.monotonic() < end
        time.sleep(0.02)


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
