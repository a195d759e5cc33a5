"""The networks there are, as cards: facts, pictures, details. Names come from files and are only ever looked up."""

from __future__ import annotations

import hashlib
import json
import logging
from typing import Any

from fastapi import APIRouter, HTTPException, Request, Response
from fastapi.responses import JSONResponse

from app.engine.engine import Engine
from app.engine.forecast import Forecasts
from app.engine.jobs import Job
from app.errors import CheckpointError, NetworkError, StorageError
from app.networks.details import details, record_at
from app.networks.record import NOT_READ, NetworkFile
from app.networks.sidecar import AUTO_APPLY, read_sidecar
from app.settings import SettingsStore
from app.settings.model import NetworkSettings
from app.ui.marks import Mark, Marks
from app.ui.network_actions import action_routes
from app.ui.picking import TAG_KINDS, added_text, trigger_words
from app.ui.picking_routes import embeddings_in, picking_routes
from app.ui.shelves import Shelves, network_key
from app.ui.thumbnails import Thumbnails, thumbnail_version

log = logging.getLogger(__name__)
SHORT_TEXT = 300
"""Characters of a description that a card is searched by; the details have it whole."""
LONGEST_VALUE = 100_000
"""Characters of one metadata value that are shown."""


def network_routes(engine: Engine, settings: SettingsStore) -> APIRouter:
    """The routes about networks."""
    routes = APIRouter()
    shelves, marks = Shelves(engine.library, settings.folders), Marks(settings.data)
    engine.when_ended(lambda job: count_uses(job, shelves, marks))
    _add_cards(routes, shelves, marks, settings)
    _add_facts(routes, shelves, Thumbnails(settings.data / "cache" / "thumbnails"))
    routes.include_router(action_routes(engine, settings, shelves, marks))
    forecasts = Forecasts(engine.library, lambda: settings.current.networks.loader)
    routes.include_router(picking_routes(shelves, settings, forecasts))

    @routes.get("/app/base.json")
    def base_model(checkpoint: str) -> dict[str, str]:
        """The family of a checkpoint, read from its header: cards of another one are dimmed."""
        try:
            record = record_at(engine.library.checkpoints.find(checkpoint).path, "checkpoint")
        except (CheckpointError, NetworkError) as error:
            return {"base": "unknown", "reason": str(error)}
        return {"base": record.base_model, "reason": record.reason}

    return routes


def card(key: str, file: NetworkFile, mark: Mark, networks: NetworkSettings) -> dict[str, Any]:
    """What the page shows of a network, and what it adds to the prompt."""
    has_picture = file.picture is not None or file.embedded_preview
    picture = f"/app/networks/{file.kind}/thumb/{key}?v={thumbnail_version(file)}" if has_picture else None
    return {
        "kind": file.kind,
        "key": key,
        "name": file.name,
        "title": file.title,
        "folder": file.folder,
        "bare": file.bare,
        "base": file.base_model,
        "reason": file.reason,
        "algorithms": list(file.algorithms),
        "size": file.size,
        "time": round(file.mtime),
        "words": list(file.trigger_words),
        "tags": list(file.tag_frequency),
        "text": file.description[:SHORT_TEXT],
        "hash": file.autov3 or file.autov2,
        "weight": file.preferred_weight or networks.default_strength,
        "add": added_text(file, networks),
        "writes": trigger_words(file) if file.kind in TAG_KINDS else (),
        "picture": picture,
        "problem": file.refused or (str(file.problems[0]) if file.problems else ""),
        "unread": file.reason == NOT_READ,
        "favourite": mark.get("favourite", False),
        "times": mark.get("times", 0),
        "last": mark.get("last", 0),
    }


