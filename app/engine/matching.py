"""A network's file on a model: its names read by us, or by diffusers where ours do not fit or a setting says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

from app.diffusion.lora_names import renamed
from app.errors import NetworkError, Problem
from app.networks.files import network_of, read_network, read_tensors
from app.networks.identity import UNKNOWN
from app.networks.keys import Model
from app.networks.resolve import Match, resolve

Loader = Literal["native", "diffusers"]
"""Who reads a network's names: we do, or diffusers does for every file."""


def matched(path: Path, model: Model, family: str, loader: Loader = "native") -> Match:
    """Read a network and find its places in a model.

    Where our names fit nothing of a file that is not for another base, or `loader` says so, diffusers' names are
    taken, and that is a problem to tell (a warning). Where diffusers cannot read them either, ours stay.

    Raises:
        NetworkError: the file cannot be read.
    """
    own = resolve(read_network(path), model, family)
    if loader == "native" and fits(own, family):
        return own
    try:
        found = _by_diffusers(own, model, family)
    except (ValueError, NetworkError) as error:
        said = error.message if isinstance(error, NetworkError) else str(error)
        message = f"{path.name}: diffusers cannot read its names either ({said})."
        if loader == "diffusers":
            message = f"{path.name}: diffusers cannot read its names ({said}); it is read natively."
        return replace(own, problems=(*own.problems, Problem("warning", message, source=str(path))))
    return found if found.matched or loader == "diffusers" else own


def fits(own: Match, family: str) -> bool:
    """Whether our names are the file's, or it is another base's: then diffusers' names are not asked for."""
    base = own.network.base.family
    return bool(own.matched or own.mismatched) or (UNKNOWN not in (base, family) and base != family)


def _by_diffusers(own: Match, model: Model, family: str) -> Match:
    """The same file under diffusers' names.

    Raises:
        ValueError: diffusers cannot read the names.
        NetworkError: what it makes of them is no network.
    """
    path = own.network.path
    tensors, metadata = read_tensors(path)
    read = renamed(tensors, model)
    network = network_of(path, read.tensors, metadata)
    network = replace(network, base=own.network.base, embeddings=own.network.embeddings)
    match = resolve(network, model, family)
    said = f" It says: {'; '.join(read.notes)}." if read.notes else ""
    message = f"{path.name} is read through diffusers: {match.matched} modules have a place.{said}"
    return replace(match, problems=(Problem("warning", message, source=str(path)), *match.problems))
