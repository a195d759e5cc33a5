"""`bench`: the performance figures, as ratios measured in one run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from app.engine.library import Library
from app.errors import PatchbayError
from app.settings import SettingsStore
from app.settings.model import CHECKOUT

PAGE_TIMEOUT = 120.0
STARTS = 3


def bench(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Print each figure as it is measured; with `--json`, all of them at the end, alone on standard output."""
    figures: dict[str, float] = {}
    for name, value, unit in _figures(arguments, settings):
        figures[name] = value
        print(f"{name:<50} {value:10.4f} {unit}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if arguments.json:
        print(json.dumps(figures))
    return 0


def _figures(arguments: argparse.Namespace, settings: SettingsStore) -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of each figure, as it is known; the benchmarks themselves lie with the tests."""
    yield "start to first page, warm", min(first_page_seconds() for _ in range(STARTS)), "s"
    shelf = Library.of(settings.folders).checkpoints
    found = [shelf.find(arguments.checkpoint)] if arguments.checkpoint else shelf.entries()[:1]
    sampling = import_module("tests.benchmarks.sampling")
    device = settings.current.device
    for entry in found:
        yield from (
            (each.name, each.value, each.unit)
            for each in sampling.sampling_figures(entry.path, device.device, device.dtype)
        )
    patching = import_module("tests.benchmarks.patching")
    yield from ((each.name, each.value, each.unit) for each in patching.patching_figures())


def first_page_seconds() -> float:
    """Seconds from the start of a process to its first page.

    Raises:
        PatchbayError: it did not come.
    """
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        with _serving(Path(folder)) as address:
            httpx.get(address, timeout=PAGE_TIMEOUT).raise_for_status()
            return time.perf_counter() - started


@contextmanager
def _serving(data: Path) -> Iterator[str]:
    """A studio in a process of its own, on a free port; its address."""
    command = [sys.executable, str(CHECKOUT / "webui.py"), "--no-venv", "serve", "--no-browser", "--data", str(data)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            for line in process.stdout or ():
                if line.startswith("Patchbay is at "):
                    yield line.split()[3]
                    return
            raise PatchbayError("The studio did not start.", where="bench")
        finally:
            process.terminate()
