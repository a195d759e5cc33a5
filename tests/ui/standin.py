"""The real engine with a painter in place of the model: it paints coloured discs, slowly, and needs no torch."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from PIL import Image, ImageDraw, ImageFilter

from app.engine.engine import Engine, Keep
from app.engine.jobs import Control
from app.engine.library import Library
from app.errors import PromptError
from app.generation.infotext import format_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, NetworkUse, Progress
from app.prompt.edit import tags
from app.server.application import application
from app.settings import SettingsStore
from tests.ui.network_files import write_library, write_tour


class Painter:
    """Paints by seed, and says that it used every network. A prompt with "explode" fails, as a missing one would."""

    def __init__(self, hold: Path, step_seconds: float) -> None:
        self._held = hold
        self._step_seconds = step_seconds

    def run(
        self, request: GenerationRequest, report: Callable[[Progress], None], control: Control, keep: Keep
    ) -> GenerationResult:
        """Paint every image of the request, one step at a time."""
        if "explode" in request.prompt:
            raise PromptError("There is no network named 'ink2'.", hint="Did you mean ink?")
        started = time.monotonic()
        request = request.seeded()
        count = request.batch_count * request.batch_size
        made: list[GeneratedImage] = []
        for index in range(count):
            single = request.single(index)
            picture = painting(single)
            for step in range(1, request.steps + 1):
                if control.interrupted or control.take_skip():
                    break
                time.sleep(self._step_seconds)
                elapsed = time.monotonic() - started
                done = index * request.steps + step
                remaining = elapsed / done * (count * request.steps - done)
                blurred = _sketch(picture, step / request.steps)
                report(Progress("sampling", done, count * request.steps, index, count, 0, elapsed, remaining, blurred))
                self._hold(step, request, control)
            text = format_infotext(single)
            made.append(keep(GeneratedImage(picture, single, text)))
            if control.interrupted:
                break
        seconds = time.monotonic() - started
        uses = tuple(NetworkUse(tag.name, tag.kind, "", "unknown", 1, 0, 0, {}) for tag in tags(request.prompt))
        return GenerationResult(request, tuple(made), uses, interrupted=control.interrupted, seconds=seconds)

    def _hold(self, step: int, request: GenerationRequest, control: Control) -> None:
        """The middle step of a prompt with "hold" lasts until the file `hold` is gone."""
        if "hold" in request.prompt and step == request.steps // 2:
            while self._held.exists() and not control.interrupted:
                time.sleep(self._step_seconds)

    def close(self) -> None:
        """Nothing to put back."""


def painting(request: GenerationRequest) -> Image.Image:
    """A picture that depends on the seed alone."""
    chance = random.Random(request.seed)
    size = (request.width, request.height)
    colour = lambda: tuple(chance.randrange(256) for _ in range(3))  # noqa: E731
    small = Image.new("RGB", (4, 4))
    small.putdata([colour() for _ in range(16)])
    picture = small.resize(size, Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(picture)
    for _ in range(7):
        x, y = chance.randrange(size[0]), chance.randrange(size[1])
        radius = chance.randrange(min(size) // 24, min(size) // 4)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour())
    return picture


def _sketch(picture: Image.Image, fraction: float) -> Image.Image:
    small = picture.resize((max(8, picture.width // 8), max(8, picture.height // 8)))
    return small.filter(ImageFilter.GaussianBlur(6 * (1 - fraction)))


def painting_studio(data: Path, step_seconds: float, networks: int = 0) -> FastAPI:
    """The whole application over a painter, two empty checkpoints and some networks, with everything below `data`.

    With networks it has a tour too.
    """
    models = data / "models"
    if networks:
        write_tour(models)
    for name in ("checkpoints/demo", "checkpoints/dreamshaper_8", "vae/vae-ft-mse-840000"):
        path = models / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    write_library(models / "loras", networks)
    settings = SettingsStore(data, {"paths.models": models})
    library = Library.of(settings.folders)
    return application(Engine(lambda: Painter(data / "hold", step_seconds), library), settings)


def main() -> None:
    """Serve the page with a painter."""
    options = argparse.ArgumentParser()
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--step", type=float, default=0.1)
    options.add_argument("--networks", type=int, default=0)
    given = options.parse_args()
    app = painting_studio(given.data, given.step, given.networks)
    uvicorn.run(app, host="127.0.0.1", port=given.port, log_level="warning", ws="websockets-sansio")


if __name__ == "__main__":
    main()
