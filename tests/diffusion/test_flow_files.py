from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import pytest

from app.diffusion.device import CPU
from app.diffusion.flow_files import T5_FOLDER, t5_tokenizer
from app.diffusion.loading import load_checkpoint
from app.errors import CheckpointError
from tests.diffusion import original
from tests.diffusion.test_flow import t5
from tests.diffusion.test_single_file import generated, slow

CLIP_L, CLIP_G = "text_encoders.clip_l.", "text_encoders.clip_g."


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A models folder in which T5's tokenizer is already cached."""
    folder = tmp_path / "models"
    (folder / "checkpoints").mkdir(parents=True)
    t5()[1].save_pretrained(folder / T5_FOLDER)
    return folder


def small_vae(prefix: str) -> original.Shapes:
    return original.vae((32, 32, 32, 32), prefix, latents=16, quant=False)


def sd3_texts() -> original.Shapes:
    projection = {f"{CLIP_G}transformer.text_projection.weight": (128, 128)}
    return original.openai_clip(CLIP_L, 2, 64) | original.openai_clip(CLIP_G, 2, 128) | projection


def test_an_sd3_file_loads_and_generates(models: Path) -> None:
    shapes = original.sd3(64, 192, 192) | sd3_texts() | small_vae("first_stage_model.") | original.t5(30, 192)
    generated(original.write(shapes, models / "checkpoints" / "sd3.safetensors"), "sd3")


def test_an_sd3_file_without_t5_needs_no_tokenizer_of_it(tmp_path: Path) -> None:
    shapes = original.sd3(64, 192, 192) | sd3_texts() | small_vae("first_stage_model.")
    generated(original.write(shapes, tmp_path / "sd3.safetensors"), "sd3")


def test_a_transformer_alone_says_what_else_it_needs(tmp_path: Path) -> None:
    path = original.write(original.sd3(64, 192, 192), tmp_path / "sd3.safetensors")
    with pytest.raises(CheckpointError, match="clip_g, clip_l, the VAE"):
        load_checkpoint(path, CPU)


def test_without_the_hub_the_folder_to_fill_is_named(tmp_path: Path) -> None:
    def offline() -> NoReturn:
        raise OSError("no network")

    with pytest.raises(CheckpointError, match=r"tokenizer\.json") as caught:
        t5_tokenizer(tmp_path / T5_FOLDER, offline)
    assert str(tmp_path / T5_FOLDER) in str(caught.value)
    assert "\n" not in str(caught.value)


@slow
@pytest.mark.parametrize("guided", [True, False])
def test_a_flux_file_loads_and_generates(models: Path, guided: bool) -> None:
    shapes = original.flux(64, 64, guided) | original.openai_clip(CLIP_L, 2, 64) | original.t5(30, 64)
    path = original.write(shapes | small_vae("vae."), models / "checkpoints" / "flux.safetensors")
    try:
        generated(path, "flux")
    finally:
        path.unlink()
