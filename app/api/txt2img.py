"""`txt2img` and `img2img`: a request in the web UIs' words, and its answer."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import HTTPException
from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict

from app import __version__
from app.api.options import REQUEST_FIELDS, vae_name
from app.engine.library import Library
from app.errors import RequestError
from app.generation.choices import find_sampler
from app.generation.infotext import parse_infotext
from app.generation.png import png_bytes, read_picture
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.generation.styles import Styles
from app.settings import SettingsStore

RENAMED: Mapping[str, str] = {"n_iter": "batch_count"}
JUST_RESIZE, CROP_AND_RESIZE = 0, 1
DIRECT = ("prompt", "negative_prompt", "seed", "steps", "cfg_scale", "width", "height", "batch_size", "n_iter")
HIRES: Mapping[str, str] = {
    "hr_second_pass_steps": "hires_steps",
    "hr_upscaler": "hires_upscaler",
    "denoising_strength": "denoising_strength",
}
HIRES_REFUSED = (
    "hr_resize_x", "hr_resize_y", "hr_checkpoint_name", "hr_sampler_name", "hr_scheduler", "hr_prompt",
    "hr_negative_prompt",
)  # fmt: skip
"""What a second pass has of the first. Clients send these empty, or saying the same."""
REFUSED: Mapping[str, str] = {
    "restore_faces": "Restoring faces",
    "tiling": "Tiling",
    "subseed_strength": "A variation seed",
    "seed_resize_from_w": "Resizing a seed",
    "seed_resize_from_h": "Resizing a seed",
    "refiner_checkpoint": "A refiner",
}
"""Fields that would change the picture and cannot: no client shall believe that they did."""


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
    enable_hr: bool | None = None
    hr_scale: float | None = None
    hr_second_pass_steps: int | None = None
    hr_upscaler: str | None = None
    hr_resize_x: int | None = None
    hr_resize_y: int | None = None
    hr_checkpoint_name: str | None = None
    hr_sampler_name: str | None = None
    hr_scheduler: str | None = None
    hr_prompt: str | None = None
    hr_negative_prompt: str | None = None
    denoising_strength: float | None = None
    script_name: str | None = None
    alwayson_scripts: dict[str, Any] | None = None
    styles: list[str] | None = None
    restore_faces: bool | None = None
    tiling: bool | None = None
    subseed_strength: float | None = None
    seed_resize_from_w: int | None = None
    seed_resize_from_h: int | None = None
    refiner_checkpoint: str | None = None

    def request(self, settings: SettingsStore, library: Library) -> GenerationRequest:
        """The generation asked for: these fields, else the infotext's, else the settings' and the API's defaults.

        Raises:
            RequestError: a field is out of bounds, or names nothing there is.
            CheckpointError: there is no such checkpoint or VAE.
        """
        self._refuse_what_is_not_built()
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
        values |= self._styled(values, settings)
        return GenerationRequest(**values | self.hires()).checked()

    def _refuse_what_is_not_built(self) -> None:
        for script in [self.script_name, *(self.alwayson_scripts or {})]:
            if script:
                raise RequestError(f"Script {script!r:.60} not found.", where="script_name, alwayson_scripts")
        for name, wanted in REFUSED.items():
            given = getattr(self, name)
            if given and given != -1:
                raise RequestError(f"{wanted} is not built in; {given!r:.60} was asked for.", where=name)

    def _styled(self, values: Mapping[str, Any], settings: SettingsStore) -> dict[str, str]:
        """Both prompts, with the styles of these names applied one after the other."""
        if not self.styles:
            return {}
        known = {style.name: style for style in Styles(settings.data).all().values()}
        prompt, negative = str(values.get("prompt", "")), str(values.get("negative_prompt", ""))
        for name in self.styles:
            if name not in known:
                raise RequestError(f"There is no style named {name!r:.80}.", where="styles")
            prompt, negative = known[name].applied(prompt, negative)
        return {"prompt": prompt, "negative_prompt": negative}

    def hires(self) -> dict[str, Any]:
        """The fields about a second pass, as far as they are given.

        Raises:
            RequestError: it asks for what a second pass cannot have.
        """
        if not self.enable_hr:
            return {} if self.enable_hr is None else {"hires_scale": 1.0}
        for name in HIRES_REFUSED:
            given = getattr(self, name)
            if (
                given
                and not str(given).startswith("Use same")
                and given != getattr(self, name.removeprefix("hr_"), None)
            ):
                raise RequestError(f"A second pass cannot have its own: {given!r:.60}.", where=name)
        scale = 2.0 if self.hr_scale is None else self.hr_scale
        if scale <= 1:
            raise RequestError(f"A second pass enlarges; {scale} does not.", where="hr_scale")
        fields = {"hires_scale": scale, **{ours: getattr(self, theirs) for theirs, ours in HIRES.items()}}
        return {name: value for name, value in fields.items() if value is not None}

    @staticmethod
    def _defaults(settings: SettingsStore) -> dict[str, Any]:
        ours = settings.current.generation
        chosen = {name: getattr(ours, name) for name in ("checkpoint", "vae", "clip_skip", "emphasis")}
        return {"steps": 50, "sampler": "Euler", "schedule_type": "Automatic", **chosen}


class Img2Img(Txt2Img):
    """The fields that are heeded beyond those of `txt2img`; a second pass is not among them."""

    init_images: list[str] | None = None
    include_init_images: bool | None = False
    mask: str | None = None
    resize_mode: int | None = 0

    def request(self, settings: SettingsStore, library: Library) -> GenerationRequest:
        """The generation asked for, with its picture.

        Raises:
            HTTPException: 404, where there is no picture.
            RequestError: as `txt2img`; or the picture cannot be read, or is to be used in a way that is not known.
        """
        if not self.init_images:
            raise HTTPException(404, "Init image not found")
        if len(self.init_images) > 1:
            raise RequestError("There can be one picture.", where="init_images", hint="Send a request for each.")
        if self.mask:
            raise RequestError("Masks cannot be used yet.", where="mask")
        if self.resize_mode not in (None, JUST_RESIZE, CROP_AND_RESIZE):
            raise RequestError("It is 0 (just resize) or 1 (crop and resize).", where="resize_mode")
        picture = read_picture(decoded(self.init_images[0], "init_images"), "init_images")
        request = super().request(settings, library)
        if self.resize_mode == CROP_AND_RESIZE:
            picture = ImageOps.fit(picture, (request.width, request.height), Image.Resampling.LANCZOS)
        strength = request.denoising_strength if self.denoising_strength is None else self.denoising_strength
        return replace(request, init_image=picture, denoising_strength=strength).checked()

    def hires(self) -> dict[str, Any]:
        """None: the picture is as large as it is asked for."""
        return {"hires_scale": 1.0}


def decoded(text: str, where: str) -> bytes:
    """The bytes of base64, with or without `data:…;base64,` before it. Nothing is fetched from an address.

    Raises:
        RequestError: it is not base64.
    """
    try:
        return base64.b64decode(text.partition("base64,")[2] or text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError("This is not base64.", where=where) from error


def answer(asked: Txt2Img, result: GenerationResult) -> dict[str, Any]:
    """The body: the images in base64, the request as it was sent, and `info` as a JSON string."""
    images = [base64.b64encode(png_bytes(made.image, made.infotext)).decode() for made in result.images]
    hidden = {"init_images": None, "mask": None} if isinstance(asked, Img2Img) and not asked.include_init_images else {}
    return {
        "images": images if asked.send_images is not False else [],
        "parameters": asked.model_dump() | hidden,
        "info": json.dumps(_info(asked, result)),
    }


def _info(asked: Txt2Img, result: GenerationResult) -> dict[str, Any]:
    first = result.images[0].request if result.images else replace(result.request, batch_count=1, batch_size=1)
    made = [image.request for image in result.images]
    from_picture = first.init_image is not None or first.hires_scale > 1
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
        "denoising_strength": first.denoising_strength if from_picture else None,
        "extra_generation_params": dict(extras),
        "index_of_first_image": 0,
        "infotexts": [image.infotext for image in result.images],
        "styles": list(asked.styles or ()),
        "job_timestamp": time.strftime("%Y%m%d%H%M%S"),
        "clip_skip": first.clip_skip,
        "is_using_inpainting_conditioning": False,
        "version": f"Patchbay {__version__}",
        "interrupted": result.interrupted,
        "problems": [problem.as_json() for problem in result.problems],
    }
