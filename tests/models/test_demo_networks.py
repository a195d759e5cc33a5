"""Networks are trained on a pipeline from a folder of captioned pictures, and saved as their library saves them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

pytest.importorskip("lycoris")

from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from models.demo.autoencoder import build_autoencoder
from models.demo.captions import build_text_encoder
from models.demo.denoiser import build_denoiser
from models.demo.export import assemble
from models.demo.networks import NetworkOptions, Progress, detach, save_network, train_network
from models.demo.tokens import build_tokenizer


@pytest.fixture
def pipeline(tmp_path: Path) -> StableDiffusionPipeline:
    """An untrained pipeline of the demo model's kind, as small as it gets."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["a", "red", "square"], tmp_path / "tokenizer")
    denoiser = build_denoiser(4, (8, 8, 16, 16), 32).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter += 0.05 * torch.randn_like(parameter)  # an untrained one gives zero, whatever a network does to it
    return assemble(
        denoiser,
        build_autoencoder(16, (8, 8, 8)).eval(),
        build_text_encoder(tokenizer, 32, 1).eval(),
        tokenizer,
    )


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures, each twice an epoch."""
    folder = tmp_path / "data"
    part = folder / "2_square"
    part.mkdir(parents=True)
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (20, 20), colour).save(part / f"{number}.png")
        (part / f"{number}.txt").write_text(f"a {colour} square, trigger")
    return folder


@pytest.mark.parametrize(
    ("algo", "conv_dim", "suffix"),
    [("lora", None, "lora_down.weight"), ("locon", 2, "lora_down.weight"), ("lokr", 2, "lokr_w1")],
)
def test_a_network_is_trained_and_saved(
    pipeline: StableDiffusionPipeline, data: Path, tmp_path: Path, algo: str, conv_dim: int | None, suffix: str
) -> None:
    seen: list[Progress] = []
    options = NetworkOptions(
        output_name="squares",
        train_data_dir=data,
        algo=algo,
        network_dim=2,
        network_alpha=1,
        conv_dim=conv_dim,
        text_encoder_lr=1e-3,
        epochs=2,
        batch_size=2,
        resolution=16,
        trigger="trigger",
    )
    network = train_network(pipeline, options, seen.append)
    path = save_network(network, options, tmp_path / "loras")
    detach(network)

    assert [(one.epoch, one.step, one.steps) for one in seen] == [(1 + n // 2, n + 1, 4) for n in range(4)]
    with safe_open(path, "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    assert any(name.startswith("lora_unet_down_blocks_2_attentions_1") and name.endswith(suffix) for name in names)
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_mlp_fc1") for name in names)
    assert any("resnets" in name for name in names) == (conv_dim is not None)
    assert metadata["ss_output_name"] == "squares"
    assert metadata["ss_base_model_version"] == "sd_v1"
    assert metadata["ss_network_dim"] == "2"
    assert metadata["modelspec.trigger_phrase"] == "trigger"
    assert json.loads(metadata["ss_tag_frequency"])["2_square"] == {"a red square": 1, "a blue square": 1, "trigger": 2}


def test_a_slider_learns_two_directions_and_leaves_the_model_as_it_was(
    pipeline: StableDiffusionPipeline, data: Path
) -> None:
    inputs = (torch.randn(2, 4, 4, 4), torch.tensor([500, 100]), torch.randn(2, 77, 32))
    before = {name: weight.clone() for name, weight in pipeline.unet.state_dict().items()}
    plain = pipeline.unet(*inputs).sample
    options = NetworkOptions("size", data, opposite_data_dir=data, network_dim=2, epochs=4, batch_size=2, resolution=16)
    network = train_network(pipeline, options)
    up = pipeline.unet(*inputs).sample
    network.set_multiplier(0.0)
    at_zero = pipeline.unet(*inputs).sample
    detach(network)

    assert not torch.equal(up, plain)
    assert torch.allclose(at_zero, plain)
    assert torch.equal(pipeline.unet(*inputs).sample, plain)
    assert all(torch.equal(weight, before[name]) for name, weight in pipeline.unet.state_dict().items())
