from __future__ import annotations

import gc
import shutil
import weakref
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.diffusion.vae import with_vae
from app.errors import CheckpointError
from tests.diffusion.models import small_vae


def one_line(error: CheckpointError) -> str:
    text = str(error)
    assert "\n" not in text
    return text


def test_a_folder_says_what_it_is(sd15: Checkpoint, sdxl: Checkpoint) -> None:
    assert (sd15.family, sd15.prediction, sd15.latent_channels, sd15.vae_factor) == ("sd15", "epsilon", 4, 2)
    assert (sdxl.family, sdxl.text_encoders) == ("sdxl", ("text_encoder", "text_encoder_2"))
    assert sd15.clip_widths == {"text_encoder": 16}
    assert len(sd15.sha) == 10


def test_dropping_a_checkpoint_frees_it(sd15_folder: Path) -> None:
    checkpoint = load_checkpoint(sd15_folder, CPU)
    unet = weakref.ref(checkpoint.components["unet"])
    del checkpoint
    gc.collect()
    assert unet() is None


@pytest.mark.parametrize("part", ["model_index.json", "unet", "tokenizer", "scheduler", "unet/config.json"])
def test_a_part_that_is_missing_is_named(sd15_folder: Path, tmp_path: Path, part: str) -> None:
    folder = Path(shutil.copytree(sd15_folder, tmp_path / "broken"))
    target = folder / part
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink()
    with pytest.raises(CheckpointError, match="broken") as caught:
        load_checkpoint(folder, CPU)
    assert part.split("/")[0] in one_line(caught.value)


def test_a_weight_that_is_missing_or_misshapen_is_named(sd15_folder: Path, tmp_path: Path) -> None:
    for part in ("unet", "text_encoder", "vae"):
        folder = Path(shutil.copytree(sd15_folder, tmp_path / part))
        (file,) = (folder / part).glob("*.safetensors")
        tensors = load_file(file)
        name = sorted(tensors)[3]
        save_file({key: tensor.clone() for key, tensor in tensors.items() if key != name}, file)
        with pytest.raises(CheckpointError, match="missing"):
            load_checkpoint(folder, CPU)
        save_file({**{key: tensor.clone() for key, tensor in tensors.items()}, name: torch.zeros(3, 5)}, file)
        with pytest.raises(CheckpointError, match=part) as caught:
            load_checkpoint(folder, CPU)
        one_line(caught.value)


def damaged(folder: Path, good: Path) -> list[Path]:
    """Files that are no checkpoint: truncated, empty, text, a pickle under each name."""
    content = good.read_bytes()
    files = {
        "truncated.safetensors": content[: len(content) // 2],
        "empty.safetensors": b"",
        "text.safetensors": b"hello, I am a model",
        "empty.ckpt": b"",
        "text.ckpt": b"hello, I am a model",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
    torch.save({"state_dict": {"x": Path("evil")}}, folder / "pickle.ckpt")
    torch.save({"x": torch.zeros(1)}, folder / "pickle.safetensors")
    save_file({"x": torch.zeros(1)}, folder / "other.safetensors")
    return sorted(folder.iterdir())


def test_a_file_that_is_no_checkpoint_is_one_line_that_names_it(
    sd15: Checkpoint, sd15_folder: Path, tmp_path: Path
) -> None:
    good = next((sd15_folder / "vae").glob("*.safetensors"))
    for file in damaged(tmp_path, good):
        for load in (lambda path: load_checkpoint(path, CPU), lambda path: with_vae(sd15, path)):
            with pytest.raises(CheckpointError, match=file.name) as caught:
                load(file)
            one_line(caught.value)
    with pytest.raises(CheckpointError, match="nowhere"):
        load_checkpoint(tmp_path / "nowhere", CPU)


def test_a_vae_folder_takes_the_place_of_the_checkpoints_own(sd15: Checkpoint, tmp_path: Path) -> None:
    small_vae().save_pretrained(tmp_path / "other")
    changed = with_vae(sd15, tmp_path / "other")
    assert changed.vae is not sd15.vae
    assert changed.components["unet"] is sd15.components["unet"]


def test_a_vae_for_other_latents_is_refused(sd15: Checkpoint, tmp_path: Path) -> None:
    small_vae(latent_channels=16).save_pretrained(tmp_path / "wide")
    with pytest.raises(CheckpointError, match="16 latent channels"):
        with_vae(sd15, tmp_path / "wide")
