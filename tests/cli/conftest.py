"""A studio's folders with a small random checkpoint."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder that holds the checkpoint `tiny`."""
    from tests.diffusion.models import saved, sd15_pipeline

    folder = tmp_path_factory.mktemp("models")
    saved(sd15_pipeline(), folder / "checkpoints" / "tiny")
    return folder
