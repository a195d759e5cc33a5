"""`bake`, `extract` and `networks check` on a checkpoint in one file: what they do to the folder it would be."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from safetensors.torch import load_file, save_file
from torch import nn

from app.__main__ import main
from app.diffusion.device import CPU
from app.diffusion.flow_files import T5_FOLDER
from app.diffusion.loading import load_checkpoint
from app.networks.files import read_network
from app.networks.resolve import resolve
from app.patching.patcher import patched
from app.patching.plan import plan
from app.prompt.schedule import schedule
from tests.cli.networks_made import lora, named
from tests.diffusion import original
from tests.diffusion.test_flow import t5
from tests.diffusion.test_flow_files import sd3_texts, small_vae

Run = Callable[..., tuple[int, Any, str]]
TAG = "<lora:ink:te=0.5:unet=-0.7>"
PREFIXES = {"unet": "lora_unet", "transformer": "lora_transformer", "text_encoder": "lora_te1"}
PREFIXES |= {"text_encoder_2": "lora_te2", "vae": "lora_vae"}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run a command: its exit status, what it printed as JSON, and what it said of problems."""
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path / "data"))

    def run(*arguments: str | Path, stdin: object = None) -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(stdin)))
        status = main([*map(str, arguments)])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


def network(path: Path, components: dict[str, nn.Module]) -> Path:
    parts = ("attn", "conv_in", "mlp", "in_layers", "proj")
    modules = [
        (name, layer)
        for component, prefix in PREFIXES.items()
        if component in components
        for name, layer in named(prefix, components[component], *parts)
    ]
    return lora(path / "ink.safetensors", modules)


def same_as_live(file: Path, networks: Path, out: Path) -> None:
    """The folder is the file's model with the network merged: every weight, and how it is used."""
    live, baked = load_checkpoint(file, CPU), load_checkpoint(out, CPU)
    match = resolve(read_network(networks / "ink.safetensors"), live.components, live.family)
    planned = plan([(schedule(TAG, 1).networks[0], match)], live.components, 1)
    assert planned.patches
    with patched(live.components, planned):
        assert live.components.keys() == baked.components.keys()
        for name, module in live.components.items():
            other = baked.components[name].state_dict()
            for key, value in module.state_dict().items():
                assert torch.equal(value, other[key]), f"{name}.{key}"
    for fact in ("prediction", "inpainting", "zero_empty_negative"):
        assert getattr(live, fact) == getattr(baked, fact)
    assert {name: t.pad for name, t in live.tokenizers.items()} == {name: t.pad for name, t in baked.tokenizers.items()}
    assert dict(live.scheduler_config).items() <= dict(baked.scheduler_config).items()
    ids = [tokenizer.ids("A photo, of (two) cats!") for tokenizer in live.tokenizers.values()]
    assert ids == [tokenizer.ids("A photo, of (two) cats!") for tokenizer in baked.tokenizers.values()]


@pytest.mark.parametrize(
    ("family", "channels"), [("sd15", 4), ("sd15", 9), ("sd2", 4), ("sdxl", 4), ("sdxl-refiner", 4)]
)
def test_a_file_bakes_to_the_folder_that_it_is_live(family: str, channels: int, run: Run, tmp_path: Path) -> None:
    file = original.write(original.reduced(family, channels=channels), tmp_path / "model.safetensors")
    networks = tmp_path / "networks"
    network(networks, dict(load_checkpoint(file, CPU).components))
    common = ("--model", file, "--networks", networks, "--prompt", TAG)
    status, answer, said = run("bake", *common, "--out", tmp_path / "out", "--dtype", "fp32")
    assert (status, said, answer["problems"]) == (0, "", [])
    same_as_live(file, networks, tmp_path / "out")


@pytest.fixture
def t5_models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    (folder / "checkpoints").mkdir(parents=True)
    t5()[1].save_pretrained(folder / T5_FOLDER)
    return folder


@pytest.mark.parametrize("with_t5", [True, False])
def test_an_sd3_file_bakes_to_the_folder_that_it_is_live(
    with_t5: bool, run: Run, t5_models: Path, tmp_path: Path
) -> None:
    shapes = original.sd3(64, 192, 192) | sd3_texts() | small_vae("first_stage_model.")
    shapes |= original.t5(30, 192) if with_t5 else {}
    file = original.write(shapes, t5_models / "checkpoints" / "sd3.safetensors")
    networks = tmp_path / "networks"
    network(networks, dict(load_checkpoint(file, CPU).components))
    common = ("--model", file, "--networks", networks, "--prompt", TAG)
    status, answer, _ = run("bake", *common, "--out", tmp_path / "out", "--dtype", "fp32")
    assert (status, answer["problems"]) == (0, [])
    same_as_live(file, networks, tmp_path / "out")


