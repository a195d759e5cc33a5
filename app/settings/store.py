"""The settings in force, and the file that keeps what the user changed."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs
import pydantic_settings
import tomlkit
from pydantic import ValidationError
from tomlkit.exceptions import TOMLKitError

from app.errors import Problem, SettingsError, StorageError
from app.settings.files import write_atomically
from app.settings.folders import Folders, folders
from app.settings.model import Settings

FILE = "settings.toml"


class SettingsStore:
    """The settings in force and the file behind them. Safe to use from several threads.

    `pins` are the command line's values by key; `data` is the data folder, made when it is first written to.
    """

    def __init__(self, data: Path | None = None, pins: Mapping[str, object] | None = None) -> None:
        self.data = (data or default_data_folder()).expanduser().absolute()
        self.path = self.data / FILE
        self._pinned = _merged(_environment(), _nested(pins or {}))
        self._lock = threading.Lock()
        document = self._read()
        self.problems = tuple(_unknown(document.unwrap(), self.path))
        self._current = self._checked(document)

    @property
    def current(self) -> Settings:
        """The settings now; a frozen record, replaced as a whole by a change."""
        return self._current

    @property
    def locked(self) -> frozenset[str]:
        """Keys that the environment or the command line decide."""
        return frozenset(key for key, _ in _flat(self._pinned))

    @property
    def folders(self) -> Folders:
        """Where files lie, by the settings now."""
        return folders(self._current, self.data)

    def change(self, values: Mapping[str, object]) -> Settings:
        """Set `values` by key ("networks.loader"), keep them in the file, and return the settings now.

        Raises:
            SettingsError: a key is unknown or locked, or a value is not one it can have; nothing is changed.
            StorageError: the file cannot be written; nothing is changed.
        """
        for key in values:
            self._editable(key)
        with self._lock:
            document = self._read()
            checked = self._checked(document, _nested(values)).model_dump(mode="json")
            for key in values:
                section, name = key.split(".")
                _put(document, section, name, checked[section][name])
            return self._written(document)

    def reset(self, keys: Iterable[str]) -> Settings:
        """Give `keys` their defaults back, by forgetting them; raises as `change` does."""
        keys = tuple(keys)
        for key in keys:
            self._editable(key)
        with self._lock:
            document = self._read()
            for key in keys:
                section, name = key.split(".")
                _put(document, section, name, None)
            return self._written(document)

    def _editable(self, key: str) -> None:
        if key not in dict(_fields()):
            raise SettingsError("There is no such setting.", where=key)
        if key in self.locked:
            raise SettingsError("This is set by the environment or the command line.", where=key)

    def _checked(self, document: tomlkit.TOMLDocument, values: Mapping[str, Any] | None = None) -> Settings:
        merged = _merged(document.unwrap(), _merged(values or {}, self._pinned))
        try:
            return Settings(**merged)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            raise SettingsError(f"{first['input']!r:.80} cannot be used: {first['msg']}.", where=where) from error

    def _read(self) -> tomlkit.TOMLDocument:
        try:
            return tomlkit.parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return tomlkit.document()
        except (OSError, UnicodeDecodeError, TOMLKitError) as error:
            raise SettingsError(f"The settings cannot be read: {error}", where=str(self.path)) from error

    def _written(self, document: tomlkit.TOMLDocument) -> Settings:
        settings = self._checked(document)
        try:
            write_atomically(self.path, tomlkit.dumps(document).encode())
        except OSError as error:
            message = f"The settings cannot be written: {error.strerror}."
            raise StorageError(message, where=str(self.path)) from error
        self._current = settings
        return settings


def default_data_folder() -> Path:
    """`PATCHBAY_DATA`, else the user's data folder of this platform."""
    return Path(os.environ.get("PATCHBAY_DATA") or platformdirs.user_data_path("patchbay", appauthor=False))


def _put(document: tomlkit.TOMLDocument, section: str, name: str, value: object) -> None:
    """Set or (None) remove one key, and a table that this leaves empty."""
    table = document.setdefault(section, tomlkit.table())
    if value is None:
        table.pop(name, None)
    else:
        table[name] = value
    if not table:
        del document[section]


def _environment() -> dict[str, Any]:
    """What `PATCHBAY_<SECTION>__<NAME>` variables say."""
    try:
        return dict(pydantic_settings.EnvSettingsSource(Settings)())
    except pydantic_settings.SettingsError as error:
        raise SettingsError(f"An environment variable cannot be used: {error}.", where="environment") from error


def _fields() -> Iterator[tuple[str, object]]:
    """Every key, with its default."""
    return _flat(Settings().model_dump())


def _flat(sections: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for section, values in sections.items():
        if isinstance(values, Mapping):
            for name, value in values.items():
                yield f"{section}.{name}", value


def _nested(values: Mapping[str, object]) -> dict[str, dict[str, object]]:
    sections: dict[str, dict[str, object]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return sections


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both, `over` deciding where both speak."""
    merged = dict(under)
    for key, value in over.items():
        below = merged.get(key)
        merged[key] = {**below, **value} if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return merged


def _unknown(sections: Mapping[str, Any], path: Path) -> Iterator[Problem]:
    known = dict(_fields())
    for key, _ in _flat(sections):
        if key not in known:
            yield Problem("warning", f"There is no setting {key!r}; it is ignored.", source=str(path))
