"""The record that Civitai's downloaders leave beside a file: trigger words, name, description.

Three layouts are about: a model version (`<name>.civitai.info`), a version under `civitai` (`<name>.metadata.json`),
and a whole model with its `modelVersions` (`<name>.json`). Hashes in them are not read: ours are computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from app.errors import NetworkError, Problem
from app.networks.sidecar import beside, read_object

CIVITAI_SUFFIXES = (".civitai.info", ".json", ".metadata.json")


@dataclass(frozen=True, slots=True)
class Civitai:
    """What a Civitai record says; it is written by downloaders, in several layouts."""

    words: tuple[str, ...] = ()
    name: str = ""
    description: str = ""


def read_civitai(path: Path) -> tuple[Civitai, tuple[Problem, ...]]:
    """The first Civitai record beside a network: a model version, or one under `civitai` or `modelVersions`."""
    problems: list[Problem] = []
    for suffix in CIVITAI_SUFFIXES:
        try:
            document = read_object(beside(path, suffix))
        except NetworkError as error:
            if suffix != ".json":  # the sidecar's own reader tells of that one
                problems.append(Problem("warning", error.message, source=error.where))
            continue
        for version in _versions(document, path.name):
            named = version.get("trainedWords")
            found = tuple(word for word in named if isinstance(word, str)) if isinstance(named, list) else ()
            model = version.get("model")
            title = model.get("name") if isinstance(model, dict) else document.get("name")
            text = version.get("description")
            return Civitai(found, title if isinstance(title, str) else "", text if isinstance(text, str) else ""), ()
    return Civitai(), tuple(problems)


def _versions(document: dict[str, object], filename: str) -> Iterator[dict[str, object]]:
    """The model versions of a record that may be this file's: those that name it before the others."""
    if "trainedWords" in document:
        yield document
    nested = document.get("civitai")
    if isinstance(nested, dict) and "trainedWords" in nested:
        yield nested
    listed = document.get("modelVersions")
    versions = [version for version in listed if isinstance(version, dict)] if isinstance(listed, list) else []
    yield from sorted(versions, key=lambda version: not _names(version, filename))


def _names(version: dict[str, object], filename: str) -> bool:
    files = version.get("files")
    return isinstance(files, list) and any(isinstance(f, dict) and f.get("name") == filename for f in files)
