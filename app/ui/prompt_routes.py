"""What a text means: a prompt as it is typed, and the parameters that an image carries."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.diffusion.tokens import TokenCount
from app.engine.engine import Engine
from app.engine.reading import read_prompts, triggered
from app.errors import PatchbayError, RequestError
from app.generation.infotext import parse_infotext
from app.generation.png import MAX_FILE_BYTES, MAX_TEXT_CHARACTERS, read_infotext
from app.generation.request import GenerationRequest
from app.prompt.explain import explain
from app.prompt.schedule import ScheduleOptions
from app.settings import SettingsStore
from app.ui.tokens import TokenCounter

LONGEST_PROMPT = 100_000
"""Characters."""


class PromptText(BaseModel):
    """What stands in the form."""

    prompt: str = Field("", max_length=LONGEST_PROMPT)
    negative: str = Field("", max_length=LONGEST_PROMPT)
    steps: int = Field(20, ge=1, le=1000)
    checkpoint: str = ""

    def request(self) -> GenerationRequest:
        """The part of a request that a prompt's meaning depends on."""
        return GenerationRequest(prompt=self.prompt, negative_prompt=self.negative, steps=self.steps)


def prompt_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about texts."""
    routes = APIRouter()
    counter = TokenCounter(engine.library)

    @routes.post("/app/explain")
    def explain_prompts(typed: PromptText) -> dict[str, Any]:
        """What `explain --json` says, with networks that are not there, the trigger words added, and token counts."""
        networks = settings.current.networks
        applied = triggered(typed.prompt, engine.library, networks)
        options = ScheduleOptions(networks.default_strength, networks.schedule_separator, engine.library.tags)
        explanation = explain(applied.prompt, typed.negative, typed.steps, options)
        # Spans count in the text as it stands in the box.
        as_typed = networks.model_copy(update={"auto_apply": "off"})
        reading = read_prompts(typed.request(), engine.library, as_typed)
        tokens = {
            name: _most([counter.count(stage["text"], typed.checkpoint) for stage in explanation[name]])
            for name in ("prompt", "negative")
        }
        problems = [problem.as_json() for problem in reading.problems]
        active = [{"name": file.name, "span": list(tag.span)} for tag, file in reading.files]
        told = {"problems": problems, "added": list(applied.added), "active": active, "tokens": tokens}
        return {**explanation, **told}

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


def _most(counts: list[TokenCount]) -> dict[str, int]:
    """The count of the stage that takes the most tokens."""
    return asdict(max(counts, key=lambda count: (count.limit, count.tokens)))


async def _body(request: Request) -> bytes:
    """The body, read no further than the largest file we open."""
    received = bytearray()
    async for part in request.stream():
        received += part
        if len(received) > MAX_FILE_BYTES:
            raise RequestError(f"The file is larger than {MAX_FILE_BYTES >> 20} MB.", where="image")
    return bytes(received)
