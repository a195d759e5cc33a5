"""The runs of the denoiser that a request asks for: how large each picture is, and how many steps it takes.

A pass that begins with a picture takes the last steps of its schedule, from where the noise is as strong as the
denoising strength says. Image-to-image takes as many of the request's steps as the web UI does; the second pass takes
all of its own, at the end of a schedule that is longer for it.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.generation.request import SIZE_MULTIPLE, GenerationRequest

NEARLY_ALL = 0.999
"""The strength at which a schedule begins at its first step."""
LONGEST_SCHEDULE = 1000
"""A model knows a thousand levels of noise; a strength too small for a schedule of as many acts as the least it has."""


@dataclass(frozen=True, slots=True)
class Pass:
    """One run: its last `steps` (0: the picture stays as it was) of the `scheduled` steps of its schedule."""

    width: int
    height: int
    steps: int
    scheduled: int

    @property
    def planned(self) -> int:
        """The steps that prompts and strengths are read over: a picture that only comes and goes has one."""
        return max(1, self.steps)


def first_pass(request: GenerationRequest) -> Pass:
    """All of the steps; for image-to-image int(strength · steps) + 1 of them, as the web UI counts, or none at 0."""
    steps = request.steps
    if request.init_image is not None:
        strength = min(request.denoising_strength, NEARLY_ALL)
        steps = int(strength * steps) + 1 if strength > 0 else 0
    return Pass(request.width, request.height, steps, request.steps)


def second_pass(request: GenerationRequest) -> Pass | None:
    """The pass over the enlarged picture, sides rounded down to whole latents; None where none is asked for."""
    if request.hires_scale <= 1:
        return None
    width, height = (int(side * request.hires_scale) // SIZE_MULTIPLE * SIZE_MULTIPLE for side in _size(request))
    steps = request.hires_steps or request.steps
    strength = min(request.denoising_strength, NEARLY_ALL)
    if strength <= 0:
        return Pass(width, height, 0, steps)
    return Pass(width, height, steps, max(steps, int(min(steps / strength, LONGEST_SCHEDULE))))


def steps_per_image(request: GenerationRequest) -> int:
    """The steps of all its passes."""
    second = second_pass(request)
    return first_pass(request).steps + (second.steps if second else 0)


def _size(request: GenerationRequest) -> tuple[int, int]:
    return request.width, request.height
