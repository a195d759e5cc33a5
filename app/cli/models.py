"""What the commands that work on a model's files have in common: finding it and its networks, and telling problems."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from app.engine.library import ModelShelf
from app.errors import NetworkError
from app.networks.catalog import Catalog
from app.prompt.schedule import ScheduleOptions
from app.settings import SettingsStore

Answer = Mapping[str, Any]
"""What a command prints, as JSON."""


def model_at(model: str, settings: SettingsStore) -> Path:
    """The model that an argument means: a path that exists, else a checkpoint's name in the library.

    Raises:
        CheckpointError: it is neither.
    """
    path = Path(model).expanduser().absolute()
    if path.exists():
        return path
    return ModelShelf("checkpoint", settings.folders.checkpoints, "model_index.json").find(model).path


def networks_in(folder: Path | None, settings: SettingsStore) -> Catalog:
    """The networks of a folder, or of the configured ones.

    Raises:
        NetworkError: there is no such folder.
    """
    if folder is not None and not folder.is_dir():
        raise NetworkError("There is no such folder.", where=str(folder))
    roots = (folder,) if folder is not None else settings.folders.loras
    return Catalog(roots, "lora", settings.folders.data / "index.sqlite")


def schedule_options(settings: SettingsStore) -> ScheduleOptions:
    """How tags are read."""
    networks = settings.current.networks
    return ScheduleOptions(networks.default_strength, networks.schedule_separator)


def tell(answer: Answer) -> int:
    """Its problems, a line each on standard error; the exit status."""
    for problem in answer["problems"]:
        print(" ".join(f"{problem['level']}: {problem['message']} {problem['hint']}".split()), file=sys.stderr)
    return 1 if any(problem["level"] == "error" for problem in answer["problems"]) else 0
