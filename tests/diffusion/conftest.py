from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from tests.diffusion.models import saved, sd15_pipeline, sdxl_pipeline

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def sd15_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(sd15_pipeline(), tmp_path_factory.mktemp("models") / "small-sd15")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(sdxl_pipeline(), tmp_path_factory.mktemp("models") / "small-sdxl")


@pytest.fixture(scope="session")
def sd15(sd15_folder: Path) -> Checkpoint:
    return load_checkpoint(sd15_folder, CPU)


@pytest.fixture(scope="session")
def sdxl(sdxl_folder: Path) -> Checkpoint:
    return load_checkpoint(sdxl_folder, CPU)
