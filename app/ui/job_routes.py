"""Asking for images, watching them being made, and fetching them. A job, its preview and its images are its owner's."""

from __future__ import annotations

import asyncio
from dataclasses import fields
from typing import Annotated, Any
from urllib.parse import urlsplit

from fastapi import APIRouter, Body, Depends, HTTPException, Request, Response, WebSocket
from fastapi.responses import FileResponse, JSONResponse
from starlette.websockets import WebSocketDisconnect

from app.engine.engine import Engine
from app.engine.jobs import Job
from app.errors import PatchbayError, RequestError
from app.generation.png import png_bytes
from app.generation.request import WHOLE_NUMBERS, GenerationRequest
from app.generation.result import GeneratedImage
from app.settings import SettingsStore
from app.ui.live import finished_state, live_state
from app.ui.owner import owner_of
from app.ui.pictures import preview_jpeg, thumbnail_jpeg

LOOK_INTERVAL = 0.1
"""Seconds between two looks at the engine for a page: smooth to the eye, and a look costs microseconds."""
KEPT = {"cache-control": "private, max-age=31536000, immutable"}
"""An image never changes, and is nobody else's to keep."""
FOREIGN = 4403
"""The WebSocket close code for a page that is not ours."""
FIELDS = frozenset(field.name for field in fields(GenerationRequest)) - {"init_image"}
"""What a form can send."""
TEXTS = frozenset(field.name for field in fields(GenerationRequest) if isinstance(field.default, str)) | {
    "schedule_separator"
}
LONGEST_TEXT = 100_000
"""Characters of a prompt."""


def job_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about jobs."""
    routes = APIRouter()
    _add_actions(routes, engine, settings)
    _add_pictures(routes, engine)

    @routes.websocket("/app/ws")
    async def live(socket: WebSocket) -> None:
        owner = owner_of(socket)
        if not owner or not _is_our_page(socket):
            await socket.close(FOREIGN)
            return
        await socket.accept()
        telling = asyncio.create_task(_tell(socket, engine, owner))
        try:
            while True:
                await socket.receive_text()
        except WebSocketDisconnect:
            pass
        finally:
            telling.cancel()

    return routes


def named_owner(request: Request) -> str:
    """The owner of a request that only a page makes.

    Raises:
        HTTPException: 403, when the browser has lost its cookie; loading the page gives it one.
    """
    owner = owner_of(request)
    if not owner:
        raise HTTPException(403, "This browser sent no name. Allow cookies for this page and reload it.")
    return owner


Owner = Annotated[str, Depends(named_owner)]


def request_of(values: dict[str, Any]) -> GenerationRequest:
    """The request that a form's values make; a value left empty takes its default.

    Raises:
        RequestError: a value is of the wrong type or out of bounds, or there is no such field.
    """
    if unknown := sorted(set(values) - FIELDS):
        raise RequestError("There is no such field.", where=", ".join(unknown)[:80])
    filled = {name: _typed(name, value) for name, value in values.items() if value not in (None, "")}
    return GenerationRequest(**filled).checked()


def _typed(name: str, value: Any) -> Any:
    if name in TEXTS:
        if not isinstance(value, str) or len(value) > LONGEST_TEXT:
            raise RequestError(f"This is not a text of at most {LONGEST_TEXT} characters.", where=name)
        return value
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise RequestError("This is not a number.", where=name)
    return int(value) if name in WHOLE_NUMBERS and value == value // 1 else value


def _add_actions(routes: APIRouter, engine: Engine, settings: SettingsStore) -> None:
    @routes.post("/app/generate")
    def generate(owner: Owner, values: Annotated[dict[str, Any], Body()]) -> Response:
        try:
            job = engine.submit(request_of(values), owner, folder=settings.folders.outputs)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"id": job.id})

    @routes.post("/app/interrupt", status_code=204)
    def interrupt(owner: Owner) -> None:
        engine.interrupt(owner)

    @routes.post("/app/drop", status_code=204)
    def drop(owner: Owner) -> None:
        """Take every job of this browser's that waits out of the queue; the one at work goes on."""
        waiting = [view.id for view in engine.snapshot(owner).jobs if view.state == "queued"]
        for job in filter(None, map(engine.job, waiting)):
            engine.cancel(job)

    @routes.post("/app/skip", status_code=204)
    def skip(owner: Owner) -> None:
        engine.skip(owner)

    @routes.get("/app/models.json")
    def models() -> dict[str, list[str]]:
        """The names of the checkpoints and VAEs that are there now."""
        library = engine.library
        return {
            "checkpoint": [model.name for model in library.checkpoints.entries()],
            "vae": [model.name for model in library.vaes.entries()],
        }

    @routes.get("/app/size.json")
    def size(checkpoint: str) -> dict[str, int]:
        """The size of a new form with this checkpoint: the one it was trained on, unless the settings name another."""
        usual = engine.library.usual(settings.current.generation, checkpoint)
        return {"width": usual.width, "height": usual.height}


def _add_pictures(routes: APIRouter, engine: Engine) -> None:
    @routes.get("/app/preview/{job_id}")
    def preview(job_id: str, owner: Owner) -> Response:
        picture = _owned(engine, job_id, owner).progress.preview
        if picture is None:
            raise HTTPException(404, "There is no preview.")
        return Response(preview_jpeg(picture), media_type="image/jpeg", headers={"cache-control": "no-store"})

    @routes.get("/app/image/{job_id}/{index}")
    def image(job_id: str, index: int, owner: Owner) -> Response:
        """The file itself, with its text."""
        made = _image(engine, job_id, index, owner)
        if made.path is not None and made.path.is_file():
            return FileResponse(made.path, media_type="image/png", headers=KEPT)
        return Response(png_bytes(made.image, made.infotext), media_type="image/png", headers=KEPT)

    @routes.get("/app/thumb/{job_id}/{index}")
    def thumbnail(job_id: str, index: int, owner: Owner) -> Response:
        """A small copy, for the strip."""
        content = thumbnail_jpeg(_image(engine, job_id, index, owner).image)
        return Response(content, media_type="image/jpeg", headers=KEPT)

    @routes.get("/app/jobs/{job_id}.json")
    def job(job_id: str, owner: Owner) -> dict[str, Any]:
        """A job with its images and what they say."""
        snapshot = engine.snapshot(owner)
        known = [*snapshot.jobs, *snapshot.pictured]
        found = next((job for job in known if job.id == job_id), None)
        if found is None:
            raise HTTPException(404, "This job is forgotten; its images are in the folder for images.")
        return finished_state(found)


def _owned(engine: Engine, job_id: str, owner: str) -> Job:
    job = engine.job(job_id)
    if job is None or job.owner != owner:
        raise HTTPException(404, "There is no such image, or it is another browser's.")
    return job


def _image(engine: Engine, job_id: str, index: int, owner: str) -> GeneratedImage:
    made = _owned(engine, job_id, owner).images
    if not 0 <= index < len(made):
        raise HTTPException(404, "There is no such image.")
    return made[index]


async def _tell(socket: WebSocket, engine: Engine, owner: str) -> None:
    """Send the owner's state whenever anything has changed."""
    told = -1
    while True:
        snapshot = engine.snapshot(owner)
        if snapshot.sequence != told:
            told = snapshot.sequence
            await socket.send_json(live_state(snapshot))
        await asyncio.sleep(LOOK_INTERVAL)


def _is_our_page(socket: WebSocket) -> bool:
    """Browsers let any site open a WebSocket anywhere; they name the site, and it must be this host."""
    origin = socket.headers.get("origin", "")
    return urlsplit(origin).netloc == socket.headers.get("host")
