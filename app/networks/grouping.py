"""The keys of a file, by what they are of: modules, bundled embeddings, or nothing that is known."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from app.networks.formats import bundled, split


class Keys(NamedTuple):
    """Keys by module and role; by bundled word and text encoder; and those that are neither."""

    modules: Mapping[str, Mapping[str, str]]
    embeddings: Mapping[str, Mapping[str, str]]
    stray: tuple[str, ...]


def grouped(keys: Iterable[str]) -> Keys:
    """The keys of a file, in its order."""
    modules: dict[str, dict[str, str]] = {}
    embeddings: dict[str, dict[str, str]] = {}
    rest: list[str] = []
    for key in keys:
        if (bundle := bundled(key)) is not None:
            word, kind = bundle
            embeddings.setdefault(word, {})[kind] = key
        elif (found := split(key)) is not None:
            module, role = found
            modules.setdefault(module, {})[role] = key
        else:
            rest.append(key)
    stray = []
    for key in rest:  # LyCORIS' IA³ calls its vector "weight", which is one only beside "on_input"
        module, _, leaf = key.rpartition(".")
        if leaf == "weight" and "on_input" in modules.get(module, {}):
            modules[module]["weight"] = key
        else:
            stray.append(key)
    return Keys(modules, embeddings, tuple(stray))
