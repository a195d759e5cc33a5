"""The studio as it ships, served from this checkout with its demo model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.e2e.conftest import browser_path, browser_type_launch_args
from tests.server_process import ROOT, Server, free_port

__all__ = ["browser_type_launch_args"]

DEMO = ROOT / "models" / "checkpoints" / "patchbay-demo"
SLOW = 120_000
"""Milliseconds, for a model that is loaded on a busy machine."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, by name, what needs a browser or the demo model where there is none."""
    missing = "no Chromium is installed" if browser_path() is None else ""
    missing = missing or ("" if DEMO.is_dir() else "the demo model is not in this checkout")
    for item in items:
        if missing and Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.skip(reason=missing))


class RealStudio(Server):
    """`serve`, as a user starts it, over a data folder of its own."""

    def serving(self) -> list[str]:
        return [*self.command("serve"), "--port", str(self.port), "--no-browser"]

    def command(self, *words: str) -> list[str]:
        """A command of the studio, on the shipped models."""
        shared = ["--models", str(ROOT / "models"), "--data", str(self.data), "--device", "cpu"]
        return [sys.executable, "-m", "app", *words, *shared]


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStudio]:
    """The studio that these tests share."""
    studio = RealStudio(tmp_path_factory.mktemp("real"), free_port())
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
