"""What to generate: one record, checked once, that an image remembers and can be generated from again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from app.errors import RequestError

if TYPE_CHECKING:
    from PIL.Image import Image

Emphasis = Literal["None", "Ignore", "Original", "No norm"]
EMPHASIS_MODES: tuple[Emphasis, ...] = ("None", "Ignore", "Original", "No norm")
LATENT_UPSCALERS = (
    "Latent", "Latent (antialiased)", "Latent (bicubic)", "Latent (bicubic antialiased)", "Latent (nearest)",
    "Latent (nearest-exact)",
)  # fmt: skip
"""What enlarges latents, as the web UIs name it."""
PICTURE_UPSCALERS = ("Lanczos", "Nearest")
"""What enlarges a decoded picture."""
UPSCALERS = LATENT_UPSCALERS + PICTURE_UPSCALERS
SEED_LIMIT = 2**32
"""Seeds are below this; a batch counts up from its seed and wraps here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """What to make. Sizes are pixels; steps are sampling steps; seed −1 asks for a random one.

    `checkpoint` and `vae` are names as the page lists them; an empty checkpoint means the one in use. Where a pass
    begins with a picture (`init_image`, or what `hires_scale` enlarges), `denoising_strength` says how much of it is
    made anew: 0 keeps it, 1 begins with nothing but noise.
    """

    prompt: str = ""
    negative_prompt: str = ""
    seed: int = -1
    steps: int = 20
    sampler: str = "Euler a"
    schedule_type: str = "Automatic"
    cfg_scale: float = 7.0
    width: int = 512
    height: int = 512
    batch_count: int = 1
    batch_size: int = 1
    clip_skip: int = 1
    checkpoint: str = ""
    vae: str = "Automatic"
    emphasis: Emphasis = "Original"
    default_strength: float | None = None
    """Of a network tag that gives no number; None takes the setting."""
    schedule_separator: Literal["switch", "ramp"] | None = None
    """What a comma in a tag's schedule does; None takes the setting."""
    init_image: Image | None = field(default=None, compare=False, repr=False)
    """The RGB picture to begin with, brought to the request's size. The image's text holds its hash alone."""
    denoising_strength: float = 0.75
    hires_scale: float = 1.0
    """How much larger a second pass makes the picture; 1 makes none."""
    hires_steps: int = 0
    """The steps of the second pass; 0: as many as `steps`."""
    hires_upscaler: str = "Latent"

    def checked(self) -> GenerationRequest:
        """This request, if every field is within its bounds.

        Raises:
            RequestError: naming the first field that is not, with its bounds.
        """
        self._check_numbers()
        for name in ("width", "height"):
            if getattr(self, name) % SIZE_MULTIPLE:
                raise RequestError(f"{getattr(self, name)} is not a multiple of {SIZE_MULTIPLE}.", where=name)
        if self.emphasis not in EMPHASIS_MODES:
            raise RequestError(f"{self.emphasis!r} is not one of {', '.join(EMPHASIS_MODES)}.", where="emphasis")
        if self.schedule_separator not in (None, "switch", "ramp"):
            raise RequestError(f"{self.schedule_separator!r} is not switch or ramp.", where="schedule_separator")
        if self.hires_upscaler not in UPSCALERS:
            hint = f"Use {', '.join(UPSCALERS)}."
            raise RequestError(f"{self.hires_upscaler!r} is not known.", where="hires_upscaler", hint=hint)
        if self.hires_scale > 1 and max(self.width, self.height) * self.hires_scale > LARGEST_SIDE:
            raise RequestError(f"It makes a side longer than {LARGEST_SIDE} pixels.", where="hires_scale")
        return self

    def _check_numbers(self) -> None:
        for name, low, high in BOUNDS:
            value = getattr(self, name)
            if value is None and name == "default_strength":
                continue
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                raise RequestError(f"{value!r} is not a number.", where=name)
            if not low <= value <= high:
                raise RequestError(f"{value} is outside {low} to {high}.", where=name)
            if name in WHOLE_NUMBERS and value != int(value):
                raise RequestError(f"{value} is not a whole number.", where=name)

    def seeded(self) -> GenerationRequest:
        """This request with its seed decided."""
        return self if self.seed >= 0 else replace(self, seed=random.SystemRandom().randrange(SEED_LIMIT))

    def single(self, index: int) -> GenerationRequest:
        """The request whose only image is image `index` (from 0) of this one."""
        return replace(self, seed=(self.seed + index) % SEED_LIMIT, batch_count=1, batch_size=1)


SIZE_MULTIPLE = 8
LARGEST_SIDE = 8192
WHOLE_NUMBERS = ("seed", "steps", "width", "height", "batch_count", "batch_size", "clip_skip", "hires_steps")
BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("seed", -1, SEED_LIMIT - 1),
    ("steps", 1, 1000),
    ("cfg_scale", 0, 100),
    ("width", 16, LARGEST_SIDE),
    ("height", 16, LARGEST_SIDE),
    ("batch_count", 1, 1000),
    ("batch_size", 1, 64),
    ("clip_skip", 1, 12),
    ("default_strength", -10, 10),
    ("denoising_strength", 0, 1),
    ("hires_scale", 1, 8),
    ("hires_steps", 0, 1000),
)
