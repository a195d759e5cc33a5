"""A job: one request on its way through the queue, and what anyone may read of it."""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from app.errors import PatchbayError
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, Progress

State = Literal["queued", "running", "done", "interrupted", "failed", "cancelled"]
FINISHED: frozenset[State] = frozenset({"done", "interrupted", "failed", "cancelled"})


@dataclass(slots=True)
class Control:
    """What a user asks of a running job. Plain flags: one thread sets them, the worker reads them at each step."""

    interrupted: bool = False
    skipped: bool = False

    def take_skip(self) -> bool:
        """Whether the image being made is to be left; asking once skips one image."""
        skip, self.skipped = self.skipped, False
        return skip


@dataclass(slots=True, eq=False)
class Job:
    """A request in the queue. The engine writes these fields under its lock; readers take a `JobView`."""

    request: GenerationRequest
    owner: str = ""
    folder: Path | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    state: State = "queued"
    progress: Progress = field(default_factory=lambda: Progress("queued"))
    preview_version: int = 0
    images: list[GeneratedImage] = field(default_factory=list)
    result: GenerationResult | None = None
    error: PatchbayError | None = None
    control: Control = field(default_factory=Control)
    submitted: float = field(default_factory=time.time)
    finished: threading.Event = field(default_factory=threading.Event)

    def wait(self, timeout: float | None = None) -> bool:
        """Block until the job has ended, or `timeout` seconds; whether it has."""
        return self.finished.wait(timeout)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job at one moment. `position` counts the jobs that run before it; `images` are those done so far."""

    id: str
    state: State
    position: int
    progress: Progress
    preview_version: int
    request: GenerationRequest
    images: tuple[GeneratedImage, ...]
    result: GenerationResult | None
    error: PatchbayError | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What one owner sees. `sequence` grows with every change anywhere, so that a reader can wait for the next.

    `last` is the job that ended last, however it ended; `pictured` are those with images, the newest first.
    """

    sequence: int
    jobs: tuple[JobView, ...]
    last: JobView | None
    pictured: tuple[JobView, ...]
    queue_length: int
