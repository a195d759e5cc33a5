"""What a network will act on, told before anything is generated: headers are read in a thread of its own, not weights.

The answer is what generating finds (`networks.NetworkBinder`), but for numbers that are none, which a header hides.
"""

from __future__ import annotations

import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from app.diffusion.layouts import recognised
from app.engine.library import Library, ModelFile
from app.errors import PatchbayError, Problem
from app.networks.header import read_header
from app.networks.record import NetworkFile

if TYPE_CHECKING:
    from app.diffusion.outline import Outline
    from app.engine.matching import Loader
    from app.networks.resolve import Match

KEPT = 2000
"""Answers kept; the least recently asked for goes first."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What of a network a checkpoint has a place for, in modules of the file. With an error nothing is applied."""

    family: str
    matched: int
    unmatched: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Unknown:
    """Why it cannot be told before the checkpoint is loaded."""

    reason: str


@dataclass(frozen=True, slots=True)
class _Question:
    """A network on a checkpoint. The stamps are sizes and times: changed files are other questions."""

    checkpoint: Path
    stamp: tuple[int, ...]
    kind: str
    file: Path
    size: int
    mtime_ns: int
    loader: Loader


Answer = Forecast | Unknown


class Forecasts:
    """Answers what is known at once, and finds out the rest in the background; safe to use from several threads."""

    def __init__(self, library: Library, loader: Callable[[], Loader]) -> None:
        self._library = library
        self._loader = loader
        self._lock = threading.Lock()
        self._answers: OrderedDict[_Question, Answer] = OrderedDict()
        self._waiting: deque[tuple[_Question, NetworkFile]] = deque()
        self._thread: threading.Thread | None = None
        self._outline: tuple[Path, tuple[int, ...], Outline] | None = None

    def of(self, checkpoint: ModelFile, kind: str, file: NetworkFile) -> Answer | None:
        """What is known of a tag's file on a checkpoint; None while it is being found out, which asking begins."""
        try:
            stamp = checkpoint.stamp
        except OSError as error:
            return Unknown(f"The checkpoint cannot be read ({error.strerror or error}).")
        question = _Question(checkpoint.path, stamp, kind, file.path, file.size, file.mtime_ns, self._loader())
        with self._lock:
            if (answer := self._answers.get(question)) is not None:
                self._answers.move_to_end(question)
                return answer
            if all(asked != question for asked, _ in self._waiting):
                self._waiting.append((question, file))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="forecast", daemon=True)
                self._thread.start()
        return None

    def _work(self) -> None:
        """Answer every question that waits; each stays in the queue until its answer is there."""
        while (asked := self._next()) is not None:
            answer: Answer | None = None
            try:
                answer = self._answered(*asked)
            finally:
                self._keep(asked[0], answer)

    def _next(self) -> tuple[_Question, NetworkFile] | None:
        """The question that has waited longest; None, and the thread's end, where none waits."""
        with self._lock:
            if not self._waiting:
                self._thread = None
            return self._waiting[0] if self._waiting else None

    def _keep(self, question: _Question, answer: Answer | None) -> None:
        """Keep an answer; None is a failure that ends this thread, which nobody may wait for in vain."""
        with self._lock:
            self._answers[question] = answer or Unknown("Finding out failed; the log tells more.")
            self._waiting.popleft()
            if answer is None:
                self._thread = None
            while len(self._answers) > KEPT:
                self._answers.popitem(last=False)

    def _answered(self, question: _Question, file: NetworkFile) -> Answer:
        try:
            outline = self._outlined(question)
        except PatchbayError as error:
            return Unknown(f"The checkpoint says too little: {error.message}")
        try:
            return self._forecast(question, file, outline)
        except PatchbayError as error:
            return Forecast(outline.family, 0, problems=(Problem("error", error.message, hint=error.hint),))

    def _outlined(self, question: _Question) -> Outline:
        """The checkpoint's outline; the last one is kept.

        Raises:
            CheckpointError, NetworkError: naming the file and what is wrong with it.
        """
        path = question.checkpoint
        if self._outline is None or self._outline[:2] != (path, question.stamp):
            if path.suffix.lower() == ".safetensors":  # before the slow imports: they are not needed to refuse a file
                recognised(read_header(path).shapes, str(path))
            # The engine's thread imports this too: whoever is first imports all there is, and the other waits for that.
            # A library that loads lazily cannot be imported by two threads at once.
            import app.engine.generator  # noqa: F401
            from app.diffusion.outline import outline

            self._outline = (path, question.stamp, outline(path))
        return self._outline[2]

    def _forecast(self, question: _Question, file: NetworkFile, outline: Outline) -> Forecast:
        from app.networks.hypernetworks import read_hypernetwork
        from app.patching.hypernet import acting

        if question.kind == "hypernet":
            hypernetwork = read_hypernetwork(file.path)
            return Forecast(outline.family, len(acting(hypernetwork, outline.modules)))
        match = self._match(question, file, outline)
        problems = (*match.problems, *match.network.problems)
        return Forecast(outline.family, match.matched, match.unmatched, match.mismatched, problems)

    def _match(self, question: _Question, file: NetworkFile, outline: Outline) -> Match:
        """The match by the file's header; of the whole file, where generating would look further than at its names."""
        from app.engine.matching import fits, matched
        from app.networks.outline import network_outline
        from app.networks.resolve import resolve

        if (kind := self._library.kinds.get(question.kind)) is not None:
            return resolve(kind.read(file.path), outline.modules, outline.family)
        if question.loader == "native" and file.file.suffix.lower() == ".safetensors":
            match = resolve(network_outline(file.path, file.file), outline.modules, outline.family)
            if fits(match, outline.family):
                return match
        return matched(file.path, outline.modules, outline.family, question.loader)
