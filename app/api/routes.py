"""The routes of `/sdapi/v1`."""

from __future__ import annotations

import asyncio
from typing import Any

import anyio.to_thread
from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel

from app.api import models, state
from app.api.answers import ApiRoute
from app.api.extras import BatchExtras, SingleExtras, enlarged
from app.api.options import all_options, change_options
from app.api.txt2img import Img2Img, Txt2Img, answer, decoded
from app.engine.engine import Engine
from app.engine.library import Library
from app.errors import PatchbayError
from app.generation.infotext import parse_infotext
from app.generation.png import read_infotext
from app.settings import SettingsStore

LOOK_SECONDS = 0.02


class PngInfo(BaseModel):
    """An image in base64, with or without `data:…;base64,` before it."""

    image: str


def router(engine: Engine, settings: SettingsStore) -> APIRouter:
    """Every route of the API."""
    routes = APIRouter(prefix="/sdapi/v1", route_class=ApiRoute, tags=["sdapi"])
    _add_generation(routes, engine, settings)
    _add_pictures(routes)
    _add_options(routes, engine, settings)
    _add_models(routes, engine.library)
    _add_networks(routes, engine.library)
    _add_choices(routes, settings)

    @routes.api_route("/{name:path}", methods=["GET", "POST"], include_in_schema=False)
    def unknown(name: str, request: Request) -> None:
        """What other web UIs answer and we do not, and what has another method."""
        raise HTTPException(404, f"There is no {request.method} /sdapi/v1/{name:.100} here.")

    return routes


def _add_generation(routes: APIRouter, engine: Engine, settings: SettingsStore) -> None:
    async def made(asked: Txt2Img) -> dict[str, Any]:
        request = await anyio.to_thread.run_sync(asked.request, settings, engine.library)
        if asked.override_settings and asked.override_settings_restore_afterwards is False:
            change_options(asked.override_settings, settings, engine.library)
        job = engine.submit(request, state.OWNER, folder=settings.folders.outputs if asked.save_images else None)
        while not job.finished.is_set():  # Not a thread each: those are few, and `progress` needs one too.
            await asyncio.sleep(LOOK_SECONDS)
        if job.error:
            raise job.error
        if job.result is None:
            raise PatchbayError("The job was cancelled before it began.")
        return await anyio.to_thread.run_sync(answer, asked, job.result)

    @routes.post("/txt2img")
    async def txt2img(asked: Txt2Img) -> dict[str, Any]:
        """Make images; answers when they are made."""
        return await made(asked)

    @routes.post("/img2img")
    async def img2img(asked: Img2Img) -> dict[str, Any]:
        """Make images from a picture; answers when they are made."""
        return await made(asked)

    @routes.get("/progress")
    def progress(skip_current_image: bool = False) -> dict[str, Any]:
        """How far the running job is."""
        return state.progress(engine, with_image=not skip_current_image)

    @routes.post("/interrupt")
    def interrupt() -> dict[str, Any]:
        """Stop the running job; the images it has are kept."""
        state.interrupt(engine)
        return {}

    @routes.post("/skip")
    def skip() -> None:
        """Leave the image being made."""
        state.skip(engine)


def _add_pictures(routes: APIRouter) -> None:
    @routes.post("/png-info")
    def png_info(asked: PngInfo) -> dict[str, Any]:
        """The text that an image carries, and what it says."""
        text = read_infotext(decoded(asked.image, "image"))
        parsed = parse_infotext(text)
        known = {name: getattr(parsed.request, name) for name in sorted(parsed.present)}
        return {"info": text, "items": {"parameters": text} if text else {}, "parameters": {**parsed.extras, **known}}

    @routes.post("/extra-single-image")
    def enlarge(asked: SingleExtras) -> dict[str, Any]:
        """A picture, enlarged."""
        return {"html_info": "", "image": enlarged(asked, asked.image, "image")}

    @routes.post("/extra-batch-images")
    def enlarge_all(asked: BatchExtras) -> dict[str, Any]:
        """Pictures, enlarged."""
        images = [enlarged(asked, each.data, each.name) for each in asked.imageList]
        return {"html_info": "", "images": images}

    @routes.post("/interrogate")
    def interrogate() -> None:
        """Nothing here describes pictures."""
        raise HTTPException(404, "Model not found: no model that describes pictures is built in.")