def test_each_weight_keeps_its_own_dtype(run: Run, tmp_path: Path) -> None:
    """Files often have a half UNet and a whole VAE."""
    file = original.write(original.reduced("sd15"), tmp_path / "model.safetensors")
    mixed = {
        name: value.float() if name.startswith("first_stage_model.") else value
        for name, value in load_file(file).items()
    }
    save_file(mixed, file)
    networks = tmp_path / "networks"
    network(networks, dict(load_checkpoint(file, CPU).components))
    run("bake", "--model", file, "--networks", networks, "--prompt", TAG, "--out", tmp_path / "out")
    wanted = {"unet": torch.float16, "text_encoder": torch.float16, "vae": torch.float32}
    for component, dtype in wanted.items():
        (weights,) = (tmp_path / "out" / component).glob("*.safetensors")
        assert {value.dtype for value in load_file(weights).values() if value.is_floating_point()} == {dtype}


@pytest.mark.parametrize(
    ("family", "pipeline"), [("sd15", StableDiffusionPipeline), ("sdxl", StableDiffusionXLPipeline)]
)
def test_diffusers_loads_the_folder(family: str, pipeline: Any, run: Run, tmp_path: Path) -> None:
    file = original.write(original.reduced(family), tmp_path / "model.safetensors")
    network(tmp_path / "networks", dict(load_checkpoint(file, CPU).components))
    common = ("--model", file, "--networks", tmp_path / "networks", "--prompt", "<lora:ink:0>")
    assert run("bake", *common, "--out", tmp_path / "out")[0] == 0
    loaded, live = pipeline.from_pretrained(tmp_path / "out"), load_checkpoint(file, CPU)
    for name in live.components:
        other = dict(getattr(loaded, name).named_parameters())
        assert all(torch.equal(value, other[key].float()) for key, value in live.components[name].named_parameters())


def test_a_pickled_file_bakes_too(run: Run, tmp_path: Path) -> None:
    file = original.write(original.reduced("sd15"), tmp_path / "model.safetensors")
    torch.save({"state_dict": load_file(file)}, tmp_path / "model.ckpt")
    network(tmp_path / "networks", dict(load_checkpoint(file, CPU).components))
    for model, out in ((file, "a"), (tmp_path / "model.ckpt", "b")):
        common = ("--model", model, "--networks", tmp_path / "networks", "--prompt", TAG)
        assert run("bake", *common, "--out", tmp_path / out)[0] == 0
    for one in (tmp_path / "a").glob("*/*.safetensors"):
        ours, theirs = load_file(one), load_file(tmp_path / "b" / one.parent.name / one.name)
        assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_extract_and_check_take_a_file(run: Run, tmp_path: Path) -> None:
    file = original.write(original.reduced("sdxl"), tmp_path / "model.safetensors")
    found = network(tmp_path / "networks", dict(load_checkpoint(file, CPU).components))
    status, told, _ = run("networks", "check", found, "--model", file, "--json")
    assert (status, told["model_family"], told["unmatched"], told["mismatched"]) == (0, "sdxl", [], [])
    common = ("--model", file, "--networks", tmp_path / "networks")
    status, made, _ = run("extract", TAG, *common, "--out", tmp_path / "made" / "sum.safetensors", "--json")
    assert (status, made["problems"]) == (0, [])
    assert made["error"] < 1e-6
    assert made["modules"] == told["matched"]


@pytest.mark.parametrize("harm", ["cut", "network", "lacking", "empty", "text"])
def test_a_file_that_is_no_checkpoint_is_one_line(harm: str, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    shapes = original.reduced("sd15")
    if harm == "lacking":
        shapes = {name: shape for name, shape in shapes.items() if not name.endswith("middle_block.1.norm.weight")}
    original.write(shapes if harm != "network" else {"lora_unet_a.lora_up.weight": (2, 2)}, file)
    if harm in ("cut", "empty", "text"):
        file.write_bytes({"cut": file.read_bytes()[:-10], "empty": b"", "text": b"not a model at all"}[harm])
    out = tmp_path / "out"
    status, answer, said = run("bake", "--model", file, "--networks", tmp_path, "--prompt", "<lora:x>", "--out", out)
    assert (status, answer) == (1, None)
    assert said.count("\n") == 1
    assert "model.safetensors" in said
    assert not out.exists()
