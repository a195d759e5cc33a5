"""The styles: listed, applied, saved, and taken to and from other programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi.responses import FileResponse, JSONResponse
from pydantic import BaseModel, Field

from app.engine.engine import Engine
from app.errors import PatchbayError, RequestError
from app.generation.styles import LARGEST_FILE, LONGEST_NAME, LONGEST_TEXT, Style, Styles, read_styles, written_styles
from app.settings import SettingsStore
from app.ui.job_routes import Owner
from app.ui.style_cards import KIND, StyleCards
from app.ui.styling import is_applied, without

LONGEST_PROMPT = 100_000
_KEY = re.compile(r"[0-9a-f]{1,64}")


class StyleText(BaseModel):
    """A style as the page sends it."""

    name: str = Field(min_length=1, max_length=LONGEST_NAME)
    prompt: str = Field("", max_length=LONGEST_TEXT)
    negative: str = Field("", max_length=LONGEST_TEXT)


class Prompts(BaseModel):
    """What stands in the boxes."""

    prompt: str = Field("", max_length=LONGEST_PROMPT)
    negative: str = Field("", max_length=LONGEST_PROMPT)


class Click(Prompts):
    """A click on a style's card."""

    key: str = Field(max_length=100)


class Picture(BaseModel):
    """An image that a job of this browser has made."""

    job: str = Field(max_length=100)
    index: int = Field(0, ge=0)


def style_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about styles. What cards of all kinds ask for has the addresses of networks."""
    routes = APIRouter()
    styles, cards = Styles(settings.data), StyleCards(settings.data)
    _add_texts(routes, styles, cards)
    _add_clicks(routes, styles)
    _add_cards(routes, engine, styles, cards)
    _add_exchange(routes, styles)
    return routes


def _add_texts(routes: APIRouter, styles: Styles, cards: StyleCards) -> None:

    @routes.get("/app/styles.json")
    def listed() -> Response:
        """Every style, by name."""
        try:
            found = sorted(styles.all().items(), key=lambda item: item[1].name.casefold())
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"styles": [_record(key, style, cards) for key, style in found]})

    @routes.post("/app/styles")
    def save(text: StyleText) -> Response:
        """Save a style, in place of one of its name."""
        style = Style(text.name, text.prompt, text.negative)
        return _done(lambda: styles.save(style))

    @routes.post("/app/styles/delete")
    def delete(key: Annotated[str, Body(embed=True, max_length=100)]) -> Response:
        """Take a style away, and its picture."""

        def change() -> None:
            styles.delete(key)
            if _KEY.fullmatch(key):
                cards.forget(key)

        return _done(change)


def _add_clicks(routes: APIRouter, styles: Styles) -> None:
    @routes.post("/app/styles/toggle")
    def toggle(click: Click) -> Response:
        """Both prompts with a style, or without it where it is in them."""
        try:
            style = _found(styles, click.key)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        shorter = without(style, click.prompt, click.negative)
        prompt, negative = shorter or style.applied(click.prompt, click.negative)
        return JSONResponse({"prompt": prompt, "negative": negative, "is_added": shorter is None})

    @routes.post("/app/styles/active")
    def active(typed: Prompts) -> Response:
        """The keys of the styles that are in the prompts."""
        try:
            found = styles.all()
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse(
            {"keys": [key for key, style in found.items() if is_applied(style, typed.prompt, typed.negative)]}
        )


def _add_cards(routes: APIRouter, engine: Engine, styles: Styles, cards: StyleCards) -> None:
    @routes.post("/app/networks/style/favourite/{key}")
    def favour(key: str, favourite: Annotated[bool, Body(embed=True)]) -> Response:
        """Make the style a favourite, or no longer."""
        return _done(lambda: cards.marks.favour(KIND, _found(styles, key).name, favourite), favourite=favourite)

    @routes.post("/app/networks/style/preview/{key}")
    def set_picture(key: str, picture: Picture, owner: Owner) -> Response:
        """Make an image of this browser's the style's picture."""
        job = engine.job(picture.job)
        if job is None or job.owner != owner or picture.index >= len(job.images):
            return JSONResponse({"detail": "There is no such image, or it is another browser's."}, 404)
        image = job.images[picture.index].image
        return _done(lambda: cards.keep_picture(_found(styles, key).key, image))

    @routes.get("/app/networks/style/thumb/{key}")
    def picture(key: str) -> Response:
        """The picture of a style."""
        path = cards.picture(key) if _KEY.fullmatch(key) else None
        if path is None:
            raise HTTPException(404, "There is no picture.")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return FileResponse(path, media_type="image/webp", headers=headers)


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


def _found(styles: Styles, key: str) -> Style:
    style = styles.all().get(key)
    if style is None:
        raise RequestError("This style is not there any more.", where="style")
    return style


def _record(key: str, style: Style, cards: StyleCards) -> dict[str, Any]:
    version = cards.version(key)
    return {
        "key": key,
        "name": style.name,
        "prompt": style.prompt,
        "negative": style.negative,
        "favourite": cards.mark(style.name).get("favourite", False),
        "picture": f"/app/networks/style/thumb/{key}?v={version}" if version else None,
    }


def _done(change: Callable[[], None], **answer: object) -> Response:
    try:
        change()
    except PatchbayError as error:
        return JSONResponse(error.as_json(), 422)
    return JSONResponse({"saved": True, **answer})
