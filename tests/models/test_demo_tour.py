"""The tour that ships: six stops that can all be made, with the pictures that the studio makes of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy
import pytest
from PIL import Image

from app.cli.studio import open_engine
from app.engine.engine import Engine
from app.engine.tour import Stop, read_tour, within_reach
from app.generation.result import GenerationResult
from app.plugins import Extensions
from app.prompt.edit import tags
from app.prompt.schedule import schedule
from app.settings import SettingsStore

MODELS = Path(__file__).parents[2] / "models"
LARGEST = 60_000
"""Bytes of a picture."""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    settings = SettingsStore(tmp_path_factory.mktemp("data"), {"paths.models": MODELS, "device.device": "cpu"})
    with open_engine(settings, Extensions()) as engine:
        yield engine


@pytest.fixture(scope="module")
def stops(engine: Engine) -> dict[str, Stop]:
    return {stop.name: stop for stop in read_tour(MODELS, engine.library)}


def test_every_stop_can_be_made_and_has_its_picture(engine: Engine, stops: dict[str, Stop]) -> None:
    assert len(stops) == 6
    assert [stop.name for stop in within_reach(tuple(stops.values()), engine.library)] == list(stops)
    for stop in stops.values():
        with Image.open(stop.picture) as picture:
            assert picture.size == (stop.request.width, stop.request.height)
        assert stop.picture.stat().st_size < LARGEST


def test_the_stops_show_what_they_are_named_for(stops: dict[str, Stop]) -> None:
    counts = {name: len(tags(stop.request.prompt)) for name, stop in stops.items()}
    assert (counts["words"], counts["network"], counts["mixed"]) == (0, 1, 2)
    strengths = {name: schedule(stop.request.prompt, 20).networks for name, stop in stops.items()}
    assert all(not schedule(stop.request.prompt, 20).problems for stop in stops.values())
    blocks = strengths["blocks"][0].strengths
    assert len({blocks[part][0] for part in ("in", "mid", "out")}) > 1
    assert len(set(strengths["schedule"][0].strengths["unet"])) > 1
    assert "slider" in strengths["slider"][0].name


@pytest.mark.parametrize("name", ["words", "blocks"])
def test_a_stop_s_picture_is_what_the_studio_makes_of_it(engine: Engine, stops: dict[str, Stop], name: str) -> None:
    """Up to the arithmetic of another machine. Where this fails, `python -m models.demo.tour` makes them anew."""
    stop = stops[name]
    *_, result = engine.generate(stop.request)
    assert isinstance(result, GenerationResult)
    with Image.open(stop.picture) as picture:
        shown = numpy.asarray(picture.convert("RGB"), numpy.float32)
    made = numpy.asarray(result.images[0].image, numpy.float32)
    assert numpy.abs(shown - made).mean() < 8
