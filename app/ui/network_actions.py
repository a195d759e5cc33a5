"""What a user does to a network's files: notes, a preview, another name, the trash; and to its card: a star."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Response
from fastapi.responses import JSONResponse
from PIL import Image
from pydantic import BaseModel, Field

from app.engine.engine import Engine
from app.errors import NetworkError, PatchbayError, StorageError
from app.generation.png import png_bytes
from app.networks.record import NetworkFile
from app.networks.scan import legible
from app.networks.sidecar import AUTO_APPLY, beside, read_sidecar, write_sidecar
from app.settings import SettingsStore, write_atomically
from app.ui.file_moves import companions, move_to_trash, rename_network
from app.ui.job_routes import Owner
from app.ui.marks import Marks
from app.ui.shelves import Shelves, network_key

LONGEST_NOTE = 20_000
LARGEST_PREVIEW = (768, 1152)
"""Pixels; a preview is looked at, not kept as an image."""
Saved = Callable[[NetworkFile], dict[str, Any]]


class Notes(BaseModel):
    """What a user may write about a network; the rest of its sidecar is kept."""

    description: str = Field("", max_length=LONGEST_NOTE)
    base_model: str = Field("", max_length=100)
    activation_text: str = Field("", max_length=LONGEST_NOTE)
    negative_text: str = Field("", max_length=LONGEST_NOTE)
    preferred_weight: float = Field(0.0, ge=-10, le=10, allow_inf_nan=False)
    notes: str = Field("", max_length=LONGEST_NOTE)
    auto_apply: bool = True


class Picture(BaseModel):
    """An image that a job of this browser has made."""

    job: str = Field(max_length=100)
    index: int = Field(0, ge=0)


def action_routes(engine: Engine, settings: SettingsStore, shelves: Shelves, marks: Marks) -> APIRouter:
    """The routes that change a network's files. What was replaced or deleted lies in the data folder's trash."""
    routes = APIRouter()
    trash = settings.data / "trash"

    @routes.post("/app/networks/{kind}/notes/{key}")
    def write_notes(kind: str, key: str, notes: Notes) -> Response:
        """Save notes beside the network, in the file that other web UIs share."""
        return _acted(shelves, kind, key, lambda file: _noted(file, notes))

    @routes.post("/app/networks/{kind}/rename/{key}")
    def rename(kind: str, key: str, name: Annotated[str, Body(embed=True, max_length=200)]) -> Response:
        """Give the network, and what lies beside it, another name in its folder."""

        def change(file: NetworkFile) -> dict[str, Any]:
            new = rename_network(file, name, shelves.catalogs[file.kind].entries())
            marks.rename(file.kind, file.name, new)
            return {"name": new, "key": network_key(replace(file, name=new))}

        return _acted(shelves, kind, key, change)

    @routes.post("/app/networks/{kind}/delete/{key}")
    def delete(kind: str, key: str) -> Response:
        """Move the network, and what lies beside it, to the trash."""
        catalog = shelves.catalogs
        return _acted(shelves, kind, key, lambda file: _deleted(file, trash, catalog[file.kind].entries()))

    _add_preview(routes, engine, shelves, trash)
    _add_favourites(routes, shelves, marks)
    return routes


def _acted(shelves: Shelves, kind: str, key: str, change: Saved) -> Response:
    """Change a network's files, then look at its folder again."""
    try:
        file = shelves.find(kind, key)
        answer = change(file)
        shelves.catalogs[file.kind].refresh()
    except PatchbayError as error:
        return JSONResponse(error.as_json(), 422)
    return JSONResponse(answer)


def _add_preview(routes: APIRouter, engine: Engine, shelves: Shelves, trash: Path) -> None:
    @routes.post("/app/networks/{kind}/preview/{key}")
    def set_preview(kind: str, key: str, picture: Picture, owner: Owner) -> Response:
        """Make an image of this browser's the network's picture."""
        job = engine.job(picture.job)
        if job is None or job.owner != owner or picture.index >= len(job.images):
            return JSONResponse({"detail": "There is no such image, or it is another browser's."}, 404)
        image = job.images[picture.index]

        def change(file: NetworkFile) -> dict[str, Any]:
            if file.picture is not None:
                move_to_trash([file.picture], trash)
            _write_picture(file, image.image, image.infotext)
            return {"saved": True}

        return _acted(shelves, kind, key, change)


def _add_favourites(routes: APIRouter, shelves: Shelves, marks: Marks) -> None:
    @routes.post("/app/networks/{kind}/favourite/{key}")
    def favour(kind: str, key: str, favourite: Annotated[bool, Body(embed=True)]) -> Response:
        """Make the network a favourite, or no longer."""
        try:
            file = shelves.find(kind, key)
            marks.favour(file.kind, file.name, favourite)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"favourite": favourite})


def _noted(file: NetworkFile, notes: Notes) -> dict[str, Any]:
    sidecar, problems = read_sidecar(file.path)
    if problems and not sidecar.others:
        raise NetworkError(problems[0].message, where=problems[0].source, hint="It is not written over.")
    others = {name: value for name, value in sidecar.others.items() if name != AUTO_APPLY}
    others |= {} if notes.auto_apply else {AUTO_APPLY: False}
    write_sidecar(file.path, replace(sidecar, others=others, **notes.model_dump(exclude={"auto_apply"})))
    return {"saved": True}


def _write_picture(file: NetworkFile, image: Image.Image, infotext: str) -> None:
    """The picture beside a network, with the settings it was made with."""
    small = image.convert("RGB")
    small.thumbnail(LARGEST_PREVIEW, Image.Resampling.LANCZOS)
    path = beside(file.path, ".png")
    try:
        write_atomically(path, png_bytes(small, infotext))
    except OSError as error:
        raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(path)) from error


def _deleted(file: NetworkFile, trash: Path, others: Sequence[NetworkFile]) -> dict[str, Any]:
    folder = move_to_trash([file.path, *companions(file, others)], trash / file.kind)
    return {"deleted": True, "trash": legible(str(folder))}
