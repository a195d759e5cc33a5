"""Where a running job stands, and how long each part of it has taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from PIL.Image import Image

from app.engine.jobs import Control
from app.generation.result import Progress

Report = Callable[[Progress], None]


@dataclass(slots=True)
class Clock:
    """Where a job stands: steps done of all its runs, and the seconds that each part has taken."""

    report: Report
    control: Control
    images: int = 1
    image: int = 0
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
        elapsed = time.perf_counter() - self.began
        remaining = self.sampling / self.done * (self.steps - self.done) if self.done else None
        stands = (self.state, self.done, self.steps, self.image, self.images)
        self.report(Progress(*stands, 0, elapsed, remaining, preview, message))
