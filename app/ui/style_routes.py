"""The styles: listed, applied, saved, and taken to and from other programs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.errors import PatchbayError, RequestError
from app.generation.styles import LARGEST_FILE, LONGEST_NAME, LONGEST_TEXT, Style, Styles, read_styles, written_styles
from app.settings import SettingsStore

LONGEST_PROMPT = 100_000


class StyleText(BaseModel):
    """A style as the page sends it."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    prompt: str = Field("", max_length=LONGEST_TEXT)
    negative: str = Field("", max_length=LONGEST_TEXT)


class Application(BaseModel):
    """The prompts that a style is applied to."""

    key: str = Field(max_length=100)
    prompt: str = Field("", max_length=LONGEST_PROMPT)
    negative: str = Field("", max_length=LONGEST_PROMPT)


def style_routes(settings: SettingsStore) -> APIRouter:
    """The routes about styles."""
    routes = APIRouter()
    styles = Styles(settings.data)

    @routes.get("/app/styles.json")
    def listed() -> Response:
        """Every style, by name."""
        try:
            found = sorted(styles.all().items(), key=lambda item: item[1].name.casefold())
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"styles": [_record(key, style) for key, style in found]})

    @routes.post("/app/styles")
    def save(text: StyleText) -> Response:
        """Save a style, in place of one of its name."""
        style = Style(text.name, text.prompt, text.negative)
        return _done(lambda: styles.save(style))

    @routes.post("/app/styles/delete")
    def delete(key: Annotated[str, Body(embed=True, max_length=100)]) -> Response:
        """Take a style away."""
        return _done(lambda: styles.delete(key))

    @routes.post("/app/styles/apply")
    def apply(asked: Application) -> Response:
        """Both prompts with a style."""
        try:
            style = styles.all().get(asked.key)
            if style is None:
                raise RequestError("This style is not there any more.", where="style")
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        prompt, negative = style.applied(asked.prompt, asked.negative)
        return JSONResponse({"prompt": prompt, "negative": negative})

    _add_exchange(routes, styles)
    return routes


def _add_exchange(routes: APIRouter, styles: Styles) -> None:
    @routes.get("/app/styles.csv")
    def exported() -> Response:
        """The file for other programs."""
        try:
            content = written_styles(styles.all().values())
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        headers = {"content-disposition": 'attachment; filename="styles.csv"'}
        return Response(content, media_type="text/csv", headers=headers)

    @routes.post("/app/styles/import")
    async def imported(request: Request) -> Response:
        """Add the styles of a file, which is the request's body."""
        received = bytearray()
        async for part in request.stream():
            received += part
            if len(received) > LARGEST_FILE:
                return JSONResponse({"detail": "The file is too large."}, 413)
        try:
            found = read_styles(bytes(received))
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        if not found:
            detail = "There are no styles in this file. Its columns are name, prompt and negative_prompt."
            return JSONResponse({"detail": detail}, 422)
        return _done(lambda: styles.save(*found), count=len(found))


def _record(key: str, style: Style) -> dict[str, Any]:
    return {"key": key, "name": style.name, "prompt": style.prompt, "negative": style.negative}


def _done(change: Callable[[], None], **answer: object) -> Response:
    try:
        change()
    except PatchbayError as error:
        return JSONResponse(error.as_json(), 422)
    return JSONResponse({"saved": True, **answer})
