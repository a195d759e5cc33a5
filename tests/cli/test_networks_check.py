"""Laws of `networks check`: every module of the file is counted once, and the exit status says whether it fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from app.__main__ import main
from app.diffusion.stored_file import open_model
from tests.cli.networks_made import lora, named


@pytest.fixture
def unet(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path / "data"))
    return open_model(models / "checkpoints" / "tiny").modules["unet"]


def check(models: Path, file: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, dict[str, Any], str]:
    status = main(["networks", "check", str(file), "--models", str(models), "--model", "tiny", "--json"])
    out, err = capsys.readouterr()
    return status, json.loads(out) if out else {}, err


def test_a_file_that_fits_is_told_module_by_module(
    models: Path, unet: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = named("lora_unet", unet, "attn")
    status, told, err = check(models, lora(tmp_path / "x.safetensors", modules), capsys)
    assert (status, err, told["problems"]) == (0, "", [])
    assert sorted(told["matched_modules"]) == sorted(name for name, _ in modules)
    assert (told["matched"], told["unmatched"], told["mismatched"]) == (len(modules), [], [])


def test_a_folder_that_diffusers_saves_is_the_file_in_it(
    models: Path, unet: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = named("lora_unet", unet, "attn")
    lora(tmp_path / "style" / "pytorch_lora_weights.safetensors", modules)
    status, told, err = check(models, tmp_path / "style", capsys)
    assert (status, err, told["name"], told["matched"]) == (0, "", "style", len(modules))


def test_what_has_no_place_and_what_has_another_shape_are_listed_apart(
    models: Path, unet: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modules = named("lora_unet", unet, "attn")
    wrong = [("lora_unet_conv_in", nn.Conv2d(3, 5, 3)), ("lora_unet_nowhere", nn.Linear(4, 4))]
    status, told, err = check(models, lora(tmp_path / "x.safetensors", modules + wrong), capsys)
    assert (status, err.count("\n")) == (0, 1)
    assert (told["mismatched"], told["unmatched"]) == (["lora_unet_conv_in"], ["lora_unet_nowhere"])
    assert told["matched"] == len(modules)


def test_a_file_for_another_base_does_not_fit(
    models: Path, unet: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = lora(tmp_path / "x.safetensors", [("lora_unet_down_blocks_1_attentions_0_proj_in", nn.Linear(640, 640))])
    status, told, err = check(models, path, capsys)
    assert (status, told["matched_modules"], err.count("\n")) == (1, [], 1)


@pytest.mark.parametrize("harm", ["cut", "nan", "gone"])
def test_a_file_that_cannot_be_read_is_one_line(
    models: Path, unet: nn.Module, tmp_path: Path, capsys: pytest.CaptureFixture[str], harm: str
) -> None:
    layer = nn.Linear(4, 4)
    path = lora(tmp_path / "x.safetensors", [("lora_unet_x", layer)])
    match harm:
        case "cut":
            path.write_bytes(path.read_bytes()[:-9])
        case "nan":
            from safetensors.torch import save_file

            save_file({"lora_unet_x.diff": torch.full((4, 4), float("nan"))}, path)
        case _:
            path.unlink()
    status, told, err = check(models, path, capsys)
    assert (status, err.count("\n")) == (1, 1) and "matched" not in told
