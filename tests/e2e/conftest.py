"""A browser and a studio that paints instead of diffusing. Without a browser these tests are skipped, by name."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.server_process import ROOT, Server, free_port

STUDIO = ROOT / "tests" / "ui" / "standin.py"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
STEP_SECONDS = 0.02
SLOW = 30_000
"""Milliseconds: the machine may be busy."""
NETWORKS = 400


def browser_path() -> str | None:
    """The browser of this machine."""
    named = os.environ.get("CHROMIUM")
    return named or next((found for name in BROWSERS if (found := shutil.which(name))), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a browser where there is none."""
    if browser_path() is None:
        missing = pytest.mark.skip(reason="no Chromium is installed")
        for item in items:
            if Path(__file__).parent in item.path.parents:
                item.add_marker(missing)


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The installed browser, kept from its own errands."""
    quiet = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    ]
    return {**browser_type_launch_args, "executable_path": browser_path(), "args": quiet}


class Studio(Server):
    """The stand-in studio."""

    def __init__(self, data: Path, port: int, networks: int = NETWORKS) -> None:
        super().__init__(data, port)
        self._networks = networks

    def serving(self) -> list[str]:
        told = {"--data": self.data, "--port": self.port, "--step": STEP_SECONDS, "--networks": self._networks}
        return [sys.executable, str(STUDIO), *(str(word) for pair in told.items() for word in pair)]

    @contextmanager
    def held(self) -> Iterator[None]:
        """A prompt with "hold" stops half-way through its steps, until this is left."""
        hold = self.data / "hold"
        hold.touch()
        try:
            yield
        finally:
            hold.unlink()


@pytest.fixture(scope="session")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio that all tests share."""
    running = Studio(tmp_path_factory.mktemp("studio"), free_port())
    running.start()
    yield running
    running.stop()


@pytest.fixture(scope="session")
def base_url(studio: Studio) -> str:
    """Where the studio is."""
    return studio.address


@pytest.fixture(autouse=True)
def patient(page: Page) -> None:
    """Wait long enough for a busy machine."""
    page.set_default_timeout(SLOW)
    expect.set_options(timeout=SLOW)


@pytest.fixture(autouse=True)
def no_surprises(page: Page, base_url: str) -> Iterator[None]:
    """No script fails, and nothing is asked of a foreign host."""
    failures: list[str] = []
    page.on("pageerror", lambda error: failures.append(str(error)))
    ours = (base_url, base_url.replace("http", "ws"), "data:", "blob:")
    page.on("request", lambda request: None if request.url.startswith(ours) else failures.append(request.url))
    yield
    assert not failures
