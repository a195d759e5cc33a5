"""Another VAE is loaded alone: the rest of the model stays where it is, and the pictures are those of a fresh start."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch

from app.diffusion.device import Placement
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.errors import CheckpointError
from app.settings import SettingsStore
from tests.diffusion.models import small_vae

CPU = Placement(torch.device("cpu"), torch.float32)


@pytest.fixture
def own(models: Path, tmp_path: Path) -> Path:
    """A models folder with a checkpoint, another VAE for it, and one that is for other latents."""
    shutil.copytree(models / "checkpoints", tmp_path / "checkpoints")
    torch.manual_seed(8)
    small_vae().save_pretrained(tmp_path / "vae" / "other")
    small_vae(latent_channels=16).save_pretrained(tmp_path / "vae" / "foreign")
    return tmp_path


@pytest.fixture
def library(own: Path) -> Library:
    return Library.of(SettingsStore(own / "data", {"paths.models": own}).folders)


def vae_bits(model: LoadedModel) -> torch.Tensor:
    return torch.cat([tensor.flatten() for tensor in model.checkpoint.vae.state_dict().values()])


def test_another_vae_leaves_the_rest_of_the_model_where_it_is(library: Library) -> None:
    holder = ModelHolder(library)
    first = holder.model("small", "Automatic", CPU)
    pristine = vae_bits(first)
    other = holder.model("small", "other", CPU)
    assert other.checkpoint.components["unet"] is first.checkpoint.components["unet"]
    assert other.checkpoint.components["text_encoder"] is first.checkpoint.components["text_encoder"]
    assert (vae_bits(other) == vae_bits(ModelHolder(library).model("small", "other", CPU))).all()
    assert holder.model("small", "other", CPU) is other
    back = holder.model("small", "Automatic", CPU)
    assert back.checkpoint.components["vae"] is first.checkpoint.components["vae"]
    assert (vae_bits(back) == pristine).all()


def test_a_vae_that_does_not_fit_is_told_and_the_next_request_goes_on(library: Library) -> None:
    holder = ModelHolder(library)
    first = holder.model("small", "Automatic", CPU)
    for name in ("foreign", "nowhere"):
        with pytest.raises(CheckpointError):
            holder.model("small", name, CPU)
    again = holder.model("small", "Automatic", CPU)
    assert again.checkpoint.components["unet"] is first.checkpoint.components["unet"]


def test_a_checkpoint_whose_files_have_changed_is_loaded_anew(library: Library, own: Path) -> None:
    holder = ModelHolder(library)
    first = holder.model("small", "Automatic", CPU)
    config = own / "checkpoints" / "small" / "model_index.json"
    config.write_text(config.read_text() + "\n")
    other = holder.model("small", "other", CPU)
    assert other.checkpoint.components["unet"] is not first.checkpoint.components["unet"]
