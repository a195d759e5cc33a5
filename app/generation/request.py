"""What to generate: one record, checked once, that an image remembers and can be generated from again."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace
from typing import Literal

from app.errors import RequestError

Emphasis = Literal["None", "Ignore", "Original", "No norm"]
EMPHASIS_MODES: tuple[Emphasis, ...] = ("None", "Ignore", "Original", "No norm")
SEED_LIMIT = 2**32
"""Seeds are below this; a batch counts up from its seed and wraps here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """A text-to-image request. Sizes are pixels; steps are sampling steps; seed −1 asks for a random one.

    `checkpoint` and `vae` are names as the page lists them; an empty checkpoint means the one in use.
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

    def checked(self) -> GenerationRequest:
        """This request, if every field is within its bounds.

        Raises:
            RequestError: naming the first field that is not, with its bounds.
        """
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
        for name in ("width", "height"):
            if getattr(self, name) % SIZE_MULTIPLE:
                raise RequestError(f"{getattr(self, name)} is not a multiple of {SIZE_MULTIPLE}.", where=name)
        if self.emphasis not in EMPHASIS_MODES:
            raise RequestError(f"{self.emphasis!r} is not one of {', '.join(EMPHASIS_MODES)}.", where="emphasis")
        if self.schedule_separator not in (None, "switch", "ramp"):
            raise RequestError(f"{self.schedule_separator!r} is not switch or ramp.", where="schedule_separator")
        return self

    def seeded(self) -> GenerationRequest:
        """This request with its seed decided."""
        return self if self.seed >= 0 else replace(self, seed=random.SystemRandom().randrange(SEED_LIMIT))

    def single(self, index: int) -> GenerationRequest:
        """The request whose only image is image `index` (from 0) of this one."""
        return replace(self, seed=(self.seed + index) % SEED_LIMIT, batch_count=1, batch_size=1)


SIZE_MULTIPLE = 8
WHOLE_NUMBERS = ("seed", "steps", "width", "height", "batch_count", "batch_size", "clip_skip")
BOUNDS: tuple[tuple[str, float, float], ...] = (
    ("seed", -1, SEED_LIMIT - 1),
    ("steps", 1, 1000),
    ("cfg_scale", 0, 100),
    ("width", 16, 8192),
    ("height", 16, 8192),
    ("batch_count", 1, 1000),
    ("batch_size", 1, 64),
    ("clip_skip", 1, 12),
    ("default_strength", -10, 10),
)
