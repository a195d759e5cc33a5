"""Extensions: what they may offer, and how they are loaded.

An extension is a file or a folder in `extensions/` with functions marked `@hook`. It returns values (filters, kinds of
network, routes); nothing hands it the application. What ships with Patchbay comes through the same door.
"""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from app.errors import ExtensionError, PatchbayError, Problem
from app.generation.request import GenerationRequest
from app.prompt.schedule import KINDS

if TYPE_CHECKING:
    from fastapi import APIRouter

    from app.networks.files import Network

NAME = "patchbay"
_KIND = re.compile(r"[a-z][a-z0-9_-]*")
RequestFilter = Callable[[GenerationRequest], GenerationRequest]

log = logging.getLogger(__name__)
hook = pluggy.HookimplMarker(NAME)
"""Marks an extension's function as the answer to the hook of its name."""
_specification = pluggy.HookspecMarker(NAME)


@dataclass(frozen=True, slots=True)
class NetworkKind:
    """A kind of network tag, `<name:…>`, and the reader of its files, which lie among the LoRAs.

    What it reads is applied as a LoRA is: `app.networks.files` has `Network`, and what makes one of tensors.
    """

    name: str
    read: Callable[[Path], Network]


class Hooks:
    """Every hook. An extension answers those it wants to."""

    @_specification
    def request_filters(self) -> Iterable[RequestFilter]:  # type: ignore[empty-body]
        """Rewrites applied to each request, in extension order, before its prompt is parsed."""

    @_specification
    def network_kinds(self) -> Iterable[NetworkKind]:  # type: ignore[empty-body]
        """Kinds of network tags beyond `lora`, `lyco` and `hypernet`."""

    @_specification
    def api_routes(self) -> Iterable[APIRouter]:  # type: ignore[empty-body]
        """Routes of the HTTP server, below `/extensions/<extension>/`."""


class Extensions:
    """The loaded extensions, in name order, those that ship first. A failure stops its own extension only."""

    def __init__(self, folder: Path | None = None, shipped: Sequence[tuple[str, ModuleType]] = ()) -> None:
        self._manager = pluggy.PluginManager(NAME)
        self._manager.add_hookspecs(Hooks)
        self._problems: list[Problem] = []
        for name, module in shipped:
            self._register(name, lambda module=module: module)  # type: ignore[misc]
        for path in _sources(folder):
            self._register(path.stem, lambda path=path: _imported(path))  # type: ignore[misc]
        self._filters = tuple(self._answers("request_filters"))
        self.network_kinds: tuple[NetworkKind, ...] = tuple(self._kinds())
        self.routers: tuple[tuple[str, APIRouter], ...] = tuple(self._answers("api_routes"))

    @property
    def names(self) -> tuple[str, ...]:
        """The extensions that were loaded."""
        return tuple(name for name, plugin in self._manager.list_name_plugin() if plugin is not None)

    @property
    def problems(self) -> tuple[Problem, ...]:
        """One report for each failure while they were loaded."""
        return tuple(self._problems)

    def filtered(self, request: GenerationRequest) -> GenerationRequest:
        """`request` after every extension's filters.

        Raises:
            ExtensionError: a filter failed; the extension is named.
            PatchbayError: a filter refused the request.
        """
        for name, rewrite in self._filters:
            try:
                request = rewrite(request)
            except PatchbayError:
                raise
            except Exception as error:
                raise ExtensionError(f"It failed on this request: {_said(error)}", where=name) from error
        return request

    def _register(self, name: str, load: Callable[[], ModuleType]) -> None:
        try:
            self._manager.register(load(), name)
            self._manager.check_pending()
        except (Exception, SystemExit) as error:  # noqa: BLE001  another's code, which may raise anything
            self._report(name, error)
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)

    def _answers(self, name: str) -> Iterator[tuple[str, Any]]:
        """What each extension returns for one hook, with the extension's name."""
        for implementation in getattr(self._manager.hook, name).get_hookimpls():
            extension = implementation.plugin_name
            try:
                values = list(implementation.function() or ())
            except Exception as error:  # noqa: BLE001  another's code, which may raise anything
                self._report(extension, error)
            else:
                yield from ((extension, value) for value in values)

    def _kinds(self) -> Iterator[NetworkKind]:
        """The kinds of network tags; each name is one extension's, and no reader's failure goes by without its name."""
        taken = set(KINDS)
        for extension, kind in self._answers("network_kinds"):
            if not isinstance(kind, NetworkKind) or not _KIND.fullmatch(str(kind.name)):
                self._report(extension, ExtensionError("What it calls a kind of network is none."))
            elif kind.name in taken:
                self._report(extension, ExtensionError(f"There is a kind of network named {kind.name} already."))
            else:
                taken.add(kind.name)
                yield NetworkKind(kind.name, partial(_read, extension, kind.read))

    def _report(self, name: str, error: BaseException) -> None:
        log.warning("The extension %s failed", name, exc_info=error)
        self._problems.append(Problem("error", f"The extension {name} failed: {_said(error)}", source=name))


def _sources(folder: Path | None) -> list[Path]:
    """The files and folders in `folder` that are extensions."""
    if folder is None or not folder.is_dir():
        return []
    entries = [entry for entry in folder.iterdir() if not entry.name.startswith((".", "_"))]
    return sorted(entry for entry in entries if entry.suffix == ".py" or (entry / "__init__.py").is_file())


def _imported(path: Path) -> ModuleType:
    """Import the extension at `path`, under a name that no package can have."""
    file = path / "__init__.py" if path.is_dir() else path
    name = f"patchbay_extension_{path.stem}"
    inside = [str(path)] if path.is_dir() else None
    spec = importlib.util.spec_from_file_location(name, file, submodule_search_locations=inside)
    if spec is None or spec.loader is None:
        raise ExtensionError("This is not a Python module.", where=str(path))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # Dataclasses and pickles look their module up there.
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _read(extension: str, read: Callable[[Path], Network], path: Path) -> Network:
    """What an extension's reader makes of a file.

    Raises:
        ExtensionError: it failed; the extension is named.
        PatchbayError: it refused the file.
    """
    from app.networks.files import Network  # torch, which loading extensions does not wait for

    try:
        network = read(path)
    except PatchbayError:
        raise
    except Exception as error:
        raise ExtensionError(f"{extension} failed to read it: {_said(error)}", where=extension) from error
    if not isinstance(network, Network):
        raise ExtensionError(f"{extension} made no network of it.", where=extension)
    return network


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
