"""From a request to images: the model, the prompts on it, the steps, the picture, and the text that remembers it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass, field, replace
from itertools import pairwise

from app.diffusion.device import OutOfMemory, Placement, choose_placement
from app.engine.clock import Clock, Report
from app.engine.engine import Keep
from app.engine.jobs import Control
from app.engine.library import Library
from app.engine.model import LoadedModel, MemoryChoice, ModelHolder
from app.engine.passes import Painter
from app.engine.prompts import Prepared, prepare
from app.engine.reading import Reading, read_prompts, refuse
from app.errors import CheckpointError, Problem
from app.generation.infotext import INIT_HASH, format_hashes, format_infotext
from app.generation.request import SEED_LIMIT, GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, NetworkUse
from app.plugins import Extensions
from app.settings import SettingsStore


@dataclass(slots=True)
class Outcome:
    """What a job has given so far."""

    images: list[GeneratedImage] = field(default_factory=list)
    networks: dict[tuple[str, str], NetworkUse] = field(default_factory=dict)
    problems: dict[Problem, None] = field(default_factory=dict)

    def tell(self, problem: Problem) -> None:
        """Keep a problem, once."""
        self.problems[problem] = None


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
        clock.steps = sum(reading.steps for reading in readings)
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
            self._holder.kept_bytes,
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
            follows = follows and image.init_image is before.init_image
            if follows and runs[-1].batch_size < request.batch_size:
                runs[-1] = replace(runs[-1], batch_size=runs[-1].batch_size + 1)
            else:
                runs.append(image)
        return runs

    def _make(self, reading: Reading, clock: Clock, outcome: Outcome, keep: Keep) -> None:
        """Make one run's images; once, with a thriftier placement if the device's memory runs out."""
        begun, clock.image = clock.done, len(outcome.images)
        try:
            self._attempt(reading, clock, outcome, keep, self._placement())
            return
        except OutOfMemory as error:
            thriftier = self._placement().thriftier()
            if thriftier is None:
                raise
            said = f"{error.message} Trying again: {thriftier}."
        # Only here, after the handler: while it runs, its traceback holds the model and tensors of the failed attempt.
        self._thrift = True
        self._holder.free()
        clock.done = begun
        outcome.tell(Problem("warning", said, source="device"))
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
        painted = Painter(model, clock, self._settings.current.previews.every, outcome.tell).paint(prepared)
        for index, picture in enumerate(painted.pictures):
            single = prepared.request.single(index)
            cut_short = painted.steps if painted.steps < reading.steps else None
            image = GeneratedImage(picture, single, infotext(single, prepared, model, cut_short))
            outcome.images.append(keep(image))


def infotext(request: GenerationRequest, prepared: Prepared, model: LoadedModel, cut_short: int | None) -> str:
    """The text an image carries: its request, and the hashes of everything that made it."""
    extras: dict[str, str | int] = {"Model hash": model.checkpoint.sha}
    if request.init_image is not None:
        # As the web UI takes it, so that the two agree on which picture it was.
        extras[INIT_HASH] = hashlib.md5(request.init_image.tobytes(), usedforsecurity=False).hexdigest()
    loras = dict.fromkeys(
        (one.use.name, one.use.sha256) for one in (*prepared.bound.networks, *prepared.opposed.networks)
    )
    if loras:
        extras["Lora hashes"] = format_hashes(loras)
    if prepared.hypernetworks.uses:
        extras["Hypernet hashes"] = format_hashes((use.name, use.sha256) for use in prepared.hypernetworks.uses)
    if prepared.word_hashes:
        extras["TI hashes"] = format_hashes(prepared.word_hashes)
    if cut_short is not None:
        extras["Interrupted after step"] = cut_short
    return format_infotext(request, extras)
