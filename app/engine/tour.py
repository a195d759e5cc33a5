"""The tour of a models folder: prompts to try, with what they need and the pictures they made."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from app.engine.library import Library
from app.errors import CheckpointError, NetworkError, RequestError, StorageError
from app.generation.request import GenerationRequest
from app.prompt.edit import tags
from app.settings.model import GenerationSettings

FILE = Path("demo", "tour.toml")
PICTURES = Path("demo", "tour")
WORDS = ("name", "title", "line")
DEFAULTS: Mapping[str, Any] = {
    field.name: field.default for field in fields(GenerationRequest) if isinstance(field.default, str | int | float)
}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,40}")


@dataclass(frozen=True, slots=True)
class Stop:
    """One prompt of the tour: what it shows, in a title and a line, the request that shows it, and its picture."""

    name: str
    title: str
    line: str
    request: GenerationRequest
    picture: Path


def read_tour(models: Path, library: Library) -> tuple[Stop, ...]:
    """Every stop of the folder's `demo/tour.toml`; none where there is no such file.

    Its table `settings` holds fields of a request for all of `stops`, which may name others. What neither names is as
    in a new form, and the size is the one that the checkpoint was trained on.

    Raises:
        StorageError: the file cannot be read.
        RequestError: a stop has no name, title or line, or a field that a request cannot have.
    """
    path = models / FILE
    try:
        read = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError) as error:
        raise StorageError(f"The tour cannot be read ({error}).", where=str(path)) from error
    common, stops = read.get("settings", {}), read.get("stops", [])
    if not isinstance(common, dict) or not isinstance(stops, list) or not all(isinstance(stop, dict) for stop in stops):
        raise StorageError("It has not the form of a tour.", where=str(path))
    return tuple(_stop(stop, common, models, library) for stop in stops)


def within_reach(stops: tuple[Stop, ...], library: Library) -> Iterator[Stop]:
    """The stops whose checkpoint and networks are all there."""
    for stop in stops:
        try:
            library.checkpoints.find(stop.request.checkpoint)
            for tag in tags(stop.request.prompt, library.tags):
                library.catalog(tag.kind).find(tag.name)
        except (CheckpointError, NetworkError):
            continue
        yield stop


def _stop(said: Mapping[str, Any], common: Mapping[str, Any], models: Path, library: Library) -> Stop:
    name, title, line = (said.get(word) for word in WORDS)
    if not (isinstance(name, str) and isinstance(title, str) and isinstance(line, str) and _NAME.fullmatch(name)):
        raise RequestError("A stop has a name (of a-z, 0-9 and -), a title and a line.", where=f"tour: {name!r:.60}")
    given = {**common, **{key: value for key, value in said.items() if key not in WORDS}}
    for key, value in given.items():
        if key not in DEFAULTS or isinstance(value, str) != isinstance(DEFAULTS[key], str):
            raise RequestError(f"{key!r:.60} cannot be {value!r:.60}.", where=f"tour: {name}")
    usual = library.usual(GenerationSettings(), str(given.get("checkpoint", ""))).model_dump()
    return Stop(
        name, title, line, GenerationRequest(**{**usual, **given}).checked(), models / PICTURES / f"{name}.webp"
    )
