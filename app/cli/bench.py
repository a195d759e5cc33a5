"""`bench`: the performance figures, as ratios measured in one run."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from app.errors import PatchbayError
from app.settings import SettingsStore
from app.settings.model import CHECKOUT

PAGE_TIMEOUT = 120.0
STARTS = 3


def bench(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Print each figure as it is measured; with `--json`, all of them at the end, alone on standard output."""
    figures: dict[str, float] = {}
    for name, value, unit in _figures():
        figures[name] = value
        print(f"{name:<40} {value:10.3f} {unit}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
    if arguments.json:
        print(json.dumps(figures))
    return 0


def _figures() -> Iterator[tuple[str, float, str]]:
    """Name, value and unit of each figure."""
    starts = [first_page_seconds() for _ in range(STARTS)]
    yield "start to first page, warm", min(starts), "s"
    # The sampling loop against diffusers' own pipeline, and patching against a copy, join here.


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
