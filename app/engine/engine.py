"""One worker and one queue. Whoever asks only submits and reads: no page, tab or client owns a job's life."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from app.engine.history import History
from app.engine.jobs import FINISHED, Control, Job, JobView, Snapshot, State
from app.engine.library import Library
from app.errors import PatchbayError, RequestError
from app.generation.png import save_png
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, Progress

log = logging.getLogger(__name__)
QUEUE_LIMIT = 256
"""Jobs that may wait: beyond it something is submitting in a loop."""


Keep = Callable[[GeneratedImage], GeneratedImage]
"""Takes an image as it is done, and gives it back with the file it was written to, if it was."""


class Generator(Protocol):
    """Turns a request into images; keeps the model between requests. Lives in the worker thread alone."""

    def run(
        self, request: GenerationRequest, report: Callable[[Progress], None], control: Control, keep: Keep
    ) -> GenerationResult:
        """Make the request's images, reporting progress and heeding `control` at every step; `keep` each."""
        ...

    def close(self) -> None:
        """Restore the model's weights and free it."""
        ...


def _has_news(job: Job, seen: Progress | None) -> bool:
    return job.progress is not seen or job.state in FINISHED


class Engine:
    """Runs jobs one after another in a thread of its own.

    `make_generator` is called once, in that thread: importing torch and diffusers takes seconds, which the page
    must not wait for.
    """

    def __init__(self, make_generator: Callable[[], Generator], library: Library) -> None:
        self.library = library
        self._make_generator = make_generator
        self._changed = threading.Condition()
        self._queue: deque[Job] = deque()
        self._running: Job | None = None
        self._generator: Generator | None = None
        self._history = History()
        self._listeners: list[Callable[[Job], None]] = []
        self._sequence = 0
        self._closed = False
        self._warm = False
        self._worker = threading.Thread(target=self._work, name="engine", daemon=True)

    def __enter__(self) -> Self:
        self._worker.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def warm(self) -> None:
        """Begin the slow imports now rather than with the first job."""
        with self._changed:
            self._warm = True
            self._changed.notify_all()

    def close(self, timeout: float = 30.0) -> None:
        """Cancel what waits, interrupt what runs, and let the generator put the model's weights back.

        Slow imports that no job waits for are not waited for either.
        """
        with self._changed:
            self._closed = True
            idle = self._running is None and self._generator is None
            for job in self._queue:
                self._end(job, "cancelled")
            self._queue.clear()
            if self._running:
                self._running.control.interrupted = True
            self._bump()
        if not idle and self._worker.is_alive() and self._worker is not threading.current_thread():
            self._worker.join(timeout)

    def submit(self, request: GenerationRequest, owner: str = "", *, folder: Path | None = None) -> Job:
        """Put a request at the end of the queue. Its images are written to `folder`, if one is named, as they are done.

        Raises:
            RequestError: a field is out of bounds, or the queue is full.
        """
        job = Job(request.checked(), owner, folder)
        with self._changed:
            if self._closed:
                raise RequestError("The studio is shutting down.")
            if len(self._queue) >= QUEUE_LIMIT:
                raise RequestError(f"{QUEUE_LIMIT} jobs are waiting already.", hint="Interrupt some, or wait.")
            self._queue.append(job)
            self._bump()
        return job

    def generate(self, request: GenerationRequest) -> Iterator[Progress | GenerationResult]:
        """Submit a request and follow it: progress as it changes, then the result. Leaving early interrupts it.

        Raises:
            PatchbayError: what stopped it.
        """
        job = self.submit(request)
        try:
            seen: Progress | None = None
            while job.state not in FINISHED:
                with self._changed:
                    self._changed.wait_for(partial(_has_news, job, seen), timeout=1.0)
                    fresh, seen = job.progress is not seen, job.progress
                    progress = self._progress(job)
                if fresh:
                    yield progress
        finally:
            self.cancel(job)
        if job.error:
            raise job.error
        if job.result:
            yield job.result

    def cancel(self, job: Job) -> None:
        """Stop one job: out of the queue, or interrupted at its next step. A finished job stays as it is."""
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
                self._end(job, "cancelled")
            elif job is self._running:
                job.control.interrupted = True
            self._bump()

    def interrupt(self, owner: str | None = None) -> None:
        """Stop the running job of `owner` (None: of anyone), keeping its images; where none runs, drop the next."""
        with self._changed:
            running = self._running
            if running and owner in (None, running.owner):
                running.control.interrupted = True
                self._bump()
                return
            waiting = next((job for job in self._queue if owner in (None, job.owner)), None)
        if waiting:
            self.cancel(waiting)

    def skip(self, owner: str | None = None) -> None:
        """Leave the image being made and go on with the job's next one."""
        with self._changed:
            if self._running and owner in (None, self._running.owner):
                self._running.control.skipped = True

    def when_ended(self, listener: Callable[[Job], None]) -> None:
        """Call `listener` with each job that has ended, before anybody is told; in the worker, and never to raise."""
        self._listeners.append(listener)

    def job(self, job_id: str) -> Job | None:
        """The job of this id, waiting, running or remembered."""
        with self._changed:
            known = [*self._queue, *self._history, *([self._running] if self._running else [])]
        return next((job for job in known if job.id == job_id), None)

    def snapshot(self, owner: str | None = None) -> Snapshot:
        """What `owner` (everyone, for None) sees now."""
        with self._changed:
            live = [*([self._running] if self._running else []), *self._queue]
            mine = [(job, place) for place, job in enumerate(live) if owner in (None, job.owner)]
            ended = [self._view(job, 0) for job in reversed(self._history) if owner in (None, job.owner)]
            return Snapshot(
                self._sequence,
                tuple(self._view(job, place) for job, place in mine),
                ended[0] if ended else None,
                tuple(job for job in ended if job.images),
                len(live),
            )

    def wait_for_change(self, sequence: int, timeout: float) -> int:
        """Block until anything has changed since `sequence`, or `timeout` seconds; the sequence number now."""
        with self._changed:
            self._changed.wait_for(lambda: self._sequence != sequence, timeout)
            return self._sequence

    def _view(self, job: Job, position: int) -> JobView:
        progress = replace(job.progress, position=position) if job.state == "queued" else job.progress
        return JobView(
            job.id,
            job.state,
            position,
            progress,
            job.preview_version,
            job.request,
            tuple(job.images),
            job.result,
            job.error,
        )

    def _progress(self, job: Job) -> Progress:
        if job.state != "queued":
            return job.progress
        ahead = self._queue.index(job) + (self._running is not None)
        return replace(job.progress, position=ahead)

    def _bump(self) -> None:
        """Tell every reader; call it with the lock held."""
        self._sequence += 1
        self._changed.notify_all()

    def _end(self, job: Job, state: State) -> None:
        job.state = state
        self._history.add(job)
        job.finished.set()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._queue or self._warm)
                self._warm = False
                if self._closed:
                    break
                job = self._start_next()
            # The edge: whatever a job raises ends that job, in words, and the worker goes on with the next.
            try:
                generator = self._generator = self._generator or self._make_generator()
                result = (
                    generator.run(job.request, self._reporter(job), job.control, self._keeper(job)) if job else None
                )
            except PatchbayError as error:
                log.info("a job failed: %s", error)
                self._finish(job, None, error)
            except Exception as error:
                log.exception("a job failed in a way nobody foresaw")
                self._finish(job, None, PatchbayError(f"Unexpected {type(error).__name__}: {error}"))
            else:
                self._finish(job, result, None)
        if self._generator is not None:
            self._generator.close()

    def _start_next(self) -> Job | None:
        """Make the next job the running one; call it with the lock held."""
        if not self._queue:
            return None
        job = self._running = self._queue.popleft()
        job.state = "running"
        job.progress = Progress("loading")
        self._bump()
        return job

    def _reporter(self, job: Job) -> Callable[[Progress], None]:
        def report(progress: Progress) -> None:
            with self._changed:
                if progress.preview is None:
                    progress = replace(progress, preview=job.progress.preview)
                elif progress.preview is not job.progress.preview:
                    job.preview_version += 1
                job.progress = progress
                self._bump()

        return report

    def _keeper(self, job: Job) -> Keep:
        def keep(made: GeneratedImage) -> GeneratedImage:
            if job.folder:
                path = save_png(made.image, made.infotext, job.folder, seed=made.request.seed)
                made = replace(made, path=path)
            with self._changed:
                job.images.append(made)
                self._bump()
            return made

        return keep

    def _finish(self, job: Job | None, result: GenerationResult | None, error: PatchbayError | None) -> None:
        if job is None:
            return
        job.result, job.error = result, error
        for listener in self._listeners:
            listener(job)
        with self._changed:
            self._running = None
            self._end(job, "failed" if error else "interrupted" if result and result.interrupted else "done")
            self._bump()
