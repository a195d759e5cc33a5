"""What the models folder holds, by name, without opening any of it further than a header."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from app.errors import CheckpointError, NetworkError
from app.networks.catalog import Catalog
from app.networks.details import record_at
from app.plugins import NetworkKind
from app.prompt.schedule import KINDS
from app.settings import Folders
from app.settings.model import GenerationSettings

WEIGHT_SUFFIXES = (".safetensors", ".ckpt", ".pt", ".bin")
SIDES: Mapping[str, int] = {
    "sd15": 512, "sd2": 768, "sdxl": 1024, "sdxl-refiner": 1024, "sd3": 1024, "flux": 1024, "chroma": 1024,
}  # fmt: skip
"""Pixels of the pictures that each family was trained on."""


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A checkpoint or VAE: a single file, or a diffusers folder. The name is its path below the models folder."""

    name: str
    path: Path

    @property
    def stamp(self) -> tuple[int, ...]:
        """Size and time of the file, or of the files one and two levels below the folder: they tell a change."""
        files = [self.path] if self.path.is_file() else sorted(self.path.glob("*/*")) + sorted(self.path.glob("*"))
        states = [file.stat() for file in files if file.is_file()]
        return tuple(number for state in states for number in (state.st_size, state.st_mtime_ns))

    @property
    def title(self) -> str:
        """The name with the file's suffix, as the web UIs' clients show it and send it back."""
        suffix = "" if self.path.is_dir() else self.path.suffix
        return self.name.removesuffix(suffix) + suffix

    @property
    def side(self) -> int | None:
        """The width and height in pixels that the model was trained on: as its folder says, else as its family's."""
        if not self.path.is_dir():
            return SIDES.get(self.base_model)
        try:
            denoiser, vae = (json.loads((self.path / part / "config.json").read_bytes()) for part in ("unet", "vae"))
            side = int(denoiser["sample_size"]) * 2 ** (len(vae["block_out_channels"]) - 1)
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return SIDES.get(self.base_model)
        return side if 16 <= side <= 8192 and side % 8 == 0 else None

    @property
    def base_model(self) -> str:
        """The model's family, told from the tensors its header names; "unknown" where they cannot be read."""
        try:
            return record_at(self.path, "checkpoint").base_model
        except NetworkError:
            return "unknown"


def models_in(roots: Sequence[Path], marker: str) -> tuple[ModelFile, ...]:
    """Every single file and every folder that holds the file `marker`, in name order.

    A name found below two roots is kept from the first, as settings list them.
    """
    found: dict[str, ModelFile] = {}
    for root in roots:
        for path in sorted(_walk(root, marker)):
            relative = path.relative_to(root)
            name = str(relative if path.is_dir() else relative.with_suffix("")).replace("\\", "/")
            if path.is_file() and name in found:
                name = relative.as_posix()
            found.setdefault(name, ModelFile(name, path))
    return tuple(sorted(found.values(), key=lambda model: model.name.lower()))


def _walk(folder: Path, marker: str) -> list[Path]:
    if not folder.is_dir():
        return []
    if (folder / marker).is_file():
        return [folder]
    found: list[Path] = []
    for entry in folder.iterdir():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            found += _walk(entry, marker)
        elif entry.suffix.lower() in WEIGHT_SUFFIXES:
            found.append(entry)
    return found


@dataclass(frozen=True, slots=True)
class ModelShelf:
    """The checkpoints, or the VAEs, of the configured folders. Listing reads the folders anew each time."""

    kind: str
    roots: tuple[Path, ...]
    marker: str

    def entries(self) -> tuple[ModelFile, ...]:
        """What is there now."""
        return models_in(self.roots, self.marker)

    def find(self, name: str) -> ModelFile:
        """The model of this name; the name with its suffix, and `name [hash]` as clients write it, are understood.

        Raises:
            CheckpointError: there is none; near names are given.
        """
        entries = self.entries()
        wanted = name.rsplit(" [", 1)[0] if name.endswith("]") else name
        for same in (str.__eq__, lambda a, b: a.lower() == b.lower()):
            for entry in entries:
                spellings = (entry.name, entry.path.name, entry.title, entry.name.rsplit("/", 1)[-1])
                if any(same(wanted, spelling) for spelling in spellings):
                    return entry
        near = get_close_matches(wanted, [entry.name for entry in entries], n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Put the file in {self.roots[0]} and refresh."
        raise CheckpointError(f"There is no {self.kind} named {name!r}.", hint=hint)


@dataclass(frozen=True, slots=True)
class Library:
    """Everything a prompt or a page can name. `kinds` are the kinds of tags that extensions add, by name."""

    checkpoints: ModelShelf
    vaes: ModelShelf
    networks: Catalog
    embeddings: Catalog
    hypernetworks: Catalog
    kinds: Mapping[str, NetworkKind] = field(default_factory=dict)

    @classmethod
    def of(cls, folders: Folders, kinds: Iterable[NetworkKind] = ()) -> Library:
        """The library of the configured folders; its index lies in the data folder."""
        index = folders.data / "index.sqlite"
        return cls(
            checkpoints=ModelShelf("checkpoint", folders.checkpoints, "model_index.json"),
            vaes=ModelShelf("VAE", folders.vaes, "config.json"),
            networks=Catalog(folders.loras, "lora", index),
            embeddings=Catalog(folders.embeddings, "embedding", index),
            hypernetworks=Catalog(folders.hypernetworks, "hypernetwork", index),
            kinds={kind.name: kind for kind in kinds},
        )

    @property
    def tags(self) -> frozenset[str]:
        """The kinds of tags that a prompt can use."""
        return KINDS.union(self.kinds)

    def catalog(self, kind: str) -> Catalog:
        """The networks that tags of this kind name; the files of extensions' kinds lie among the LoRAs.

        Raises:
            NetworkError: no network is of this kind.
        """
        catalogs = {"lora": self.networks, "lyco": self.networks, "hypernet": self.hypernetworks}
        catalogs |= dict.fromkeys(self.kinds, self.networks)
        if kind not in catalogs:
            raise NetworkError(f"No network is of the kind {kind}.", hint=f"Kinds are {', '.join(sorted(catalogs))}.")
        return catalogs[kind]

    def usual(self, settings: GenerationSettings, checkpoint: str = "") -> GenerationSettings:
        """The settings for a new form, at the size that the checkpoint was trained on unless they name another."""
        wanted = checkpoint or settings.checkpoint
        found = [entry for entry in self.checkpoints.entries() if wanted in ("", entry.name)]
        side = found[0].side if found else None
        if side is None or {"width", "height"} & settings.model_fields_set:
            return settings
        return settings.model_copy(update={"width": side, "height": side})

    def close(self) -> None:
        """Stop what reads in the background."""
        for catalog in (self.networks, self.embeddings, self.hypernetworks):
            catalog.close()
