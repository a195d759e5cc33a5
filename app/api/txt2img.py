"""`txt2img`: a request in the web UIs' words, and its answer."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pydantic import BaseModel, ConfigDict

from app import __version__
from app.api.options import REQUEST_FIELDS, vae_name
from app.engine.library import Library
from app.errors import RequestError
from app.generation.choices import find_sampler
from app.generation.infotext import parse_infotext
from app.generation.png import png_bytes
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.settings import SettingsStore

RENAMED: Mapping[str, str] = {"n_iter": "batch_count"}
DIRECT = ("prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter")


class Txt2Img(BaseModel):
    """The fields that are heeded; the many others that clients send are ignored. None means not given."""

    model_config = ConfigDict(extra="ignore")

    prompt: str | None = None
    negative_prompt: str | None = None
    seed: int | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    width: int | None = None
    height: int | None = None
    batch_size: int | None = None
    n_iter: int | None = None
    sampler_name: str | None = None
    sampler_index: str | None = None
    scheduler: str | None = None
    override_settings: dict[str, Any] | None = None
    override_settings_restore_afterwards: bool | None = True
    infotext: str | None = None
    send_images: bool | None = True
    save_images: bool | None = False
    enable_hr: bool | None = False
    script_name: str | None = None

    def request(self, settings: SettingsStore, library: Library) -> GenerationRequest:
        """The generation asked for: these fields, else the infotext's, else the settings' and the API's defaults.

        Raises:
            RequestError: a field is out of bounds, or names nothing there is.
            CheckpointError: there is no such checkpoint or VAE.
        """
        if self.enable_hr:
            raise RequestError("A second pass at a higher resolution cannot be made yet.", where="enable_hr")
        if self.script_name:
            raise RequestError(f"Script {self.script_name!r} not found.", where="script_name")
        values = self._defaults(settings)
        if self.infotext:
            parsed = parse_infotext(self.infotext)
            values |= {name: getattr(parsed.request, name) for name in parsed.present}
        given = {name: getattr(self, name) for name in DIRECT}
        values |= {RENAMED.get(name, name): value for name, value in given.items() if value is not None}
        overrides = self.override_settings or {}
        values |= {field: overrides[name] for name, field in REQUEST_FIELDS.items() if name in overrides}
        name = self.sampler_name or self.sampler_index
        if name or self.scheduler:
            schedule = self.scheduler or ("" if name else values["schedule_type"])
            values["sampler"], values["schedule_type"] = find_sampler(name or values["sampler"], schedule)
        values["vae"] = vae_name(values["vae"], library)
        if values["checkpoint"]:
            values["checkpoint"] = library.checkpoints.find(str(values["checkpoint"])).name
        return GenerationRequest(**values).checked()

    @staticmethod
    def _defaults(settings: SettingsStore) -> dict[str, Any]:
        ours = settings.current.generation
        chosen = {name: getattr(ours, name) for name in ("checkpoint", "vae", "clip_skip", "emphasis")}
        return {"steps": 50, "sampler": "Euler", "schedule_type": "Automatic", **chosen}


def answer(asked: Txt2Img, result: GenerationResult) -> dict[str, Any]:
    """The body: the images in base64, the request as it was sent, and `info` as a JSON string."""
    images = [base64.b64encode(png_bytes(made.image, made.infotext)).decode() for made in result.images]
    return {
        "images": images if asked.send_images is not False else [],
        "parameters": asked.model_dump(),
        "info": json.dumps(_info(result)),
    }


def _info(result: GenerationResult) -> dict[str, Any]:
    first = result.images[0].request if result.images else replace(result.request, batch_count=1, batch_size=1)
    made = [image.request for image in result.images]
    extras = parse_infotext(result.images[0].infotext).extras if result.images else {}
    return {
        "prompt": first.prompt,
        "all_prompts": [each.prompt for each in made],
        "negative_prompt": first.negative_prompt,
        "all_negative_prompts": [each.negative_prompt for each in made],
        "seed": first.seed,
        "all_seeds": [each.seed for each in made],
        "subseed": -1,
        "all_subseeds": [-1 for _ in made],
        "subseed_strength": 0,
        "width": first.width,
        "height": first.height,
        "sampler_name": first.sampler,
        "cfg_scale": first.cfg_scale,
        "steps": first.steps,
        "batch_size": result.request.batch_size,
        "restore_faces": False,
        "face_restoration_model": None,
        "sd_model_name": first.checkpoint,
        "sd_model_hash": extras.get("Model hash"),
        "sd_vae_name": None if first.vae == "Automatic" else first.vae,
        "sd_vae_hash": extras.get("VAE hash"),
        "seed_resize_from_w": -1,
        "seed_resize_from_h": -1,
        "denoising_strength": None,
        "extra_generation_params": dict(extras),
        "index_of_first_image": 0,
        "infotexts": [image.infotext for image in result.images],
        "styles": [],
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": first.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"Patchbay {__version__}",
        "interrupted": result.interrupted,
        "problems": [problem.as_json() for problem in result.problems],
    }
