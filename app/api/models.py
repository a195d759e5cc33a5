"""The lists of what there is: checkpoints, VAEs, networks, embeddings, samplers."""

from __future__ import annotations

from typing import Any

from app.engine.library import Library, ModelFile
from app.errors import NetworkError
from app.generation.choices import SAMPLERS, SCHEDULE_TYPES
from app.generation.request import LATENT_UPSCALERS, PICTURE_UPSCALERS
from app.generation.styles import Styles
from app.networks.header import Header, read_header
from app.networks.record import NetworkFile
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


def loras(library: Library) -> list[dict[str, Any]]:
    """`loras`: `name` is what a tag names."""
    return [
        {
            "name": file.name,
            "alias": file.alias or file.output_name or file.bare,
            "path": str(file.path),
            "metadata": dict(header.metadata) if (header := _header(file)) else {},
        }
        for file in library.networks.entries()
    ]


def hypernetworks(library: Library) -> list[dict[str, Any]]:
    """`hypernetworks`: `name` is what a tag names."""
    return [{"name": file.name, "path": str(file.path)} for file in library.hypernetworks.entries()]


def styles(settings: SettingsStore) -> list[dict[str, Any]]:
    """`prompt-styles`, in the order of their file.

    Raises:
        StorageError: the file cannot be read.
    """
    return [
        {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative}
        for style in Styles(settings.data).all().values()
    ]


def embeddings(library: Library) -> dict[str, Any]:
    """`embeddings`: those that can be used, and those that cannot."""
    answer: dict[str, dict[str, Any]] = {"loaded": {}, "skipped": {}}
    for file in library.embeddings.entries():
        broken = any(problem.level == "error" for problem in file.problems)
        answer["skipped" if broken else "loaded"][file.name] = _embedding(file)
    return answer


def _embedding(file: NetworkFile) -> dict[str, Any]:
    header = _header(file)
    shape = next((shape for shape in header.shapes.values() if len(shape) == 2), None) if header else None
    return {
        "step": None,
        "sd_checkpoint": None,
        "sd_checkpoint_name": None,
        "shape": shape[1] if shape else None,
        "vectors": shape[0] if shape else None,
    }


def _header(file: NetworkFile) -> Header | None:
    """What a safetensors file says of itself; None for what is none, or is broken."""
    if file.pickled:
        return None
    try:
        return read_header(file.file)
    except NetworkError:
        return None


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


def upscalers() -> list[dict[str, Any]]:
    """`upscalers`: none of them is a model."""
    none = {"model_name": None, "model_path": None, "model_url": None}
    return [{"name": name, **none, "scale": 4} for name in PICTURE_UPSCALERS]


def latent_upscalers() -> list[dict[str, Any]]:
    """`latent-upscale-modes`."""
    return [{"name": name} for name in LATENT_UPSCALERS]
