"""The studio as it ships, served from this checkout with its demo model."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import browser_path, browser_type_launch_args

__all__ = ["browser_type_launch_args"]

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "models" / "checkpoints" / "patchbay-demo"
START_SECONDS = 180
SLOW = 120_000
"""Milliseconds, for a model that is loaded on a busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs a browser or the demo model where there is none."""
    missing = "no Chromium is installed" if browser_path() is None else ""
    missing = missing or ("" if DEMO.is_dir() else "the demo model is not in this checkout")
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing))


class RealStudio:
    """`serve`, as a user starts it, over a data folder of its own."""

    def __init__(self, data: Path, port: int) -> None:
        self.data = data
        self.address = f"http://127.0.0.1:{port}"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def environment(self) -> dict[str, str]:
        """One thread for the model: the browser beside it needs the other core."""
        return {**os.environ, "OMP_NUM_THREADS": "1"}

    def command(self, *words: str) -> list[str]:
        """A command of the studio, on the shipped models."""
        shared = ["--models", str(ROOT / "models"), "--data", str(self.data), "--device", "cpu"]
        return [sys.executable, "-m", "app", *words, *shared]

    def start(self) -> None:
        """Serve, and wait for the first answer."""
        serve = [*self.command("serve"), "--port", str(self._port), "--no-browser"]
        self._process = subprocess.Popen(serve, cwd=ROOT, env=self.environment)
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            try:
                urllib.request.urlopen(f"{self.address}/config", timeout=5).read()
            except OSError:
                assert self._process.poll() is None, "the studio ended while it started"
                time.sleep(0.2)
            else:
                return
        raise AssertionError("the studio did not answer")

    def stop(self) -> None:
        """End the process."""
        if self._process:
            self._process.terminate()
            self._process.wait(60)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStudio]:
    """The studio that these tests share."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    studio = RealStudio(tmp_path_factory.mktemp("real"), port)
    studio.start()
    yield studio
    studio.stop()


@pytest.fixture(scope="session")
def browser_context_args(real: RealStudio) -> dict[str, Any]:
    """Pages of this studio, not of the one that the other browser tests share."""
    return {"base_url": real.address}


@pytest.fixture(autouse=True)
def patient(page: Page) -> None:
    """Wait long enough for a busy machine."""
    page.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)
