"""A browser on the page's routes over a small library."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.ui.network_page import studio, write


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """The data folder."""
    return tmp_path


@pytest.fixture
def tab(data: Path) -> Iterator[TestClient]:
    """A browser that has opened the page."""
    with studio(data, write) as client:
        client.get("/")
        yield client
