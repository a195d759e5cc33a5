"""Where each kind of file lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.settings.model import Settings

FOLDER_NAMES: Mapping[str, tuple[str, ...]] = {
    "checkpoints": ("checkpoints", "Stable-diffusion"),
    "vaes": ("vae", "VAE"),
    "loras": ("loras", "Lora", "LyCORIS"),
    "embeddings": ("embeddings",),
    "hypernetworks": ("hypernetworks",),
}
"""Where each kind lies below the models folder: our name, then other web UIs'."""


@dataclass(frozen=True, slots=True)
class Folders:
    """Where each kind of file is looked for; a new file goes to the first folder of its kind."""

    checkpoints: tuple[Path, ...]
    vaes: tuple[Path, ...]
    loras: tuple[Path, ...]
    embeddings: tuple[Path, ...]
    hypernetworks: tuple[Path, ...]
    models: Path
    outputs: Path
    data: Path


def folders(settings: Settings, data: Path) -> Folders:
    """The folders that `settings` name, with other web UIs' names below the models folder where they exist."""
    models = data / settings.paths.models.expanduser()
    extras: Mapping[str, tuple[Path, ...]] = {
        "checkpoints": settings.paths.extra_checkpoints,
        "vaes": settings.paths.extra_vaes,
        "loras": settings.networks.extra_folders,
        "embeddings": settings.paths.extra_embeddings,
    }
    found: dict[str, tuple[Path, ...]] = {}
    for kind, (ours, *others) in FOLDER_NAMES.items():
        elsewhere = [models / name for name in others if (models / name).is_dir()]
        named = [data / path.expanduser() for path in extras.get(kind, ())]
        found[kind] = _distinct([models / ours, *elsewhere, *named])
    return Folders(**found, models=models, outputs=data / settings.paths.outputs.expanduser(), data=data)


def _distinct(paths: Iterable[Path]) -> tuple[Path, ...]:
    """`paths` without those that are the same folder again, on disks that ignore case too."""
    kept: dict[object, Path] = {}
    for path in paths:
        try:
            status = path.stat()
            kept.setdefault((status.st_dev, status.st_ino), path)
        except OSError:
            kept.setdefault(path, path)
    return tuple(kept.values())
