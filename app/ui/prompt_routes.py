"""What a text means: a prompt as it is typed, and the parameters that an image carries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.engine.engine import Engine
from app.errors import PatchbayError, RequestError
from app.generation.infotext import parse_infotext
from app.generation.png import MAX_FILE_BYTES, MAX_TEXT_CHARACTERS, read_infotext
from app.settings import SettingsStore

LONGEST_PROMPT = 100_000
"""Characters."""


class PromptText(BaseModel):
    """What stands in the form."""

    prompt: str = Field("", max_length=LONGEST_PROMPT)
    negative: str = Field("", max_length=LONGEST_PROMPT)
    steps: int = Field(20, ge=1, le=1000)


def prompt_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about texts."""
    routes = APIRouter()

    @routes.post("/app/pnginfo")
    async def pnginfo(request: Request) -> Response:
        """The settings in an image file, which is the request's body."""
        try:
            return JSONResponse(settings_of(read_infotext(await _body(request))))
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)

    @routes.post("/app/infotext")
    def infotext(text: Annotated[str, Body(embed=True, max_length=MAX_TEXT_CHARACTERS)]) -> dict[str, Any]:
        """The settings in a text that was copied from an image."""
        return settings_of(text)

    return routes


def settings_of(text: str) -> dict[str, Any]:
    """An infotext as the form takes it: `fields` by name, the other keys as `extras`, and what could not be used."""
    parsed = parse_infotext(text)
    return {
        "infotext": text,
        "fields": {name: value for name, value in asdict(parsed.request).items() if name in parsed.present},
        "extras": dict(parsed.extras),
        "problems": [problem.as_json() for problem in parsed.problems],
    }


async def _body(request: Request) -> bytes:
    """The body, read no further than the largest file we open."""
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MAX_FILE_BYTES:
            raise RequestError(f"The file is larger than {MAX_FILE_BYTES >> 20} MB.", where="image")
    return bytes(received)