def count_uses(job: Job, shelves: Shelves, marks: Marks) -> None:
    """Mark everything that a job's images were made with."""
    if job.result is None or not job.result.images:
        return
    request = job.result.request
    words = embeddings_in(f"{request.prompt}\n{request.negative_prompt}", shelves).values()
    used = [(file.kind, file.name) for file in words]
    named = [(shelves.library.catalog(use.kind), use.name) for use in job.result.networks]
    chosen = {"checkpoint": request.checkpoint, "vae": request.vae}
    named += [(shelves.catalogs[kind], name) for kind, name in chosen.items() if name not in ("", "Automatic")]
    for catalog, name in named:
        try:
            file = catalog.find(name)
        except NetworkError:
            continue  # taken away while the images were made
        used.append((file.kind, file.name))
    try:
        marks.count_uses(used)
    except StorageError as error:
        log.warning("The use of networks is not counted: %s", error)


def _add_cards(routes: APIRouter, shelves: Shelves, marks: Marks, settings: SettingsStore) -> None:
    @routes.get("/app/networks.json")
    def cards(request: Request) -> Response:
        """Every card and how they are shown; an answer of nothing (304) while they are the same."""
        networks = settings.current.networks
        reading = shelves.reading()  # asked first: cards made after the last file was read are whole
        made = [
            card(key, file, marks.of(kind, file.name), networks)
            for kind in shelves.catalogs
            for key, file in shelves.keyed(kind).items()
        ]
        shown = {"size": networks.card_size, "others": networks.show_other_bases, "cards": made}
        shown["reading"] = reading
        content = json.dumps(shown, separators=(",", ":")).encode()
        tag = f'"{hashlib.blake2s(content, digest_size=12).hexdigest()}"'
        headers = {"etag": tag, "cache-control": "no-cache"}
        # A proxy, or our own compression, may mark the tag as weak.
        if request.headers.get("if-none-match", "").removeprefix("W/") == tag:
            return Response(status_code=304, headers=headers)
        return Response(content, media_type="application/json", headers=headers)

    @routes.get("/app/networks/marks.json")
    def how_often() -> dict[str, Any]:
        """How many times and when last images were made with each network, by its key, as `marks`."""
        keyed = ((key, marks.of(kind, f.name)) for kind in shelves.catalogs for key, f in shelves.keyed(kind).items())
        return {"marks": {key: {"times": m["times"], "last": m["last"]} for key, m in keyed if "times" in m}}

    @routes.get("/app/networks/reading.json")
    def reading() -> dict[str, Any]:
        """How many files of how many a first look has read, as `reading`; null once it is over."""
        return {"reading": shelves.reading()}

    @routes.post("/app/networks/refresh", status_code=204)
    def refresh() -> None:
        """Look at the folders again."""
        shelves.refresh()


def _add_facts(routes: APIRouter, shelves: Shelves, thumbnails: Thumbnails) -> None:
    @routes.get("/app/networks/{kind}/thumb/{key}")
    def thumbnail(kind: str, key: str) -> Response:
        """The picture of a network; the page draws its own where there is none, or none that can be read."""
        try:
            picture = thumbnails.of(shelves.find(kind, key))
        except NetworkError as error:
            raise HTTPException(404, str(error)) from None
        if picture is None:
            raise HTTPException(404, "There is no picture.")
        headers = {"cache-control": "private, max-age=31536000, immutable"}
        return Response(picture, media_type="image/webp", headers=headers)

    @routes.get("/app/networks/{kind}/details/{key}")
    def network_details(kind: str, key: str, hashed: bool = False) -> Response:
        """Everything that is told of a network without loading it; `hashed` computes its hashes, which takes long."""
        try:
            file = shelves.find(kind, key)
            told = details(file, shelves.catalogs[file.kind].hashes(file) if hashed else None)
        except NetworkError as error:
            return JSONResponse(error.as_json(), 404)
        sidecar, _ = read_sidecar(file.path)
        others = {name: value for name, value in sidecar.others.items() if name != AUTO_APPLY}
        metadata = told["metadata"]
        assert isinstance(metadata, dict)
        told["metadata"] = {name: value[:LONGEST_VALUE] for name, value in metadata.items()}
        return JSONResponse(told | {"key": network_key(file), "others": sorted(others)})
