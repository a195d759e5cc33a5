"""`options`: settings under the names that other web UIs gave them, and under their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.api.models import checkpoint_in_use
from app.engine.library import Library
from app.settings import SettingsStore

NAMES: Mapping[str, str] = {
    "sd_model_checkpoint": "generation.checkpoint",
    "sd_vae": "generation.vae",
    "CLIP_stop_at_last_layers": "generation.clip_skip",
    "emphasis": "generation.emphasis",
    "extra_networks_default_multiplier": "networks.default_strength",
    "show_progress_every_n_steps": "previews.every",
    "outdir_samples": "paths.outputs",
}
REQUEST_FIELDS: Mapping[str, str] = {
    "sd_model_checkpoint": "checkpoint",
    "sd_vae": "vae",
    "CLIP_stop_at_last_layers": "clip_skip",
    "emphasis": "emphasis",
}
"""Options that a request may override, with its fields."""


def all_options(settings: SettingsStore, library: Library) -> dict[str, Any]:
    """Every setting, and the other web UIs' names for those that have one."""
    sections = settings.current.model_dump(mode="json")
    ours = {f"{section}.{name}": value for section, values in sections.items() for name, value in values.items()}
    entry = checkpoint_in_use(settings, library)
    theirs = {name: ours[key] for name, key in NAMES.items()}
    return {**theirs, "sd_model_checkpoint": entry.title if entry else None, **ours}


def change_options(values: Mapping[str, Any], settings: SettingsStore, library: Library) -> None:
    """Change the settings among `values`; names that are not ours are ignored, as clients send many.

    Raises:
        SettingsError: a value is not one the setting can have, or its key is locked.
        CheckpointError: there is no such checkpoint or VAE.
    """
    known = dict(NAMES) | {key: key for key in all_options(settings, library) if "." in key}
    changes = {known[name]: value for name, value in values.items() if name in known}
    if checkpoint := changes.get("generation.checkpoint"):
        changes["generation.checkpoint"] = library.checkpoints.find(str(checkpoint)).name
    if "generation.vae" in changes:
        changes["generation.vae"] = vae_name(changes["generation.vae"], library)
    if changes:
        settings.change(changes)


def vae_name(value: object, library: Library) -> str:
    """A VAE's name as we list it; None, "None" and "Automatic" are the checkpoint's own.

    Raises:
        CheckpointError: there is no such VAE.
    """
    name = str(value or "Automatic")
    return "Automatic" if name in ("None", "Automatic") else library.vaes.find(name).name
