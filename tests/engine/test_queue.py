"""The queue's promises, with a generator small enough to see through."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PIL import Image

from app.engine.engine import Engine, Keep
from app.engine.history import MOST
from app.engine.jobs import Control
from app.engine.library import Library, ModelShelf
from app.errors import CheckpointError, PatchbayError, RequestError
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, Progress
from app.settings import SettingsStore


class Painter:
    """A generator that paints grey, one step at a time, and waits for `gate` before each."""

    def __init__(self) -> None:
        self.gate = threading.Semaphore(0)
        self.closed = threading.Event()

    def run(
        self, request: GenerationRequest, report: Callable[[Progress], None], control: Control, keep: Keep
    ) -> GenerationResult:
        if request.prompt == "bad checkpoint":
            raise CheckpointError("It is truncated.", where="x.safetensors")
        if request.prompt == "bug":
            raise ZeroDivisionError("never foreseen")
        for step in range(request.steps):
            if control.interrupted:
                break
            self.gate.acquire(timeout=60)
            report(Progress("sampling", step + 1, request.steps))
        image = keep(GeneratedImage(Image.new("RGB", (8, 8)), request, ""))
        return GenerationResult(request, (image,), interrupted=control.interrupted)

    def close(self) -> None:
        self.closed.set()


@pytest.fixture
def painter() -> Painter:
    return Painter()


@pytest.fixture
def engine(painter: Painter, tmp_path: Path) -> Iterator[Engine]:
    with Engine(lambda: painter, Library.of(SettingsStore(tmp_path).folders)) as engine:
        yield engine


def request(prompt: str = "", steps: int = 2) -> GenerationRequest:
    return GenerationRequest(prompt=prompt, steps=steps)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.005)


def test_jobs_run_in_the_order_they_came_and_know_their_place(engine: Engine, painter: Painter) -> None:
    first, second, third = (engine.submit(request(), owner) for owner in ("ann", "bob", "ann"))
    until(lambda: first.state == "running")
    assert [view.position for view in engine.snapshot("bob").jobs] == [1]
    assert [view.position for view in engine.snapshot("ann").jobs] == [0, 2]
    painter.gate.release(6)
    assert all(job.wait(60) for job in (first, second, third))
    assert first.result and second.result and third.result


def test_generate_yields_growing_progress_and_then_the_result(engine: Engine, painter: Painter) -> None:
    painter.gate.release(5)
    *progress, result = engine.generate(request(steps=5))
    assert isinstance(result, GenerationResult)
    steps = [item.step for item in progress if isinstance(item, Progress)]
    assert steps == sorted(steps) and steps[-1] == 5


def test_an_error_ends_its_own_job_alone(engine: Engine, painter: Painter) -> None:
    bad, bug, good = engine.submit(request("bad checkpoint")), engine.submit(request("bug")), engine.submit(request())
    painter.gate.release(2)
    assert good.wait(60)
    assert (bad.state, bug.state, good.state) == ("failed", "failed", "done")
    assert str(bad.error) == "x.safetensors: It is truncated."
    assert isinstance(bug.error, PatchbayError) and "never foreseen" in str(bug.error)
    with pytest.raises(CheckpointError):
        list(engine.generate(request("bad checkpoint")))


def test_who_listens_hears_of_an_ended_job_before_anybody_is_told(engine: Engine, painter: Painter) -> None:
    heard: list[tuple[bool, bool, bool]] = []
    engine.when_ended(
        lambda job: heard.append((job.finished.is_set(), bool(engine.snapshot("ann").jobs), job.result is not None))
    )
    painter.gate.release(2)
    assert engine.submit(request(), "ann").wait(60)
    assert heard == [(False, True, True)]


def test_interrupt_stops_the_owner_s_running_job_and_keeps_what_it_has(engine: Engine, painter: Painter) -> None:
    mine, theirs = engine.submit(request(steps=50), "ann"), engine.submit(request(), "bob")
    until(lambda: mine.state == "running")
    engine.interrupt("bob")
    assert (mine.control.interrupted, theirs.state) == (False, "cancelled")
    engine.interrupt("ann")
    painter.gate.release(50)
    assert mine.wait(60) and mine.state == "interrupted"
    assert mine.result and mine.result.images


def test_the_last_image_stays_however_many_jobs_fail_after_it(engine: Engine, painter: Painter) -> None:
    painter.gate.release(4)
    first, second = engine.submit(request(), "ann"), engine.submit(request(), "ann")
    assert second.wait(60)
    for _ in range(MOST + 3):
        failed = engine.submit(request("bad checkpoint"), "ann")
        assert failed.wait(60)
    seen = engine.snapshot("ann")
    assert [job.id for job in seen.pictured] == [second.id, first.id]
    assert seen.last and seen.last.id == failed.id and not seen.last.images
    assert engine.job(first.id) is first
    assert not engine.snapshot("bob").pictured


def test_leaving_generate_early_stops_the_job(engine: Engine, painter: Painter) -> None:
    following = engine.generate(request(steps=1000))
    next(following)
    following.close()
    painter.gate.release(1000)
    until(lambda: engine.snapshot().queue_length == 0)
    last = engine.snapshot().last
    assert last and last.state in ("interrupted", "cancelled")


def test_closing_cancels_what_waits_and_refuses_what_comes(painter: Painter, tmp_path: Path) -> None:
    with Engine(lambda: painter, Library.of(SettingsStore(tmp_path).folders)) as engine:
        running, waiting = engine.submit(request(steps=3)), engine.submit(request())
        until(lambda: running.state == "running")
        painter.gate.release(3)
    assert waiting.state == "cancelled" and running.finished.is_set() and painter.closed.is_set()
    with pytest.raises(RequestError):
        engine.submit(request())


def test_a_request_out_of_bounds_never_enters_the_queue(engine: Engine) -> None:
    for bad in (
        GenerationRequest(steps=0),
        GenerationRequest(cfg_scale=float("nan")),
        GenerationRequest(width=100_000),
        GenerationRequest(height=0),
        GenerationRequest(width=100),
        GenerationRequest(seed=-2),
    ):
        with pytest.raises(RequestError) as error:
            engine.submit(bad)
        assert "\n" not in str(error.value) and error.value.where
    assert engine.snapshot().queue_length == 0


def test_a_missing_checkpoint_is_named_with_its_near_ones(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "dreamy.safetensors").write_bytes(b"")
    shelf = ModelShelf("checkpoint", (tmp_path,), "model_index.json")
    assert [model.name for model in shelf.entries()] == ["sub/dreamy"]
    assert shelf.find("dreamy.safetensors [0123456789]").name == "sub/dreamy"
    with pytest.raises(CheckpointError, match=r"Did you mean sub/dreamy"):
        shelf.find("sub/dreamt")


def test_a_new_form_has_the_size_its_checkpoint_was_trained_on_unless_the_settings_say_another(tmp_path: Path) -> None:
    settings = SettingsStore(tmp_path / "data", {"paths.models": tmp_path})
    folder = tmp_path / "checkpoints" / "tiny"
    for part, config in (("unet", {"sample_size": 16}), ("vae", {"block_out_channels": [8, 16, 32]})):
        (folder / part).mkdir(parents=True)
        (folder / part / "config.json").write_text(json.dumps(config))
    (folder / "model_index.json").write_text("{}")
    library = Library.of(settings.folders)
    usual = library.usual(settings.current.generation)
    assert (usual.width, usual.height, usual.steps) == (64, 64, 20)
    settings.change({"generation.width": 512})
    assert library.usual(settings.current.generation).width == 512
    (folder / "unet" / "config.json").write_text("[" * 100_000)
    assert library.checkpoints.find("tiny").side is None
