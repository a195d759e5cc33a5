"""A generator for tests of what stands around generation: it draws at once, and obeys its controls."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from PIL import Image

from app.engine.engine import Engine, Keep
from app.engine.jobs import Control
from app.engine.library import Library
from app.errors import PromptError
from app.generation.infotext import format_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, Progress
from app.settings import SettingsStore


class Painter:
    """Paints the colour of the seed. "wait" in the prompt holds each step until `go` is set; "fail" refuses it.

    `requests` are those it was asked for.
    """

    def __init__(self) -> None:
        self.go = threading.Event()
        self.requests: list[GenerationRequest] = []

    def run(
        self, request: GenerationRequest, report: Callable[[Progress], None], control: Control, keep: Keep
    ) -> GenerationResult:
        """Make the request's images."""
        if "fail" in request.prompt:
            raise PromptError("This prompt fails.", where="prompt")
        request = request.seeded()
        self.requests.append(request)
        made = []
        count = request.batch_count * request.batch_size
        for index in range(count):
            single = request.single(index)
            image = self._painted(single, index, count, report, control)
            made.append(keep(GeneratedImage(image, single, format_infotext(single))))
            if control.interrupted:
                break
        return GenerationResult(request, tuple(made), interrupted=control.interrupted, seconds=0.1)

    def _painted(
        self,
        single: GenerationRequest,
        index: int,
        count: int,
        report: Callable[[Progress], None],
        control: Control,
    ) -> Image.Image:
        colour = random.Random(single.seed).randbytes(3)
        image = Image.new("RGB", (single.width, single.height), tuple(colour))
        for step in range(1, single.steps + 1):
            report(Progress("sampling", step + index * single.steps, single.steps * count, index, count, preview=image))
            while "wait" in single.prompt and not (self.go.wait(0.01) or control.interrupted):
                pass
            if control.interrupted:
                break
        return image

    def close(self) -> None:
        """Nothing to give back."""


def painting_engine(settings: SettingsStore, painter: Painter | None = None) -> Engine:
    """An engine whose images are painted, over the library of the settings' folders."""
    return Engine(lambda: painter or Painter(), Library.of(settings.folders))


@contextmanager
def served(app: FastAPI) -> Iterator[str]:
    """The address of `app`, served on a free port until the block ends."""
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    waiting = threading.Event()
    while not server.started:
        assert thread.is_alive(), "the server did not start"
        waiting.wait(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
