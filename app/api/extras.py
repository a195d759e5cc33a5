"""`extra-single-image` and `extra-batch-images`: pictures, enlarged."""

from __future__ import annotations

import base64
from collections.abc import Mapping

from PIL import Image, ImageOps
from pydantic import BaseModel, ConfigDict, Field

from app.api.txt2img import decoded
from app.errors import RequestError
from app.generation.png import png_bytes, read_infotext, read_picture
from app.generation.request import LARGEST_SIDE

FILTERS: Mapping[str, Image.Resampling] = {
    "None": Image.Resampling.LANCZOS,
    "Lanczos": Image.Resampling.LANCZOS,
    "Nearest": Image.Resampling.NEAREST,
}
BY_FACTOR, TO_SIZE = 0, 1


class Extras(BaseModel):
    """How pictures are enlarged: by a factor, or to a size, cropped to its shape or fitted into it."""

    model_config = ConfigDict(extra="ignore")

    resize_mode: int = Field(BY_FACTOR, ge=BY_FACTOR, le=TO_SIZE)
    upscaling_resize: float = Field(2.0, gt=0, le=64)
    upscaling_resize_w: int = Field(512, ge=1, le=LARGEST_SIDE)
    upscaling_resize_h: int = Field(512, ge=1, le=LARGEST_SIDE)
    upscaling_crop: bool = True
    upscaler_1: str = "None"
    upscaler_2: str = "None"
    extras_upscaler_2_visibility: float = 0
    gfpgan_visibility: float = 0
    codeformer_visibility: float = 0

    def chosen(self) -> Image.Resampling:
        """The filter.

        Raises:
            RequestError: something is asked for that is not there.
        """
        if self.gfpgan_visibility or self.codeformer_visibility:
            raise RequestError("Nothing here restores faces.", where="gfpgan_visibility, codeformer_visibility")
        if self.extras_upscaler_2_visibility and self.upscaler_2 != "None":
            raise RequestError("A second upscaler cannot be mixed in.", where="upscaler_2")
        if self.upscaler_1 not in FILTERS:
            raise RequestError(
                f"{self.upscaler_1!r:.60} not found.", where="upscaler_1", hint=f"Use {', '.join(FILTERS)}."
            )
        return FILTERS[self.upscaler_1]


class SingleExtras(Extras):
    """One picture, in base64."""

    image: str


class NamedPicture(BaseModel):
    """A picture of several, in base64."""

    data: str
    name: str = Field("", max_length=200)


class BatchExtras(Extras):
    """Several pictures."""

    imageList: list[NamedPicture] = Field(min_length=1)


def enlarged(asked: Extras, image: str, where: str) -> str:
    """The picture enlarged, as a PNG in base64. What it says of itself stays with it.

    Raises:
        RequestError: it cannot be read, it would become too large, or something is asked for that is not there.
    """
    resampling = asked.chosen()
    content = decoded(image, where)
    picture = read_picture(content, where)
    width, height = asked.upscaling_resize_w, asked.upscaling_resize_h
    if asked.resize_mode == BY_FACTOR:
        width, height = (max(1, round(side * asked.upscaling_resize)) for side in picture.size)
    if max(width, height) > LARGEST_SIDE:
        raise RequestError(f"It would have a side longer than {LARGEST_SIDE} pixels.", where="upscaling_resize")
    fits = ImageOps.fit if asked.upscaling_crop or asked.resize_mode == BY_FACTOR else ImageOps.contain
    return base64.b64encode(png_bytes(fits(picture, (width, height), resampling), read_infotext(content))).decode()
