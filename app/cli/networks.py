"""`networks list`, `networks show FILE`: the library, and all that a file says of itself, without torch; `networks
check FILE --model M`: the file against a model."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.errors import NetworkError, Problem

if TYPE_CHECKING:
    from rich.table import Table

    from app.networks.catalog import Catalog, NetworkFile
    from app.networks.hashes import Hashes
    from app.settings import SettingsStore

INDEX = "index.sqlite"
"""The index of the library, in the data folder."""


def networks(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Run the command that was chosen; 1 where a file that was asked for cannot be used."""
    action = {"list": _list, "show": _show, "check": _check}[arguments.action]
    return action(arguments, settings)


def catalog(arguments: argparse.Namespace, settings: SettingsStore) -> Catalog:
    """The library that the options name: the folder of `--dir`, else the configured ones."""
    from app.networks.catalog import Catalog

    folders = settings.folders
    places = {"lora": folders.loras, "embedding": folders.embeddings, "hypernetwork": folders.hypernetworks}
    if arguments.dir is not None and not arguments.dir.is_dir():
        raise NetworkError("There is no such folder.", where=str(arguments.dir))
    roots = (arguments.dir,) if arguments.dir is not None else places[arguments.kind]
    return Catalog(roots, arguments.kind, folders.data / INDEX)


def _list(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    library = catalog(arguments, settings)
    files = library.entries()
    if arguments.json:
        print(json.dumps([file.as_card() for file in files]))
    else:
        _print(_overview(files))
    problems = [problem for file in files for problem in file.problems]
    _tell((*library.problems, *(() if arguments.json else problems)))
    return 0


def _show(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    from app.networks.details import details

    file = located(arguments, settings)
    broken = any(problem.level == "error" for problem in file.problems)
    told = details(file, None if broken else _hashes(file, settings))
    if arguments.json:
        print(json.dumps(told))
    else:
        _print(_sheet(told))
    _tell(file.problems)
    return 1 if broken else 0


def _check(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    from app.cli.models import model_at
    from app.engine.workshop import Workshop

    file = located(arguments, settings)
    workshop = Workshop(settings.current.networks.loader)
    fit = workshop.fit(file, workshop.model(model_at(arguments.model, settings)))
    if arguments.json:
        print(json.dumps(fit.as_json()))
    else:
        _print(_sheet({key: value for key, value in fit.as_json().items() if key != "problems"}, CHECKED))
    _tell(fit.problems)
    return 0 if fit.fits else 1


def located(arguments: argparse.Namespace, settings: SettingsStore) -> NetworkFile:
    """The network that an argument means: a path that exists, else a name in the library.

    Raises:
        NetworkError: it is neither.
    """
    from app.networks.details import record_at

    path = Path(arguments.file)
    return record_at(path) if path.exists() or path.is_symlink() else catalog(arguments, settings).find(arguments.file)


def _hashes(file: NetworkFile, settings: SettingsStore) -> Hashes | None:
    """Both hashes; a folder's are those of the file that holds its tensors."""
    from app.networks.hashing import Hasher
    from app.networks.index import Index

    return Hasher(Index(settings.folders.data / INDEX)).hash(file.file)


def _tell(problems: Iterable[Problem]) -> None:
    for problem in problems:
        print(_line(f"{problem.source}: {problem}"), file=sys.stderr)


def _line(value: object) -> str:
    """A value on one line of a terminal, without the characters that command it."""
    return "".join(c if c.isprintable() else " " for c in str(value))


def _print(table: Table) -> None:
    from rich.console import Console

    Console(markup=False, emoji=False, highlight=False).print(table)


def _overview(files: Sequence[NetworkFile]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table("name", "base", "algorithms", "rank", "MB", "trigger words", box=None, title=f"{len(files)} networks")
    for file in files:
        algorithms = ", ".join(file.algorithms) or ("pickle" if file.pickled else "")
        words = ", ".join(file.trigger_words)[:60]
        cells = (file.name, file.base_model, algorithms, file.rank or "", f"{file.size / 1e6:.1f}", words)
        style = "red" if any(problem.level == "error" for problem in file.problems) else ""
        table.add_row(*(Text(_line(cell)) for cell in cells), style=style)
    return table


ROWS = (
    "name", "path", "kind", "base_model", "reason", "algorithms", "components", "rank", "alpha", "trigger_words",
    "trigger_source", "title", "author", "description", "training", "tag_frequency", "autov2", "autov3", "size",
)  # fmt: skip


CHECKED = ("name", "path", "model", "family", "base_model", "reason", "counts", "unmatched", "mismatched")


def _sheet(told: Mapping[str, Any], rows: Sequence[str] = ROWS) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    for name in rows:
        value = told.get(name)
        if value not in (None, "", (), [], {}):
            table.add_row(Text(name.replace("_", " "), style="bold"), Text(_line(_phrase(value))))
    return table


def _phrase(value: object) -> str:
    """A value in words: the first two dozen of a list or a table."""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {number}" for key, number in list(value.items())[:24])
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value[:24]))
    return str(value)
