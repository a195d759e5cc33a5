"""Files of hypernetworks: what trainers write is what is computed, and a bad file is one clear error."""

from __future__ import annotations

import itertools
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from app.errors import NetworkError
from app.networks.catalog import Catalog
from app.networks.hypernetworks import Hypernetwork, read_hypernetwork

WIDTH = 6
FUNCTIONS: dict[str | None, type[nn.Module]] = {
    None: nn.Identity,
    "linear": nn.Identity,
    "relu": nn.ReLU,
    "leakyrelu": nn.LeakyReLU,
    "swish": nn.Hardswish,
    "tanh": nn.Tanh,
    "softsign": nn.Softsign,
    "gelu": nn.GELU,
    "mish": nn.Mish,
}


def sequence(function: str | None, norm: bool, dropout: bool, activate_output: bool, shape: list[int]) -> nn.Sequential:
    """The modules as the web UI's trainer lines them up; linear layers without a function take no place for it."""
    modules: list[nn.Module] = []
    for place, (inner, outer) in enumerate(itertools.pairwise(shape)):
        last = place == len(shape) - 2
        modules.append(nn.Linear(inner, outer))
        if function not in (None, "linear") and (activate_output or not last):
            modules.append(FUNCTIONS[function]())
        if norm:
            modules.append(nn.LayerNorm(outer))
        if dropout and not last:
            modules.append(nn.Dropout(0.3))
    made = nn.Sequential(*modules).eval()
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def states(sides: tuple[nn.Sequential, nn.Sequential]) -> tuple[dict[str, Tensor], ...]:
    return tuple({f"linear.{name}": value for name, value in side.state_dict().items()} for side in sides)


def webui(path: Path, pairs: dict[int, tuple[dict[str, Tensor], ...]], **settings: object) -> Path:
    told = {"step": 100, "name": "tiny", "sd_checkpoint": None, "layer_structure": [1, 2, 1], "use_dropout": True}
    torch.save({**pairs, **told, **settings}, path)
    return path


def safetensors(path: Path, pairs: dict[int, tuple[dict[str, Tensor], ...]], **settings: str) -> Path:
    tensors = {
        f"{width}.{side}.{name}": value.clone()
        for width, pair in pairs.items()
        for side, state in zip("kv", pair, strict=True)
        for name, value in state.items()
    }
    save_file(tensors, path, settings)
    return path