def _add_options(routes: APIRouter, engine: Engine, settings: SettingsStore) -> None:
    @routes.get("/options")
    def options() -> dict[str, Any]:
        """The settings."""
        return all_options(settings, engine.library)

    @routes.post("/options")
    def set_options(values: dict[str, Any]) -> None:
        """Change settings."""
        change_options(values, settings, engine.library)

    @routes.get("/cmd-flags")
    def flags() -> dict[str, Any]:
        """What the command line and the environment decided."""
        given = all_options(settings, engine.library)
        pinned = {key.rpartition(".")[2]: given[key] for key in sorted(settings.locked)}
        folders = settings.folders
        return {"api": True, "data_dir": str(folders.data), "models_dir": str(folders.models), **pinned}

    @routes.get("/memory")
    def memory() -> dict[str, Any]:
        """How much memory there is."""
        return state.memory()


def _add_models(routes: APIRouter, library: Library) -> None:
    @routes.get("/sd-models")
    def checkpoints() -> list[dict[str, Any]]:
        """The checkpoints."""
        return models.checkpoints(library)

    @routes.get("/sd-vae")
    def vaes() -> list[dict[str, Any]]:
        """The VAEs."""
        return models.vaes(library)

    @routes.post("/refresh-checkpoints")
    @routes.post("/refresh-vae")
    def refresh_models() -> None:
        """Nothing to do: the folders are read at each listing."""

    @routes.get("/upscalers")
    def upscalers() -> list[dict[str, Any]]:
        """What enlarges pictures."""
        return models.upscalers()

    @routes.get("/latent-upscale-modes")
    def latent_upscalers() -> list[dict[str, Any]]:
        """What enlarges latents."""
        return models.latent_upscalers()

    @routes.get("/face-restorers")
    @routes.get("/realesrgan-models")
    def none_of_them() -> list[dict[str, Any]]:
        """Models of kinds that are not built in."""
        return []


def _add_networks(routes: APIRouter, library: Library) -> None:
    @routes.get("/loras")
    def loras() -> list[dict[str, Any]]:
        """The networks that a tag can name."""
        return models.loras(library)

    @routes.get("/hypernetworks")
    def hypernetworks() -> list[dict[str, Any]]:
        """The hypernetworks that a tag can name."""
        return models.hypernetworks(library)

    @routes.get("/embeddings")
    def embeddings() -> dict[str, Any]:
        """The embeddings that a prompt can name."""
        return models.embeddings(library)

    @routes.post("/refresh-loras")
    def refresh_networks() -> None:
        """Look at the folders of the networks again."""
        library.networks.refresh()
        library.hypernetworks.refresh()

    @routes.post("/refresh-embeddings")
    def refresh_embeddings() -> None:
        """Look at the folders of the embeddings again."""
        library.embeddings.refresh()


def _add_choices(routes: APIRouter, settings: SettingsStore) -> None:
    @routes.get("/samplers")
    def samplers() -> list[dict[str, Any]]:
        """The samplers."""
        return models.samplers()

    @routes.get("/schedulers")
    def schedulers() -> list[dict[str, Any]]:
        """The schedule types."""
        return models.schedulers()

    @routes.get("/prompt-styles")
    def styles() -> list[dict[str, Any]]:
        """The saved pieces of prompts."""
        return models.styles(settings)

    @routes.get("/scripts")
    def scripts() -> dict[str, list[str]]:
        """None: clients look here for extensions that need fields of their own."""
        return {"txt2img": [], "img2img": []}

    @routes.get("/script-info")
    def script_info() -> list[dict[str, Any]]:
        """None, as in `scripts`."""
        return []
