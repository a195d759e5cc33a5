"""The lists of what there is: checkpoints, VAEs, networks, embeddings, samplers."""

from __future__ import annotations

from typing import Any

from app.engine.library import Library, ModelFile
from app.generation.choices import SAMPLERS, SCHEDULE_TYPES
from app.settings import SettingsStore


def checkpoint_in_use(settings: SettingsStore, library: Library) -> ModelFile | None:
    """The checkpoint that a request without one gets: the setting's, or the first there is."""
    name = settings.current.generation.checkpoint
    entries = library.checkpoints.entries()
    return next((entry for entry in entries if entry.name == name), entries[0] if entries else None)


def checkpoints(library: Library) -> list[dict[str, Any]]:
    """`sd-models`."""
    return [
        {
            "title": entry.title,
            "model_name": entry.name,
            "hash": None,
            "sha256": None,
            "filename": str(entry.path),
            "config": None,
        }
        for entry in library.checkpoints.entries()
    ]


def vaes(library: Library) -> list[dict[str, Any]]:
    """`sd-vae`."""
    return [{"model_name": entry.name, "filename": str(entry.path)} for entry in library.vaes.entries()]


def samplers() -> list[dict[str, Any]]:
    """`samplers`."""
    return [{"name": each.name, "aliases": list(each.aliases), "options": {}} for each in SAMPLERS]


def schedulers() -> list[dict[str, Any]]:
    """`schedulers`: `name` is the short spelling, `label` the one that is shown."""
    return [
        {
            "name": each.aliases[0],
            "label": each.name,
            "aliases": None,
            "default_rho": 7.0 if each.name == "Karras" else -1.0,
            "need_inner_model": each.name in ("Normal", "SGM Uniform", "Beta"),
        }
        for each in SCHEDULE_TYPES
    ]