def same(hypernetwork: Hypernetwork, sides: tuple[nn.Sequential, nn.Sequential]) -> None:
    x = torch.randn(2, 3, WIDTH)
    pair = hypernetwork.pairs[WIDTH]
    torch.testing.assert_close(pair.key(x), sides[0](x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(pair.value(x), sides[1](x), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize(("norm", "dropout", "output"), [*itertools.product([False, True], repeat=3)])
def test_both_layouts_compute_what_the_trainers_modules_compute(
    tmp_path: Path, function: str | None, norm: bool, dropout: bool, output: bool
) -> None:
    shape = [WIDTH, 2 * WIDTH, 3, WIDTH]
    sides = sequence(function, norm, dropout, output, shape), sequence(function, norm, dropout, output, shape)
    pairs = {WIDTH: states(sides)}
    same(read_hypernetwork(webui(tmp_path / "a.pt", pairs, activation_func=function, activate_output=output)), sides)
    said = {} if function is None else {"activation_func": function}
    path = safetensors(tmp_path / "a.safetensors", pairs, **said, activate_output=str(output).lower())
    same(read_hypernetwork(path), sides)


def test_the_first_files_named_their_layers_otherwise_and_said_nothing_else(tmp_path: Path) -> None:
    sides = sequence(None, False, False, True, [WIDTH, 9, WIDTH]), sequence(None, False, False, True, [WIDTH, 9, WIDTH])
    old = {
        WIDTH: tuple(
            {f"linear{int(name[7]) + 1}{name[8:]}": value for name, value in state.items()} for state in states(sides)
        )
    }
    torch.save(old, tmp_path / "old.pt")
    same(read_hypernetwork(tmp_path / "old.pt"), sides)


def test_a_card_tells_the_base_of_a_hypernetwork_by_the_width_of_its_text(tmp_path: Path) -> None:
    def state(width: int) -> dict[str, Tensor]:
        return {"linear.0.weight": torch.ones(width, width), "linear.0.bias": torch.ones(width)}

    safetensors(tmp_path / "one.safetensors", {width: (state(width),) * 2 for width in (320, 768)})
    safetensors(tmp_path / "two.safetensors", {width: (state(width),) * 2 for width in (768, 1024)})
    entries = Catalog([tmp_path], "hypernetwork", tmp_path / "index").entries()
    assert [(file.name, file.base_model) for file in entries] == [("one", "sd15"), ("two", "unknown")]


W, B = torch.ones(4, 4), torch.ones(4)
GOOD = {"linear.0.weight": W, "linear.0.bias": B}
BAD: dict[str, object] = {
    "a number": 3,
    "nothing": {},
    "names only": {"step": 1, "name": "x"},
    "one side": {4: (GOOD,)},
    "no sides": {4: GOOD},
    "sides that are lists": {4: ([W], [B])},
    "an empty side": {4: (GOOD, {})},
    "a width of nothing": {0: (GOOD, GOOD)},
    "a negative width": {-4: (GOOD, GOOD)},
    "a width of five thousand digits": {10**5000: (GOOD, GOOD)},
    "another width": {5: (GOOD, GOOD)},
    "no bias": {4: ({"linear.0.weight": W}, GOOD)},
    "a bias of another size": {4: ({"linear.0.weight": W, "linear.0.bias": torch.ones(5)}, GOOD)},
    "an end of another width": {4: ({"linear.0.weight": torch.ones(5, 4), "linear.0.bias": torch.ones(5)}, GOOD)},
    "a norm of nothing": {4: ({"linear.0.weight": B, "linear.0.bias": B}, GOOD)},
    "a convolution": {4: ({"linear.0.weight": torch.ones(4, 4, 1), "linear.0.bias": B}, GOOD)},
    "a scalar": {4: ({"linear.0.weight": torch.ones(()), "linear.0.bias": torch.ones(())}, GOOD)},
    "NaN": {4: ({"linear.0.weight": W * float("nan"), "linear.0.bias": B}, GOOD)},
    "whole numbers": {4: ({"linear.0.weight": W.int(), "linear.0.bias": B}, GOOD)},
    "words": {4: ({"linear.0.weight": "W", "linear.0.bias": B}, GOOD)},
    "an endless tensor": {4: ({"linear.0.weight": torch.ones(1, 1).expand(1 << 40, 4), "linear.0.bias": B}, GOOD)},
    "another layer": {4: ({**GOOD, "linear.0.linear.weight": W}, GOOD)},
    "a name that is a number": {4: ({**GOOD, 7: W}, GOOD)},
    "an unknown function": {4: (GOOD, GOOD), "activation_func": "prelu"},
    "a function that is no name": {4: (GOOD, GOOD), "activation_func": ["relu"]},
}


@pytest.mark.parametrize("name", BAD)
def test_a_pickle_that_holds_no_hypernetwork_is_one_line(tmp_path: Path, name: str) -> None:
    torch.save(BAD[name], tmp_path / "bad.pt")
    refused(tmp_path / "bad.pt")


class Evil:
    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return exec, ("raise SystemExit('executed')",)


@pytest.mark.parametrize(
    "content",
    [b"", b"PK\x03\x04", pickle.dumps(Evil()), pickle.dumps({4: (Evil(), Evil())})],
    ids=["empty", "cut short", "code", "code inside"],
)
@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_file_that_is_broken_or_would_run_code_is_one_line(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(content)
    refused(path)


@pytest.mark.parametrize("key", ["4.k.linear.0.weigth", "4.q.linear.0.weight", "9" * 5000 + ".k.linear.0.weight", "x"])
def test_a_safetensors_file_of_other_tensors_is_one_line(tmp_path: Path, key: str) -> None:
    path = safetensors(tmp_path / "good.safetensors", {4: (GOOD, GOOD)})
    assert read_hypernetwork(path).pairs.keys() == {4}
    tensors = {f"4.{side}.{name}": value.clone() for side in "kv" for name, value in GOOD.items()}
    save_file({**tensors, key: W.clone()}, tmp_path / "bad.safetensors")
    refused(tmp_path / "bad.safetensors")
    whole = path.read_bytes()
    path.write_bytes(whole[:-3])
    refused(path)
    header = json.dumps({"4.k.linear.0.weight": {"dtype": "F33", "shape": [4], "data_offsets": [0, 4]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    refused(path)


def refused(path: Path) -> None:
    with pytest.raises(NetworkError) as error:
        read_hypernetwork(path)
    assert error.value.where == str(path)
    assert "\n" not in str(error.value) and len(error.value.message) < 500
