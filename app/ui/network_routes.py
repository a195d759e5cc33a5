"""The networks there are, as cards: facts, pictures, notes. Names come from files and are only ever looked up."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Body, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.engine.engine import Engine
from app.errors import CheckpointError, NetworkError, PatchbayError
from app.networks.catalog import Catalog
from app.networks.details import details
from app.networks.record import NetworkFile
from app.networks.sidecar import read_sidecar, write_sidecar
from app.prompt.edit import format_tag
from app.settings import SettingsStore
from app.settings.model import NetworkSettings
from app.ui.checkpoint_base import checkpoint_base
from app.ui.thumbnails import Thumbnails, thumbnail_key, thumbnail_version

SHORT_TEXT = 300
"""Characters of a description that a card is searched by; the details have it whole."""
LONGEST_NOTE = 20_000


class Notes(BaseModel):
    """What a user may write about a network; the rest of its sidecar is kept."""

    name: str
    description: str = Field("", max_length=LONGEST_NOTE)
    activation_text: str = Field("", max_length=LONGEST_NOTE)
    negative_text: str = Field("", max_length=LONGEST_NOTE)
    preferred_weight: float = Field(0.0, ge=-10, le=10, allow_inf_nan=False)
    notes: str = Field("", max_length=LONGEST_NOTE)


def network_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about networks."""
    routes = APIRouter()
    catalogs = (engine.library.networks, engine.library.embeddings)
    _add_cards(routes, catalogs, settings)
    _add_pictures(routes, catalogs, Thumbnails(settings.data / "cache" / "thumbnails"))
    _add_details(routes, engine.library.networks)

    @routes.get("/app/base.json")
    def base_model(checkpoint: str) -> dict[str, str]:
        """The family of a checkpoint: cards of another one are dimmed."""
        try:
            return {"base": checkpoint_base(engine.library.checkpoints.find(checkpoint).path)}
        except CheckpointError:
            return {"base": "unknown"}

    return routes


def card(file: NetworkFile, settings: NetworkSettings) -> dict[str, Any]:
    """What the page shows of a network, and what it adds to the prompt."""
    weight = file.preferred_weight or settings.default_strength
    called = file.alias if settings.names == "alias" and file.alias else file.name
    has_picture = file.picture is not None or file.embedded_preview
    return {
        "kind": file.kind,
        "name": file.name,
        "title": file.title,
        "folder": file.folder,
        "bare": file.bare,
        "base": file.base_model,
        "algorithms": list(file.algorithms),
        "size": file.size,
        "time": round(file.mtime),
        "words": list(file.trigger_words),
        "activation": file.activation_text,
        "negative": file.negative_text,
        "tags": list(file.tag_frequency),
        "text": file.description[:SHORT_TEXT],
        "hash": file.autov3 or file.autov2,
        "weight": weight,
        "add": format_tag(called, weight) if file.kind == "lora" else file.bare,
        "picture": f"/thumbs/{thumbnail_key(file)}?v={thumbnail_version(file)}" if has_picture else None,
        "problem": file.refused or (str(file.problems[0]) if file.problems else ""),
    }


def _add_cards(routes: APIRouter, catalogs: Sequence[Catalog], settings: SettingsStore) -> None:
    @routes.get("/app/networks.json")
    def cards(request: Request) -> Response:
        """Every card and how they are shown; an answer of nothing (304) while they are the same."""
        networks = settings.current.networks
        made = {
            "size": networks.card_size,
            "others": networks.show_other_bases,
            "cards": [card(file, networks) for catalog in catalogs for file in catalog.entries()],
        }
        content = json.dumps(made, separators=(",", ":")).encode()
        tag = f'"{hashlib.blake2s(content, digest_size=12).hexdigest()}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        if request.headers.get("if-none-match") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    @routes.post("/app/networks/refresh", status_code=204)
    def refresh() -> None:
        """Look at the folders again."""
        for catalog in catalogs:
            catalog.refresh()


class _Keys:
    """Networks by the key of their picture; made anew when a catalogue's listing is another one."""

    def __init__(self, catalogs: Sequence[Catalog]) -> None:
        self._catalogs = catalogs
        self._made: tuple[tuple[tuple[NetworkFile, ...], ...], dict[str, NetworkFile]] = ((), {})

    def find(self, key: str) -> NetworkFile | None:
        """The network of a key."""
        listings = tuple(catalog.entries() for catalog in self._catalogs)
        seen, files = self._made
        if len(seen) != len(listings) or any(new is not old for new, old in zip(listings, seen, strict=True)):
            files = {thumbnail_key(file): file for listing in listings for file in listing}
            self._made = (listings, files)
        return files.get(key)


def _add_pictures(routes: APIRouter, catalogs: Sequence[Catalog], thumbnails: Thumbnails) -> None:
    keys = _Keys(catalogs)

    @routes.get("/thumbs/{key}")
    def thumbnail(key: str) -> Response:
        file = keys.find(key)
        picture = thumbnails.of(file) if file else None
        if picture is None:
            raise HTTPException(404, "There is no picture.")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(picture, media_type="image/webp", headers=headers)


def _add_details(routes: APIRouter, catalog: Catalog) -> None:
    @routes.get("/app/networks/details.json")
    def network_details(name: Annotated[str, Query(max_length=4096)]) -> Response:
        """Everything that is told of a network without loading it."""
        try:
            return JSONResponse(details(catalog.find(name)))
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 404)

    @routes.post("/app/networks/notes")
    def write_notes(notes: Annotated[Notes, Body()]) -> Response:
        """Save what the user wrote beside the network, in the file that other web UIs share."""
        try:
            file = catalog.find(notes.name)
            sidecar, problems = read_sidecar(file.path)
            if problems and not sidecar.others:
                raise NetworkError(problems[0].message, where=problems[0].source, hint="It is not written over.")
            write_sidecar(file.path, replace(sidecar, **notes.model_dump(exclude={"name"})))
            catalog.refresh()
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"saved": True})
