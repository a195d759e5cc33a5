"""The page's routes alone over a small library: quicker to start than the page."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.middleware.gzip import GZipMiddleware

from app.engine.engine import Engine
from app.engine.library import Library
from app.settings import SettingsStore
from app.ui.owner import owner_cookie
from app.ui.routes import router
from tests.ui.standin import Painter


def studio(data: Path, write: Callable[[Path], None]) -> TestClient:
    """A browser on the routes over the library that `write(models)` makes."""
    models = data / "models"
    for folder in ("checkpoints", "loras", "embeddings", "hypernetworks", "vae"):
        (models / folder).mkdir(parents=True)
    (models / "checkpoints" / "demo.safetensors").touch()
    write(models)
    settings = SettingsStore(data, {"paths.models": models})
    engine = Engine(lambda: Painter(data / "hold", 0.0), Library.of(settings.folders))

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
    """Every card by its name."""
    return {card["name"]: card for card in tab.get("/app/networks.json").json()["cards"]}
