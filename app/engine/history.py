"""The finished jobs that are remembered."""

from __future__ import annotations

from collections.abc import Iterator

from app.engine.jobs import Job

MOST = 32
"""Jobs that are remembered: so many with their images, and as many that have none."""


class History:
    """Finished jobs, oldest first. Those that gave nothing do not push those with images out."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def __reversed__(self) -> Iterator[Job]:
        return reversed(self._jobs)

    def add(self, job: Job) -> None:
        """Remember a job, and forget the oldest of its sort where there are too many."""
        self._jobs.append(job)
        alike = [other for other in self._jobs if bool(other.images) == bool(job.images)]
        if len(alike) > MOST:
            self._jobs.remove(alike[0])
