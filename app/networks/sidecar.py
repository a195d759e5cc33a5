"""The notes kept beside a network, in `<name>.json`: the file that the web UIs share.

Its keys are `description`, `sd version`, `activation text`, `preferred weight`, `negative text` and `notes`;
every other key belongs to another program and is kept as it stands.
"""

from __future__ import annotations

import json
import math
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from app.errors import NetworkError, Problem, StorageError
from app.settings import write_atomically

FILE_SUFFIXES = frozenset({".safetensors", ".pt", ".ckpt", ".bin", ".pth"})
"""The suffixes of network files; what follows any other dot is part of a name."""
SIZE_LIMIT = 4_000_000
"""Bytes; Civitai's longest records are a tenth of this."""
KEYS: Mapping[str, str] = MappingProxyType(
    {
        "description": "description",
        "base_model": "sd version",
        "activation_text": "activation text",
        "preferred_weight": "preferred weight",
        "negative_text": "negative text",
        "notes": "notes",
    }
)
"""The key of each field of `Sidecar`."""
AUTO_APPLY = "auto apply"
"""A key of our own among the others: false keeps a network's trigger words from being applied by themselves."""


@dataclass(frozen=True, slots=True)
class Sidecar:
    """What the user noted about a network. A preferred weight of 0 means none; `others` are the unknown keys."""

    description: str = ""
    base_model: str = ""
    activation_text: str = ""
    preferred_weight: float = 0.0
    negative_text: str = ""
    notes: str = ""
    others: Mapping[str, object] = field(default_factory=dict)


def stem(path: Path) -> str:
    """The name of a network's file or folder without the suffix of a network file, if it has one."""
    return path.stem if path.suffix.lower() in FILE_SUFFIXES else path.name


def beside(path: Path, suffix: str) -> Path:
    """The file beside a network that has its name and this suffix, such as `.json` or `.preview.png`."""
    return path.parent / f"{stem(path)}{suffix}"


def read_object(path: Path) -> dict[str, object]:
    """The JSON object in a small file; empty if there is no such file.

    Raises:
        NetworkError: naming the file, if it is there but too large, unreadable or not a JSON object.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # asked before opening: opening a pipe would wait for ever
            raise NetworkError("It is not a regular file.", where=str(path))
        with path.open("rb") as file:
            text = file.read(SIZE_LIMIT + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    if len(text) > SIZE_LIMIT:
        raise NetworkError(f"It is larger than {SIZE_LIMIT} bytes.", where=str(path))
    try:
        document = json.loads(text.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        raise NetworkError("It is not JSON.", where=str(path)) from error
    if not isinstance(document, dict):
        raise NetworkError("It is not a JSON object.", where=str(path))
    return document


def read_sidecar(network: Path) -> tuple[Sidecar, tuple[Problem, ...]]:
    """The notes beside a network, and what is wrong with them. A value of the wrong type is left out, and said."""
    path = beside(network, ".json")
    try:
        document = read_object(path)
    except NetworkError as error:
        return Sidecar(), (Problem("warning", error.message, source=str(path)),)
    return _from_document(document, str(path))


def _from_document(document: dict[str, object], source: str) -> tuple[Sidecar, tuple[Problem, ...]]:
    values: dict[str, str | float] = {}
    problems: list[Problem] = []
    for name, key in KEYS.items():
        value = document.get(key)
        number = _weight(value) if name == "preferred_weight" else None
        if number is not None:
            values[name] = number
        elif isinstance(value, str) and name != "preferred_weight":
            values[name] = value.encode("utf-8", "replace").decode("utf-8")
        elif value is not None and value != "":
            problems.append(Problem("warning", f'Its "{key}" is not usable and is left out.', source=source))
    read = {KEYS[name] for name in values}
    others = {key: value for key, value in document.items() if key not in read}
    return Sidecar(**values, others=MappingProxyType(others)), tuple(problems)  # type: ignore[arg-type]


def _weight(value: object) -> float | None:
    """A finite number, or the text of one."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def write_sidecar(network: Path, sidecar: Sidecar) -> Path:
    """Write the notes beside a network, whole or not at all; unknown keys keep their values.

    Raises:
        StorageError: naming the file, if it cannot be written.
    """
    path = beside(network, ".json")
    known = {key: getattr(sidecar, name) for name, key in KEYS.items()}
    unset = {key for name, key in KEYS.items() if getattr(sidecar, name) == getattr(Sidecar(), name)}
    document = dict(sidecar.others) | {key: v for key, v in known.items() if key not in unset & sidecar.others.keys()}
    # ensure_ascii=False keeps the words legible; backslashreplace turns halves of characters into JSON's own escapes.
    text = json.dumps(document, indent=4, ensure_ascii=False).encode("utf-8", "backslashreplace")
    try:
        write_atomically(path, text)
    except OSError as error:
        raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(path)) from error
    return path
