"""The tour: prompts to click, each with the picture that it makes."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, HTTPException
from fastapi.responses import FileResponse, JSONResponse, Response

from app.engine.engine import Engine
from app.engine.tour import Stop, read_tour, within_reach
from app.errors import PatchbayError
from app.settings import SettingsStore

FILLED = (
    "prompt", "negative_prompt", "seed", "steps", "sampler", "schedule_type", "cfg_scale", "width", "height",
    "batch_count", "batch_size", "clip_skip", "checkpoint", "vae", "emphasis", "hires_scale",
)  # fmt: skip
"""The fields of the form that a stop fills, so that its picture is what comes."""


def tour_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about the tour."""
    routes = APIRouter()

    def stops() -> tuple[Stop, ...]:
        return read_tour(settings.folders.models, engine.library)

    @routes.get("/app/tour.json")
    def tour() -> Response:
        """Every stop that can be made with what is installed."""
        try:
            return JSONResponse({"stops": [_record(stop) for stop in within_reach(stops(), engine.library)]})
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)

    @routes.get("/app/tour/{name}")
    def picture(name: str) -> Response:
        """The picture of a stop; the name is only looked up."""
        try:
            stop = next((stop for stop in stops() if stop.name == name), None)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        if stop is None or not stop.picture.is_file():
            raise HTTPException(404, "There is no such picture.")
        return FileResponse(stop.picture, media_type="image/webp", headers={"cache-control": "max-age=31536000"})

    return routes


def _record(stop: Stop) -> dict[str, Any]:
    seen = stop.picture.stat().st_mtime_ns if stop.picture.is_file() else 0
    return {
        "name": stop.name,
        "title": stop.title,
        "line": stop.line,
        "prompt": stop.request.prompt,
        "picture": f"/app/tour/{stop.name}?v={seen}" if seen else None,
        "fields": {name: getattr(stop.request, name) for name in FILLED},
    }
