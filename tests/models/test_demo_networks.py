"""Networks are trained on a pipeline from folders of captioned pictures, and the studio takes all of what comes out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

pytest.importorskip("lycoris")

from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors import safe_open

from app.diffusion.stored_file import open_model
from app.engine.matching import matched
from app.networks.embeddings import read_embedding
from app.networks.hypernetworks import read_hypernetwork
from models.demo.autoencoder import build_autoencoder
from models.demo.captions import build_text_encoder
from models.demo.denoiser import build_denoiser
from models.demo.exhibits import EXHIBITS, Exhibit
from models.demo.export import assemble
from models.demo.networks import Progress, trained
from models.demo.options import NetworkOptions
from models.demo.showcase import STRANGER, make_stranger
from models.demo.studio import studio
from models.demo.tokens import build_tokenizer

SIDE = 16


def build_pipeline(folder: Path) -> StableDiffusionPipeline:
    """An untrained pipeline of the demo model's kind, as small as it gets."""
    torch.manual_seed(0)
    tokenizer = build_tokenizer(["a", "red", "square", "trigger"], folder / "tokenizer")
    denoiser = build_denoiser(SIDE // 4, (8, 8, 16, 16), 32).eval().requires_grad_(False)
    for parameter in denoiser.parameters():
        parameter += 0.05 * torch.randn_like(parameter)  # an untrained one gives zero, whatever a network does to it
    text_encoder = build_text_encoder(tokenizer, 32, 1).eval()
    return assemble(denoiser, build_autoencoder(SIDE, (8, 8, 8)).eval(), text_encoder, tokenizer)


@pytest.fixture
def pipeline(tmp_path: Path) -> StableDiffusionPipeline:
    """A pipeline of one's own."""
    return build_pipeline(tmp_path)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A models folder with the pipeline in it."""
    folder = tmp_path_factory.mktemp("models")
    build_pipeline(folder).save_pretrained(folder / "checkpoints" / "tiny")
    for name in ("loras", "embeddings", "hypernetworks"):
        (folder / name).mkdir()
    return folder


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Two pictures, each twice an epoch."""
    return write_data(tmp_path / "data", "a {} square, trigger")


def write_data(folder: Path, caption: str) -> Path:
    """A data folder of two pictures."""
    part = folder / "2_square"
    part.mkdir(parents=True)
    for number, colour in enumerate(("red", "blue")):
        Image.new("RGB", (20, 20), colour).save(part / f"{number}.png")
        (part / f"{number}.txt").write_text(caption.format(colour))
    return folder


def tiny(exhibit: Exhibit, folder: Path) -> NetworkOptions:
    """The exhibit's own options, for a run of a step on two pictures in the place of its lessons."""
    text = f"a red square, {exhibit.options.word}" if exhibit.options.word else "a {} square"
    names = ["train_data_dir"]
    names += ["reg_data_dir"] if exhibit.regularised else []
    names += ["opposite_data_dir"] if exhibit.opposite else []
    names += ["conditioning_data_dir"] if exhibit.options.kind == "decoder" else []
    folders = {name: write_data(folder / name, text) for name in names}
    return replace(exhibit.options, max_train_epochs=1, train_batch_size=4, resolution=SIDE, **folders)


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_the_studio_takes_all_of_every_network(exhibit: Exhibit, models: Path, tmp_path: Path) -> None:
    options = tiny(exhibit, tmp_path)
    path = models / exhibit.folder / f"{exhibit.name}.safetensors"
    pipeline = StableDiffusionPipeline.from_pretrained(models / "checkpoints" / "tiny", local_files_only=True)
    with trained(pipeline, options, tmp_path / "run") as result:
        result.save(path)

    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    assert metadata["ss_output_name"] == metadata["modelspec.title"] == exhibit.name
    assert str(tmp_path) not in json.dumps(metadata)
    if options.kind == "embedding":
        assert read_embedding(path).vectors["clip_l"].shape == (options.vectors, 32)
    elif options.kind == "hypernetwork":
        assert read_hypernetwork(path).pairs.keys() == {32}
    else:
        model = open_model(models / "checkpoints" / "tiny")
        match = matched(path, model.modules, model.family)
        assert match.matched > 0
        assert (match.unmatched, match.mismatched, match.problems) == ((), (), ())
        assert set(match.network.embeddings) == ({options.word} - {""})


def test_every_network_works_in_a_prompt(models: Path, tmp_path: Path) -> None:
    with studio(models, "tiny") as here:
        plain = here.pictures("a red square")[0]
        assert plain.size == (SIDE, SIDE)
        for exhibit in EXHIBITS:
            prompt, negative = exhibit.prompts("a red square", 1.0)
            assert here.pictures(prompt, negative=negative)[0].size == (SIDE, SIDE)
            if exhibit.options.kind != "embedding" and not exhibit.options.trigger:
                still = here.pictures(exhibit.prompts("a red square", 0.0)[0])[0]
                assert still.tobytes() == plain.tobytes()


def test_the_network_for_another_base_is_refused_by_name(models: Path) -> None:
    make_stranger(models / "loras")
    with studio(models, "tiny") as here, pytest.raises(Exception, match=r"(?i)sdxl"):
        here.pictures(f"a red square <lora:{STRANGER}:1>")


def test_a_network_says_how_it_was_trained(pipeline: StableDiffusionPipeline, data: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    options = NetworkOptions(
        output_name="squares",
        train_data_dir=data,
        network_dim=2,
        network_alpha=1,
        network_args={"algo": "locon", "conv_dim": "2", "preset": "convolutions"},
        text_encoder_lr=1e-3,
        max_train_epochs=2,
        train_batch_size=2,
        resolution=SIDE,
        sample_prompts=("a red square",),
        sample_every_n_epochs=2,
        trigger="trigger",
    )
    with trained(pipeline, options, tmp_path / "run", seen.append) as result:
        path = result.save(tmp_path / "loras" / "squares.safetensors")

    assert [(one.epoch, one.step, one.steps) for one in seen] == [(1 + n // 2, n + 1, 4) for n in range(4)]
    assert [len(one.samples) for one in seen] == [0, 0, 0, 1]
    with safe_open(path, "pt") as file:
        names, metadata = set(file.keys()), file.metadata()
    assert any(name.startswith("lora_unet_down_blocks_2_attentions_1") for name in names)
    assert any(name.startswith("lora_te_text_model_encoder_layers_0_mlp_fc1") for name in names)
    assert any("resnets" in name for name in names)
    expected = {
        "ss_base_model_version": "sd_v1", "ss_network_dim": "2", "ss_network_alpha": "1", "ss_num_epochs": "2",
        "ss_steps": "4", "ss_num_train_images": "4", "modelspec.trigger_phrase": "trigger",
        "modelspec.architecture": "stable-diffusion-v1/lora",
    }  # fmt: skip
    assert {name: metadata[name] for name in expected} == expected
    assert json.loads(metadata["ss_tag_frequency"])["2_square"] == {"a red square": 1, "a blue square": 1, "trigger": 2}
    assert json.loads(metadata["ss_dataset_dirs"]) == {"2_square": {"n_repeats": 2, "img_count": 2}}


@pytest.mark.parametrize("exhibit", EXHIBITS, ids=lambda exhibit: exhibit.name)
def test_training_leaves_the_model_as_it_was(
    exhibit: Exhibit, pipeline: StableDiffusionPipeline, tmp_path: Path
) -> None:
    inputs = (torch.randn(2, 4, 4, 4), torch.tensor([500, 100]), torch.randn(2, 77, 32))
    ids = torch.arange(77)[None] % 4
    parts = (pipeline.unet, pipeline.vae, pipeline.text_encoder)
    before = [{name: weight.clone() for name, weight in part.state_dict().items()} for part in parts]

    def outputs() -> list[torch.Tensor]:
        with torch.no_grad():
            decoded = pipeline.vae.decode(inputs[0]).sample
            return [pipeline.unet(*inputs).sample, decoded, pipeline.text_encoder(ids).last_hidden_state]

    plain = outputs()
    with trained(pipeline, tiny(exhibit, tmp_path), tmp_path / "run"):
        pass
    assert all(torch.equal(now, then) for now, then in zip(outputs(), plain, strict=True))
    for part, weights in zip(parts, before, strict=True):
        assert all(torch.equal(weight, weights[name]) for name, weight in part.state_dict().items())


def test_a_run_that_was_stopped_goes_on_where_it_was(
    pipeline: StableDiffusionPipeline, data: Path, tmp_path: Path
) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 102:
            raise Stopped

    options = NetworkOptions(
        "squares", data, network_dim=2, max_train_epochs=52, train_batch_size=2, resolution=SIDE,
        network_args={"preset": "cross-attention"},
    )  # fmt: skip
    with pytest.raises(Stopped), trained(pipeline, options, tmp_path / "stopped", stop):
        pass
    steps: list[int] = []
    files = []
    for folder in ("stopped", "whole"):
        with trained(pipeline, options, tmp_path / folder, lambda progress: steps.append(progress.step)) as result:
            files.append(result.save(tmp_path / f"{folder}.safetensors"))
    assert steps[0] == 101
    with safe_open(files[0], "pt") as one, safe_open(files[1], "pt") as other:
        assert all(torch.equal(one.get_tensor(name), other.get_tensor(name)) for name in one.keys())  # noqa: SIM118
