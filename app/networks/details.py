"""Everything that can be told of one network without loading it: the details page, and `networks show`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from app.errors import NetworkError
from app.networks.contents import contents, read_scalars
from app.networks.families import kind_of
from app.networks.hashes import Hashes
from app.networks.header import Header, read_header
from app.networks.metadata import describe
from app.networks.record import NetworkFile, inspect
from app.networks.scan import Kind, found_at
from app.networks.sidecar import KEYS, Sidecar

PICTURES = frozenset({"ssmd_cover_images", "modelspec.thumbnail"})
"""Metadata that are pictures, and shown as such."""


def record_at(path: Path, kind: Kind | None = None) -> NetworkFile:
    """The record of one file or folder, wherever it lies; its kind is told from its tensors if it is not given.

    Raises:
        NetworkError: naming the path: nothing is there. A file that cannot be read is a record with its problem.
    """
    found = found_at(path)
    if kind is None:
        header = _header(found.file)
        kind = kind_of(header.shapes) if header else "checkpoint" if found.file.name == "model_index.json" else "lora"
    return inspect(found, kind)


def details(file: NetworkFile, hashes: Hashes | None = None) -> dict[str, object]:
    """The card, and what is too long for it: every tag with its count, the training, the metadata, the sidecar."""
    header = None if file.refused else _header(file.file)
    metadata = header.metadata if header else {}
    said = describe(file.path, metadata)
    told = {
        "description": said.text,
        "tag_frequency": dict(said.tag_frequency),
        "training": dict(said.training),
        "sidecar": _sidecar(said.sidecar),
        "metadata": without_pictures(metadata),
        "dtypes": dict(Counter(info.dtype for info in header.tensors.values())) if header else {},
        "tensors": len(header.tensors) if header else 0,
    }
    if hashes is not None:
        told |= {"hash": hashes.autov3, "autov2": hashes.autov2, "autov3": hashes.autov3, "sha256": hashes.sha256}
    if header is not None and file.kind == "lora":
        held = contents(header, file.base_model)
        told["ranks"] = {str(rank): count for rank, count in held.ranks.items()}
        told["alphas"] = {f"{a:g}": n for a, n in sorted(Counter(read_scalars(file.file, header, held.alphas)).items())}
        told["embeddings"] = list(held.embeddings)
    return file.as_card() | told


def without_pictures(metadata: Mapping[str, str]) -> dict[str, str]:
    """The metadata as they stand, but for pictures, which are shown as such."""
    return {key: value for key, value in metadata.items() if key not in PICTURES}


def metadata_of(file: NetworkFile) -> dict[str, str]:
    """A file's metadata without pictures; none of a file that has none or cannot be read."""
    header = None if file.refused else _header(file.file)
    return without_pictures(header.metadata) if header else {}


def _header(path: Path) -> Header | None:
    """The header, of a file that has one; why it cannot be read is a problem of the record."""
    try:
        return read_header(path) if path.suffix.lower() == ".safetensors" else None
    except NetworkError:
        return None


def _sidecar(sidecar: Sidecar) -> dict[str, object]:
    return {KEYS[field.name]: getattr(sidecar, field.name) for field in fields(sidecar) if field.name in KEYS}
