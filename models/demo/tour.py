"""``python -m models.demo.tour``: make the pictures of the tour again, with the studio's own engine."""

from __future__ import annotations

import argparse
import logging
import tempfile
from pathlib import Path

from app.cli.studio import open_engine
from app.engine.engine import Engine
from app.engine.library import Library
from app.engine.tour import Stop, read_tour, within_reach
from app.generation.result import GenerationResult
from app.plugins import Extensions
from app.settings import SettingsStore

from .__main__ import MODELS

log = logging.getLogger("models.demo")


def make(engine: Engine, stop: Stop) -> None:
    """Make a stop's picture and put it where the page looks for it. WebP without loss: what one sees is what comes."""
    *_, result = engine.generate(stop.request)
    if not isinstance(result, GenerationResult):
        raise SystemExit(f"{stop.name}: no picture was made")
    stop.picture.parent.mkdir(parents=True, exist_ok=True)
    result.images[0].image.save(stop.picture, "WEBP", lossless=True, quality=100, method=6)
    log.info("%s: %s, %d bytes", stop.name, stop.picture.name, stop.picture.stat().st_size)


def main() -> None:
    """Read the arguments and make the pictures asked for."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.tour", description=__doc__)
    parser.add_argument("names", nargs="*", help="stops to make; all of them by default")
    parser.add_argument("--models", type=Path, default=MODELS, help="the models folder, which holds demo/tour.toml")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    with tempfile.TemporaryDirectory() as data:
        settings = SettingsStore(Path(data), {"paths.models": arguments.models.absolute()})
        with open_engine(settings, Extensions()) as engine:
            tour(engine, settings, arguments.names)


def tour(engine: Engine, settings: SettingsStore, names: list[str]) -> None:
    """Make the pictures of these stops, or of all; say which stop wants a network that is not there."""
    library: Library = engine.library
    stops = read_tour(settings.folders.models, library)
    reachable = tuple(within_reach(stops, library))
    for stop in stops:
        if names and stop.name not in names:
            continue
        if stop in reachable:
            make(engine, stop)
        else:
            log.warning("%s: its checkpoint or a network is not there", stop.name)


if __name__ == "__main__":
    main()
