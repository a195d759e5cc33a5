"""A network known from its header has the places that the whole file has."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from app.errors import NetworkError
from app.networks.files import read_network
from app.networks.keys import Model
from app.networks.outline import network_outline
from app.networks.resolve import Match, resolve
from tests.networks import test_conformance as conformance
from tests.networks.files_made import written
from tests.networks.trees import sd15, sdxl

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def told(match: Match) -> tuple[object, ...]:
    """What is shown of a match."""
    return match.matched, match.unmatched, match.mismatched, match.problems, match.network.problems, match.network.base


def alike(path: Path, model: Model, family: str = "unknown") -> Match:
    """The match of an outline, which is that of the whole file."""
    outline = resolve(network_outline(path, path), model, family)
    assert told(outline) == told(resolve(read_network(path), model, family))
    return outline


@pytest.mark.skipif(conformance.FOLDER is None, reason="the conformance files are not here (PATCHBAY_CONFORMANCE)")
def test_files_of_every_format_have_the_same_places() -> None:
    assert conformance.FOLDER is not None
    files = {(case["adapter"], case["model"]) for case in conformance.cases()}
    safe = [(name, model) for name, model in files if name.endswith(".safetensors")]
    for name, model in safe:
        alike(conformance.FOLDER / name, conformance.model(model))
    assert safe


def test_what_does_not_fit_is_counted_the_same(tmp_path: Path) -> None:
    tensors = {
        f"{MODULE}.lora_down.weight": torch.zeros(4, 768),
        f"{MODULE}.lora_up.weight": torch.zeros(320, 4),
        f"{MODULE}.alpha": torch.tensor(2.0),
        "lora_unet_nowhere.lora_down.weight": torch.zeros(4, 768),
        "lora_unet_nowhere.lora_up.weight": torch.zeros(320, 4),
    }
    path = written(tmp_path / "some.safetensors", tensors)
    assert alike(path, sd15(), "sd15").unmatched == ("lora_unet_nowhere",)
    assert alike(path, sdxl(), "sdxl").problems[0].level == "error"


def test_a_scale_is_the_one_of_the_file(tmp_path: Path) -> None:
    tensors = {
        "lora_unet_layer.lora_down.weight": torch.zeros(4, 768),
        "lora_unet_layer.lora_up.weight": torch.zeros(320, 4),
        "lora_unet_layer.alpha": torch.tensor(1.0, dtype=torch.bfloat16),
    }
    path = written(tmp_path / "scaled.safetensors", tensors)
    (adapter,) = network_outline(path, path).adapters.values()
    assert getattr(adapter, "scale", None) == 0.25


@pytest.mark.parametrize("content", [b"", b"\x02\x00\x00\x00\x00\x00\x00\x00{}", b"no network at all"])
def test_what_is_no_network_is_told(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(NetworkError):
        network_outline(path, path)
