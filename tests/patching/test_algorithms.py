"""The laws hold for every algorithm that network files use, on real files of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from lycoris.modules.boft import ButterflyOFTModule
from lycoris.modules.diag_oft import DiagOFTModule
from lycoris.modules.full import FullModule
from lycoris.modules.glora import GLoRAModule
from lycoris.modules.ia3 import IA3Module
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from torch import nn

from app.networks.files import read_network
from app.networks.resolve import Match, resolve
from app.patching.patcher import Patcher, patched
from app.patching.plan import PatchPlan, plan
from tests.networks.files_made import written
from tests.patching.tiny import DTYPES, bits, tag

ALGORITHMS: dict[str, tuple[type, dict[str, Any]]] = {
    "lora": (LoConModule, {"lora_dim": 3, "alpha": 2}),
    "tucker": (LoConModule, {"lora_dim": 3, "alpha": 2, "use_tucker": True}),
    "dora": (LoConModule, {"lora_dim": 3, "alpha": 2, "weight_decompose": True}),
    "dora on outputs": (LoConModule, {"lora_dim": 3, "alpha": 2, "weight_decompose": True, "wd_on_out": True}),
    "loha": (LohaModule, {"lora_dim": 3, "alpha": 2}),
    "lokr": (LokrModule, {"lora_dim": 2, "alpha": 2, "factor": 4}),
    "glora": (GLoRAModule, {"lora_dim": 3, "alpha": 2}),
    "ia3": (IA3Module, {}),
    "oft": (DiagOFTModule, {"lora_dim": 4}),
    "boft": (ButterflyOFTModule, {"lora_dim": 4}),
    "full": (FullModule, {}),
}
LAYERS: dict[str, Callable[[], nn.Module]] = {
    "linear": lambda: nn.Linear(24, 16),
    "conv": lambda: nn.Conv2d(8, 16, 3, padding=1),
}
pytestmark = [
    pytest.mark.parametrize("algorithm", ALGORITHMS),
    pytest.mark.parametrize("kind", LAYERS),
    pytest.mark.parametrize("dtype", DTYPES, ids=str),
]


@pytest.fixture
def live(kind: str, dtype: torch.dtype) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    return {"unet": nn.ModuleDict({"layer": LAYERS[kind]()}).to(dtype).requires_grad_(False)}


@pytest.fixture
def match(algorithm: str, kind: str, live: dict[str, nn.Module], tmp_path: Path) -> Match:
    torch.manual_seed(1)
    module, options = ALGORITHMS[algorithm]
    trained = module("layer", LAYERS[kind](), **options)
    for parameter in trained.parameters():
        parameter.data += torch.randn_like(parameter) * 0.2
    tensors = {f"lora_unet_layer.{role}": torch.as_tensor(value) for role, value in trained.state_dict().items()}
    found = resolve(read_network(written(tmp_path / "file.safetensors", tensors)), live, "unknown")
    assert found.patches
    assert not found.problems
    return found


def at(live: dict[str, nn.Module], match: Match, *strengths: float) -> PatchPlan:
    return plan([(tag(*strengths), match)], live, len(strengths))


def test_the_laws(live: dict[str, nn.Module], match: Match, dtype: torch.dtype) -> None:
    base = bits(live)
    exact = {
        name: (live["unet"].get_parameter(name.removeprefix("unet.")).double(), found)
        for name, found in match.patches.items()
    }
    pristine = {name: weight.float() for name, (weight, _) in exact.items()}
    merged: dict[float, dict[str, bytes]] = {}
    for strength in (1.0, 0.5, 0.2, 0.7):
        with patched(live, at(live, match, strength)):
            merged[strength] = bits(live)
            for name, (weight, found) in exact.items():
                want = weight + strength * sum(patch.delta(pristine.__getitem__).double() for patch in found)
                got = live["unet"].get_parameter(name.removeprefix("unet.")).double()
                rounding = want.abs() * torch.finfo(dtype).eps / 2 + torch.finfo(dtype).smallest_normal
                assert ((got - want).abs() <= rounding + 4e-6 * (want.abs() + 1)).all()
        assert bits(live) == base
    patcher = Patcher(live)
    for strength in (1.0, 0.5, 0.2, 0.0, 0.7, 0.0):
        with patcher.patched(at(live, match, strength)):
            assert bits(live) == merged.get(strength, base)
    with patcher.patched(at(live, match, 0.0, 0.5, 1.0, 0.2)) as step:
        for number, expected in ((1, base), (3, merged[1.0]), (2, merged[0.5]), (4, merged[0.2]), (1, base)):
            step(number)
            assert bits(live) == expected


def test_beside_a_layer_it_does_what_it_does_merged(
    live: dict[str, nn.Module], match: Match, kind: str, dtype: torch.dtype
) -> None:
    layer = live["unet"]["layer"]
    x = torch.randn(*((4, 24) if kind == "linear" else (2, 8, 5, 5))).to(dtype)
    with patched(live, at(live, match, 0.6)):
        expected = layer(x)
    with Patcher(live, "forward").patched(at(live, match, 0.6)):
        near = 60 * torch.finfo(dtype).eps
        torch.testing.assert_close(layer(x), expected, rtol=near, atol=near)
