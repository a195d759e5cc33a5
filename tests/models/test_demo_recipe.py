"""The recipe of the demo model runs from start to end, and what it shipped loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

pytest.importorskip("lycoris")

from app.__main__ import main
from models.demo.exhibits import EXHIBITS

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "models" / "checkpoints" / "patchbay-demo"
SHARP = ROOT / "models" / "vae" / "patchbay-demo-sharp"
MEGABYTE = 1_000_000


def has_emoji_font() -> bool:
    """Whether the recipe finds the font whose pictures it learns from."""
    if shutil.which("fc-list") is None:
        return False
    listing = subprocess.run(
        ["fc-list", ":family=Noto Color Emoji", "file"], capture_output=True, text=True, check=False
    )
    return bool(listing.stdout.strip())


def run(*command: object) -> str:
    """A command of the checkout, and what it printed."""
    # One thread: the work is too small to share, and sharing is slow on a busy machine.
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *map(str, command)], cwd=ROOT, env=environment, check=True, stdout=-1)
    return done.stdout.decode()


@pytest.mark.skipif(not has_emoji_font(), reason="Noto Color Emoji is not installed")
def test_the_recipe_runs_end_to_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path / "data"))
    model = tmp_path / "models" / "checkpoints" / "tiny"
    run("-m", "models.demo", "--tiny", "--work", tmp_path / "work", "--out", model, "--vae", tmp_path / "vae")
    report = json.loads((tmp_path / "work" / "adherence.json").read_text())
    assert report["pictures"] == 4
    pipeline = load(model)
    picture = pipeline("a cat on a blue background", num_inference_steps=1).images[0]
    assert picture.size == (32, 32)
    sharp = AutoencoderKL.from_pretrained(tmp_path / "vae")
    assert sharp.config.scaling_factor == pipeline.vae.config.scaling_factor
    assert all(torch.equal(weight, sharp.state_dict()[name]) for name, weight in encoder_of(pipeline.vae).items())

    names = ("mascot", "warm-film", "confetti-rain", "blurry", "golden-hour")
    folders = ("--models", tmp_path / "models", "--checkpoint", "tiny")
    run("-m", "models.demo.showcase", *names, *folders, "--work", tmp_path / "networks", "--tiny")
    for exhibit in EXHIBITS:
        path = tmp_path / "models" / exhibit.folder / f"{exhibit.name}.safetensors"
        assert path.is_file() == (exhibit.name in names)
        if exhibit.name in names:
            assert {path.with_suffix(".json").is_file(), path.with_suffix(".png").is_file()} == {True}
        if exhibit.name in names and exhibit.folder == "loras":
            assert main(["networks", "check", str(path), "--model", str(model), "--json"]) == 0
            told = json.loads(capsys.readouterr().out)
            assert told["matched"] > 0
            assert (told["unmatched"], told["mismatched"], told["problems"]) == ([], [], [])


def test_the_shipped_model_loads_and_draws() -> None:
    pipeline = load(SHIPPED)
    picture = pipeline("a cat on a blue background", num_inference_steps=2).images[0]
    assert picture.size == (64, 64)
    tokenizer = pipeline.tokenizer
    assert len(tokenizer("a cat on a blue background").input_ids) == 8
    assert tokenizer.decode(tokenizer("Zürich 42").input_ids, skip_special_tokens=True) == "zürich 4 2"


def test_the_shipped_model_is_small() -> None:
    size = sum(path.stat().st_size for path in SHIPPED.rglob("*") if path.is_file())
    assert size < 40 * MEGABYTE


def test_the_second_vae_reads_the_same_latents_and() -> None:
    sharp, plain = AutoencoderKL.from_pretrained(SHARP), load(SHIPPED).vae
    assert sharp.config.scaling_factor == plain.config.scaling_factor
    assert all(torch.equal(weight, sharp.state_dict()[name]) for name, weight in encoder_of(plain).items())


def test_the_denoiser_has_the_module_names_of_stable_diffusion() -> None:
    names = {name for name, _ in load(SHIPPED).unet.named_modules()}
    for expected in (
        "down_blocks.2.attentions.1.transformer_blocks.0.attn2.to_k",
        "mid_block.attentions.0.transformer_blocks.0.ff.net.0.proj",
        "up_blocks.1.attentions.2.proj_in",
        "up_blocks.3.resnets.2.conv_shortcut",
        "down_blocks.3.resnets.1.time_emb_proj",
    ):
        assert expected in names


def encoder_of(vae: AutoencoderKL) -> dict[str, torch.Tensor]:
    """What makes latents of pictures."""
    return {name: weight for name, weight in vae.state_dict().items() if name.startswith(("encoder.", "quant_conv."))}


def load(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of a folder, without any network."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
