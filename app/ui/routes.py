"""The page's own routes, below /app: what the scripts in static/ fetch."""

from __future__ import annotations

from pathlib import Path

from fastapi import APIRouter, Request, Response
from fastapi.staticfiles import StaticFiles

from app.engine.engine import Engine
from app.settings import SettingsStore
from app.ui.job_routes import job_routes
from app.ui.network_routes import network_routes
from app.ui.prompt_routes import prompt_routes
from app.ui.settings_routes import settings_routes
from app.ui.style_routes import style_routes
from app.ui.tour_routes import tour_routes

STATIC = Path(__file__).parent / "static"


def router(engine: Engine, settings: SettingsStore) -> APIRouter:
    """Every route of the page."""
    routes = APIRouter(include_in_schema=False)
    routes.include_router(_static_routes())
    routes.include_router(job_routes(engine, settings))
    routes.include_router(prompt_routes(engine, settings))
    # Before the networks': a style's card has their addresses.
    routes.include_router(style_routes(engine, settings))
    routes.include_router(network_routes(engine, settings))
    routes.include_router(settings_routes(settings))
    routes.include_router(tour_routes(engine, settings))
    return routes


def _static_routes() -> APIRouter:
    routes = APIRouter()
    files = StaticFiles(directory=STATIC)

    @routes.get("/app/static/{name}")
    async def static_file(name: str, request: Request) -> Response:
        """A script, style sheet or drawing; asked for again each time, and answered with 304 while it is the same."""
        answer = await files.get_response(name, request.scope)
        answer.headers["cache-control"] = "no-cache"
        return answer

    return routes
