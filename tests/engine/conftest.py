"""A studio in a folder: a small random model of the real kind, and networks made for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from app.engine.engine import Engine
from app.engine.generator import StudioGenerator
from app.engine.library import Library
from app.plugins import Extensions
from app.settings import SettingsStore
from tests.diffusion.models import saved, sd15_pipeline


def write_lora(path: Path, model: nn.Module, prefix: str, *, seed: int, size: float = 0.5, part: str = "attn") -> Path:
    """A kohya LoRA of rank 2 on every linear layer of `model` in a `part`, large enough to be seen."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear) and part in name:
            key = f"{prefix}_{name.replace('.', '_')}"
            tensors[f"{key}.lora_down.weight"] = torch.randn(2, module.in_features, generator=generator) * size
            tensors[f"{key}.lora_up.weight"] = torch.randn(module.out_features, 2, generator=generator) * size
            tensors[f"{key}.alpha"] = torch.tensor(2.0)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path)
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder: the checkpoint `small`, and the networks `ink`, `hat` (UNet) and `words` (text encoder)."""
    folder = tmp_path_factory.mktemp("models")
    pipeline = sd15_pipeline()
    saved(pipeline, folder / "checkpoints" / "small")
    write_lora(folder / "loras" / "ink.safetensors", pipeline.unet, "lora_unet", seed=1)
    write_lora(folder / "loras" / "hat.safetensors", pipeline.unet, "lora_unet", seed=2)
    write_lora(folder / "loras" / "words.safetensors", pipeline.text_encoder, "lora_te", seed=3)
    return folder


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> SettingsStore:
    return SettingsStore(tmp_path / "data", {"paths.models": models, "device.device": "cpu"})


@pytest.fixture
def library(settings: SettingsStore) -> Iterator[Library]:
    library = Library.of(settings.folders)
    yield library
    library.close()


@pytest.fixture
def engine(settings: SettingsStore, library: Library) -> Iterator[Engine]:
    with Engine(lambda: StudioGenerator(settings, library, Extensions()), library) as engine:
        yield engine
