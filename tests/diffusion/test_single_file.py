from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from app.diffusion.conditioning import Conditioning, EncodingOptions, encode
from app.diffusion.decoding import decode
from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.diffusion.sampling import sample
from app.diffusion.vae import with_vae
from app.errors import CheckpointError
from app.generation.request import GenerationRequest
from app.prompt.emphasis import fragments
from tests.diffusion import original

REQUEST = GenerationRequest(seed=1, steps=1, sampler="Euler", width=64, height=64)
slow = pytest.mark.skipif("PATCHBAY_SLOW" not in os.environ, reason="writes gigabytes; set PATCHBAY_SLOW to run it")


def generated(path: Path, family: str) -> None:
    """One step and one picture from a file, which is of that family."""
    checkpoint = load_checkpoint(path, CPU)
    assert checkpoint.family == family
    options = EncodingOptions(zero_if_empty=checkpoint.zero_empty_negative)
    conditioning = Conditioning(
        ((encode(checkpoint, fragments("a small cat")), 1.0),), encode(checkpoint, fragments(""), options)
    )
    sampled = sample(checkpoint, REQUEST, lambda step: conditioning)
    assert decode(checkpoint, sampled.latents).images[0].size == (64, 64)


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl", "sdxl-refiner"])
def test_a_file_of_each_original_layout_loads_and_generates(tmp_path: Path, family: str) -> None:
    generated(original.write(original.reduced(family), tmp_path / "model.safetensors"), family)


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl"])
def test_an_inpainting_model_generates_from_a_prompt_alone(tmp_path: Path, family: str) -> None:
    path = original.write(original.reduced(family, channels=9), tmp_path / "model.safetensors")
    assert load_checkpoint(path, CPU).inpainting
    generated(path, family)


def test_every_tensor_of_the_file_is_in_the_model(tmp_path: Path) -> None:
    """The sum of all weights is a fingerprint that no conversion of names changes."""
    for family, unused in (("sd15", "position_ids"), ("sdxl", "logit_scale")):
        path = original.write(original.reduced(family), tmp_path / f"{family}.safetensors")
        tensors = {name: tensor for name, tensor in load_file(path).items() if not name.endswith(unused)}
        tensors = {name: tensor for name, tensor in tensors.items() if not name.endswith("position_ids")}
        checkpoint = load_checkpoint(path, CPU)
        parameters = [p for module in checkpoint.components.values() for p in module.parameters()]
        assert sum(p.numel() for p in parameters) == sum(tensor.numel() for tensor in tensors.values())
        total = sum(float(p.double().abs().sum()) for p in parameters)
        assert total == pytest.approx(sum(float(t.double().abs().sum()) for t in tensors.values()))


@pytest.mark.parametrize(
    ("family", "marks", "metadata", "prediction"),
    [
        ("sd15", {}, {}, "epsilon"),
        ("sd15", {}, {"modelspec.prediction_type": "v"}, "v_prediction"),
        ("sd2", {}, {"modelspec.prediction_type": "epsilon"}, "epsilon"),
        ("sd2", {}, {"modelspec.prediction_type": "v"}, "v_prediction"),
        ("sdxl", {}, {}, "epsilon"),
        ("sdxl", {"v_pred": ()}, {}, "v_prediction"),
    ],
)
def test_the_prediction_type_is_what_the_file_says(
    tmp_path: Path, family: str, marks: original.Shapes, metadata: dict[str, str], prediction: str
) -> None:
    path = original.write({**original.reduced(family), **marks}, tmp_path / "model.safetensors", metadata)
    checkpoint = load_checkpoint(path, CPU)
    assert (checkpoint.prediction, checkpoint.scheduler_config["prediction_type"]) == (prediction, prediction)


def test_zero_snr_is_read_from_its_key(tmp_path: Path) -> None:
    path = original.write({**original.reduced("sdxl"), "v_pred": (), "ztsnr": ()}, tmp_path / "model.safetensors")
    assert load_checkpoint(path, CPU).scheduler_config["rescale_betas_zero_snr"]


@pytest.mark.parametrize("lost", ["middle_block.1.norm.weight", "ln_final.weight", "decoder.conv_out.bias"])
def test_a_weight_that_is_missing_is_named(tmp_path: Path, lost: str) -> None:
    shapes = {name: shape for name, shape in original.reduced("sdxl").items() if not name.endswith(lost)}
    with pytest.raises(CheckpointError, match="missing") as caught:
        load_checkpoint(original.write(shapes, tmp_path / "model.safetensors"), CPU)
    assert "model.safetensors" in str(caught.value) and "\n" not in str(caught.value)


def test_a_unet_alone_is_no_checkpoint_and_says_so(tmp_path: Path) -> None:
    shapes = {name: shape for name, shape in original.reduced("sd15").items() if name.startswith("model.")}
    with pytest.raises(CheckpointError, match="text encoder is missing"):
        load_checkpoint(original.write(shapes, tmp_path / "unet.safetensors"), CPU)


@pytest.mark.parametrize("prefix", ["", "first_stage_model."])
def test_a_vae_in_one_file_takes_the_place_of_the_checkpoints_own(tmp_path: Path, prefix: str) -> None:
    checkpoint = load_checkpoint(original.write(original.reduced("sd15"), tmp_path / "model.safetensors"), CPU)
    path = original.write(original.vae((32, 64, 64, 64), prefix), tmp_path / "vae.safetensors")
    changed = with_vae(checkpoint, path)
    assert changed.vae.config["block_out_channels"] == [32, 64, 64, 64]
    assert changed.vae.config["scaling_factor"] == checkpoint.vae.config["scaling_factor"]
    assert decode(changed, torch.zeros(1, 4, 8, 8)).images[0].size == (64, 64)
    with pytest.raises(CheckpointError, match="pixels along a latent"):
        with_vae(checkpoint, original.write(original.vae((32, 64), prefix), tmp_path / "shallow.safetensors"))


@slow
def test_stable_diffusion_1_5_of_its_real_size_loads_and_generates(tmp_path: Path) -> None:
    path = original.write(original.sd15(), tmp_path / "sd15.safetensors")
    try:
        generated(path, "sd15")
    finally:
        path.unlink()


@slow
def test_sdxl_with_fewer_layers_of_the_real_width_loads_and_generates(tmp_path: Path) -> None:
    texts = original.openai_clip("conditioner.embedders.0.", 2) | original.openclip("conditioner.embedders.1.", 2, 1280)
    unet = original.unet((320, 640, 1280), (0, 1, 1), 2048, True, vector=2816)
    path = original.write(unet | texts | original.vae(), tmp_path / "sdxl.safetensors")
    try:
        generated(path, "sdxl")
    finally:
        path.unlink()
