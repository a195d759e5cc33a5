"""A prepared request as pictures: each of its passes under its own prompts and weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import torch
from PIL.Image import Image
from torch import Tensor

from app.diffusion.decoding import decode
from app.diffusion.encoding import LATENT_MODES, encode_picture, enlarged_latents, enlarged_picture
from app.diffusion.samplers import Start
from app.diffusion.sampling import Sampled, sample
from app.engine.clock import Clock
from app.engine.model import LoadedModel
from app.engine.prompts import Prepared
from app.errors import Problem
from app.patching.plan import PatchPlan


@dataclass(frozen=True, slots=True)
class Painted:
    """The pictures of one run of images, none if it was skipped, and the steps that all passes made of each."""

    pictures: tuple[Image, ...]
    steps: int


@dataclass(frozen=True, slots=True)
class Stand:
    """Where the passes stand: the latents as they are to be decoded, and whether no more is to be done with them."""

    latents: Tensor
    steps: int
    stopped: bool
    skipped: bool = False


@dataclass(frozen=True, slots=True)
class Painter:
    """Makes pictures with one model, and tells its clock of every step. `every` so many steps it shows a preview.

    What there is to tell of the way they were made is given to `say`.
    """

    model: LoadedModel
    clock: Clock
    every: int
    say: Callable[[Problem], None]

    def paint(self, first: Prepared) -> Painted:
        """The pictures of all passes. A job that is interrupted gives them as they stand."""
        asked = first.over.steps + (first.hires.over.steps if first.hires else 0)
        last, stand = first, self._run(first, self._initial(first))
        steps = stand.steps
        if first.hires and not stand.stopped:
            last, stand = first.hires, self._run(first.hires, self._enlarged(first, first.hires, stand.latents))
            steps += stand.steps
        if stand.skipped:
            self.clock.done += asked - steps
            return Painted((), steps)
        return Painted(self._decoded(last.plan, stand.latents, max(1, stand.steps)), steps)

    def _initial(self, prepared: Prepared) -> Start | None:
        """The request's picture, to begin with."""
        picture, over = prepared.request.init_image, prepared.over
        if picture is None:
            return None
        return Start(self._encoded(prepared.plan, (enlarged_picture(picture, (over.width, over.height)),)), over.steps)

    def _enlarged(self, before: Prepared, after: Prepared, latents: Tensor) -> Start:
        """What the first pass made, as large as the second is to make it."""
        over, upscaler = after.over, after.request.hires_upscaler
        factor = self.model.checkpoint.vae_factor
        if upscaler in LATENT_MODES:
            larger = enlarged_latents(latents, (over.height // factor, over.width // factor), upscaler)
        else:
            pictures = self._decoded(before.plan, latents, before.over.planned)
            size = (over.width, over.height)
            larger = self._encoded(after.plan, tuple(enlarged_picture(one, size, upscaler) for one in pictures))
        return Start(larger, over.steps)

    def _run(self, prepared: Prepared, start: Start | None) -> Stand:
        """One pass: encode its prompts, and sample under its plan's weights."""
        clock, over = self.clock, prepared.over
        previewer = self.model.previewer if self.every else None
        request = replace(prepared.request, width=over.width, height=over.height, steps=over.scheduled)
        latest: list[Tensor] = []
        skipped = False

        def after_step(step: int, latents: Tensor, denoised: Tensor) -> bool:
            nonlocal skipped
            latest[:] = [denoised]
            clock.done += 1
            clock.sampling = clock.timings.get("sampling", 0.0) + time.perf_counter() - began
            clock.tell(previewer(denoised[0]) if previewer and step % self.every == 0 else None)
            skipped = clock.control.take_skip()
            return skipped or clock.control.interrupted

        with clock.part("encoding"):
            conditionings = self.model.encoder.conditionings(request, prepared.texts)
        networked = self.model.networked(prepared.plan, prepared.influences, prepared.negative_plan)
        with clock.part("sampling"), networked as at:
            began = time.perf_counter()
            sampled: Sampled = sample(
                self.model.checkpoint,
                request,
                lambda step: conditionings[step - 1],
                before_step=at,
                after_step=after_step,
                start=start,
            )
        whole = sampled.steps == over.steps
        stopped = skipped or clock.control.interrupted
        return Stand(sampled.latents if whole else latest[0], sampled.steps, stopped, skipped)

    def _decoded(self, plan: PatchPlan, latents: Tensor, step: int) -> tuple[Image, ...]:
        with self.clock.part("decoding"), self.model.patched(plan, "vae", first=step):
            decoded = decode(self.model.checkpoint, latents)
        if decoded.upcast:
            self.say(Problem("warning", "The VAE overflowed in half precision; it was run in float32.", source="vae"))
        return decoded.images

    def _encoded(self, plan: PatchPlan, pictures: tuple[Image, ...]) -> Tensor:
        """The latents of pictures, under the VAE's weights of the first step."""
        with self.clock.part("encoding"), self.model.patched(plan, "vae"):
            return torch.cat([*map(partial(encode_picture, self.model.checkpoint), pictures)])
