"""From a request to images: the model, the prompts on it, the steps, the picture, and the text that remembers it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

from PIL.Image import Image
from torch import Tensor

from app.diffusion.decoding import decode
from app.diffusion.device import OutOfMemory, Placement, choose_placement
from app.diffusion.sampling import Sampled, sample
from app.engine.engine import Keep
from app.engine.jobs import Control
from app.engine.library import Library
from app.engine.model import LoadedModel, MemoryChoice, ModelHolder
from app.engine.prompts import Prepared, prepare
from app.engine.reading import Reading, read_prompts, refuse
from app.errors import CheckpointError, Problem
from app.generation.infotext import format_hashes, format_infotext
from app.generation.request import SEED_LIMIT, GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, NetworkUse, Progress
from app.plugins import Extensions
from app.settings import SettingsStore

Report = Callable[[Progress], None]


@dataclass(slots=True)
class Clock:
    """Where a job stands: steps done of all its runs, and the seconds that each part has taken."""

    report: Report
    control: Control
    images: int = 1
    steps: int = 0
    done: int = 0
    began: float = field(default_factory=time.perf_counter)
    sampling: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    state: str = "loading"

    @contextmanager
    def part(self, state: str) -> Iterator[None]:
        """Time a part of the job, and say that it has begun."""
        self.state = state
        self.tell()
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timings[state] = self.timings.get(state, 0.0) + time.perf_counter() - began

    def tell(self, preview: Image | None = None, message: str = "") -> None:
        """Report the job as it stands."""
        now = time.perf_counter()
        remaining = self.sampling / self.done * (self.steps - self.done) if self.done else None
        elapsed = now - self.began
        self.report(
            Progress(self.state, self.done, self.steps, 0, self.images, 0, elapsed, remaining, preview, message)
        )


@dataclass(slots=True)
class Outcome:
    """What a job has given so far."""

    images: list[GeneratedImage] = field(default_factory=list)
    networks: dict[tuple[str, str], NetworkUse] = field(default_factory=dict)
    problems: dict[Problem, None] = field(default_factory=dict)


class StudioGenerator:
    """The generator behind the studio. One thread's: it owns the model in memory."""

    def __init__(self, settings: SettingsStore, library: Library, extensions: Extensions) -> None:
        self._settings = settings
        self._library = library
        self._extensions = extensions
        self._holder = ModelHolder(library)
        self._thrift = False

    def run(self, request: GenerationRequest, report: Report, control: Control, keep: Keep) -> GenerationResult:
        """Make the request's images; each is given to `keep` as it is done."""
        request = self._determined(request)
        clock = Clock(report, control, images=request.batch_count * request.batch_size)
        readings = [read_prompts(run, self._library, self._settings.current.networks) for run in self._runs(request)]
        for reading in readings:
            refuse(reading.problems)
        clock.steps = sum(reading.request.steps for reading in readings)
        outcome = Outcome()
        for reading in readings:
            if control.interrupted:
                break
            self._make(reading, clock, outcome, keep)
        return GenerationResult(
            request,
            tuple(outcome.images),
            tuple(outcome.networks.values()),
            tuple(outcome.problems),
            control.interrupted,
            time.perf_counter() - clock.began,
            clock.timings,
        )

    def close(self) -> None:
        """Put the weights back and free the model."""
        self._holder.restore()
        self._holder.free()

    def _determined(self, request: GenerationRequest) -> GenerationRequest:
        """The request with everything decided that it leaves open: its seed and its checkpoint."""
        checkpoint = request.checkpoint or self._settings.current.generation.checkpoint
        if not checkpoint:
            entries = self._library.checkpoints.entries()
            if not entries:
                folder = self._library.checkpoints.roots[0]
                raise CheckpointError("There is no checkpoint yet.", hint=f"Put one in {folder}.")
            checkpoint = entries[0].name
        name = self._library.checkpoints.find(checkpoint).name
        return replace(request.checked().seeded(), checkpoint=name)

    def _runs(self, request: GenerationRequest) -> list[GenerationRequest]:
        """The request as runs of images that share everything but their seeds, which count up.

        Extensions may rewrite each image's request, so that its neighbours differ: then each has its own run.
        """
        images = [
            self._extensions.filtered(request.single(index)).checked()
            for index in range(request.batch_count * request.batch_size)
        ]
        runs = [images[0]]
        for before, image in pairwise(images):
            follows = image == replace(before, seed=(before.seed + 1) % SEED_LIMIT)
            if follows and runs[-1].batch_size < request.batch_size:
                runs[-1] = replace(runs[-1], batch_size=runs[-1].batch_size + 1)
            else:
                runs.append(image)
        return runs

    def _make(self, reading: Reading, clock: Clock, outcome: Outcome, keep: Keep) -> None:
        """Make one run's images; once, with a thriftier placement if the device's memory runs out."""
        try:
            self._attempt(reading, clock, outcome, keep, self._placement())
        except OutOfMemory as error:
            thriftier = self._placement().thriftier()
            if thriftier is None:
                raise
            self._thrift = True
            self._holder.free()
            outcome.problems[Problem("warning", f"{error.message} Trying again: {thriftier}.", source="device")] = None
            self._attempt(reading, clock, outcome, keep, thriftier)

    def _placement(self) -> Placement:
        device = self._settings.current.device
        placement = choose_placement(device.device, device.dtype, device.attention, device.offload, device.vae_tiling)
        return (placement.thriftier() or placement) if self._thrift else placement

    def _attempt(self, reading: Reading, clock: Clock, outcome: Outcome, keep: Keep, placement: Placement) -> None:
        settings, run = self._settings.current.networks, reading.request
        budget = None if settings.memory_budget is None else settings.memory_budget << 20
        memory = MemoryChoice(settings.memory_mode, budget)
        with clock.part("loading"):
            model = self._holder.model(run.checkpoint, run.vae, placement, memory)
            prepared = prepare(reading, model, settings)
        outcome.problems |= dict.fromkeys(prepared.problems)
        outcome.networks |= {(use.kind, use.name): use for use in prepared.uses}
        sampled, pictures = self._pictures(prepared, model, clock)
        for index, picture in enumerate(pictures):
            single = prepared.request.single(index)
            cut_short = sampled.steps if sampled.steps < run.steps else None
            image = GeneratedImage(picture, single, infotext(single, prepared, model, cut_short))
            outcome.images.append(keep(image))

    def _pictures(self, prepared: Prepared, model: LoadedModel, clock: Clock) -> tuple[Sampled, tuple[Image, ...]]:
        """Encode, sample and decode under the plan's weights. A skipped run has no pictures."""
        checkpoint, request = model.checkpoint, prepared.request
        denoisers = [name for name in checkpoint.components if name in ("unet", "transformer", "transformer_2")]
        every = self._settings.current.previews.every
        previewer = model.previewer if every else None
        latest: list[Tensor] = []
        skipped = False

        def after_step(step: int, latents: Tensor, denoised: Tensor) -> bool:
            nonlocal skipped
            latest[:] = [denoised]
            clock.done += 1
            clock.sampling = clock.timings.get("sampling", 0.0) + time.perf_counter() - sampling_began
            shown = previewer(denoised[0]) if previewer and step % every == 0 else None
            clock.tell(shown)
            skipped = clock.control.take_skip()
            return skipped or clock.control.interrupted

        with clock.part("encoding"):
            conditionings = model.encoder.conditionings(request, prepared.texts)
        plan = prepared.plan.component(*denoisers)
        with clock.part("sampling"), model.networked(plan, prepared.influences) as at:
            sampling_began = time.perf_counter()
            sampled = sample(
                checkpoint, request, lambda step: conditionings[step - 1], before_step=at, after_step=after_step
            )
        if skipped:
            clock.done += request.steps - sampled.steps
            return sampled, ()
        whole = sampled.steps == request.steps
        with clock.part("decoding"), model.patcher.patched(prepared.plan.component("vae"), first=sampled.steps):
            return sampled, decode(checkpoint, sampled.latents if whole else latest[0]).images


def infotext(request: GenerationRequest, prepared: Prepared, model: LoadedModel, cut_short: int | None) -> str:
    """The text an image carries: its request, and the hashes of everything that made it."""
    extras: dict[str, str | int] = {"Model hash": model.checkpoint.sha}
    loras = [(network.use.name, network.use.sha256) for network in prepared.bound.networks]
    if loras:
        extras["Lora hashes"] = format_hashes(loras)
    if prepared.hypernetworks.uses:
        extras["Hypernet hashes"] = format_hashes((use.name, use.sha256) for use in prepared.hypernetworks.uses)
    if prepared.word_hashes:
        extras["TI hashes"] = format_hashes(prepared.word_hashes)
    if cut_short is not None:
        extras["Interrupted after step"] = cut_short
    return format_infotext(request, extras)
