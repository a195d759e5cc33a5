"""`networks list`, `networks show FILE`, `networks check FILE --model M`: the library, one file, one file on a model.

Only the last loads anything but headers, and so imports torch.
"""

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
    from app.networks.keys import Model
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
    from app.networks.details import metadata_of

    library = catalog(arguments, settings)
    if arguments.hash:
        library.hash_all()
    files = library.entries()
    if arguments.json:
        print(json.dumps([file.as_card() | {"metadata": metadata_of(file)} for file in files]))
    else:
        _print(_overview(files))
    problems = [problem for file in files for problem in file.problems]
    _tell((*library.problems, *(() if arguments.json else problems)))
    return 0


def _show(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    file = located(arguments, settings)
    return _report(arguments, _told(file, settings), file.problems)


def _check(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """What of a file has a place on a model; 1 where nothing may be applied."""
    file = located(arguments, settings)
    told = _told(file, settings)
    if _broken(file.problems):
        return _report(arguments, told, file.problems)
    from app.engine.matching import matched

    tree, family, path = _tree(arguments, settings)
    try:
        match = matched(file.path, tree, family, settings.current.networks.loader)
    except NetworkError as error:
        problem = Problem("error", error.message, source=str(file.path), hint=error.hint)
        return _report(arguments, told, (*file.problems, *error.problems, problem))
    amiss = {*match.unmatched, *match.mismatched}
    told |= {
        "model": str(path),
        "model_family": family,
        "matched": match.matched,
        "matched_modules": [module for module in match.network.modules if module not in amiss],
        "unmatched": list(match.unmatched),
        "mismatched": list(match.mismatched),
    }
    return _report(arguments, told, tuple(dict.fromkeys((*file.problems, *match.network.problems, *match.problems))))


def _tree(arguments: argparse.Namespace, settings: SettingsStore) -> tuple[Model, str, Path]:
    """The modules and the family of the model that `--model` means, and its path. No weights are read.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
    """
    from app.cli.models import model_at
    from app.diffusion.stored_file import open_model

    path = model_at(arguments.model, settings)
    stored = open_model(path)
    return stored.modules, stored.family, path


def _told(file: NetworkFile, settings: SettingsStore) -> dict[str, object]:
    from app.networks.details import details

    return details(file, None if _broken(file.problems) else _hashes(file, settings))


def _broken(problems: Iterable[Problem]) -> bool:
    return any(problem.level == "error" for problem in problems)


def _report(arguments: argparse.Namespace, told: dict[str, object], problems: Sequence[Problem]) -> int:
    """Print what there is to tell of one file; 1 if one of the problems is an error."""
    if arguments.json:
        print(json.dumps(told | {"problems": [problem.as_json() for problem in problems]}))
    else:
        _print(_sheet(told))
    _tell(problems)
    return 1 if _broken(problems) else 0


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
        style = "red" if _broken(file.problems) else ""
        table.add_row(*(Text(_line(cell)) for cell in cells), style=style)
    return table


ROWS = (
    "name", "path", "kind", "base_model", "reason", "algorithms", "components", "rank", "alpha", "trigger_words",
    "trigger_source", "title", "author", "description", "training", "tag_frequency", "autov2", "autov3", "size",
    "model", "model_family", "matched", "unmatched", "mismatched",
)  # fmt: skip


def _sheet(told: Mapping[str, Any]) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False)
    for name in ROWS:
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
