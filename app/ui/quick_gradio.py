"""Gradio, imported in half the time.

On import, Gradio re-parses the source of every component to rewrite a `.pyi` stub beside it: half of the whole import,
a write into site-packages, and stubs left next to our own files. Nothing at run time reads them.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType

STUB_WRITER = "gradio.component_meta"


class _WithoutStubs(Loader):
    """Loads a module as its own loader does, then makes its stub writer do nothing."""

    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if hasattr(module, "create_or_modify_pyi"):
            vars(module)["create_or_modify_pyi"] = lambda *_args, **_kwargs: None


class _StubWriterFinder(MetaPathFinder):
    """Finds the one module that writes stubs, and nothing else."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != STUB_WRITER:
            return None
        spec = PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            spec.loader = _WithoutStubs(spec.loader)
        return spec


@contextmanager
def _without_stub_writer() -> Iterator[None]:
    finder = _StubWriterFinder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


def import_gradio(cache: Path) -> None:
    """Import Gradio with its telemetry off, its temporary files below `cache`, and no stubs written."""
    cache.mkdir(parents=True, exist_ok=True)
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["GRADIO_TEMP_DIR"] = str(cache)
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    with _without_stub_writer():
        importlib.import_module("gradio")
