"""A file that is not what it should be is one clear NetworkError, whatever is in it."""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from app.errors import NetworkError
from app.networks.files import read_network

from .files_made import network, written

GOOD = {
    "lora_unet_a.lora_up.weight": torch.ones(4, 2),
    "lora_unet_a.lora_down.weight": torch.ones(2, 3),
    "lora_unet_a.alpha": torch.tensor(1.0),
}


def raw(header: object, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + data


def entry(shape: list[int], begin: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


patient = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], derandomize=True)
UP, DOWN = "lora_unet_a.lora_up.weight", "lora_unet_a.lora_down.weight"

BROKEN: dict[str, bytes] = {
    "empty": b"",
    "seven bytes": b"\x01\x00\x00\x00\x00\x00\x00",
    "a header of 2^63 bytes": raw({}, length=2**63),
    "a header of 2^64-1 bytes": raw({}, length=2**64 - 1),
    "a header longer than the file": raw({}, length=999),
    "a header that is not JSON": raw(b"{nonsense"),
    "a header that is a list": raw([1, 2]),
    "a header in UTF-16": raw('{"a": 1}'.encode("utf-16")),
    "overlapping tensors": raw({UP: entry([2, 1], 0, 8), DOWN: entry([1, 2], 4, 12)}, bytes(12)),
    "a tensor past the end": raw({UP: entry([2, 1], 0, 8), DOWN: entry([1, 2], 8, 16)}, bytes(8)),
    "a shape that does not fill its bytes": raw({UP: entry([9, 9], 0, 8)}, bytes(8)),
    "a negative shape": raw({UP: entry([-2, -1], 0, 8)}, bytes(8)),
    "an unknown dtype": raw({UP: entry([2, 1], 0, 8, "F33")}, bytes(8)),
    "a dtype of no network": raw({UP: entry([1, 1], 0, 8, "C64"), DOWN: entry([1, 1], 8, 16, "C64")}, bytes(16)),
    "metadata 10,000 deep": raw(b'{"__metadata__": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}"),
    "a header 10,000 deep": raw(b"[" * 10_000 + b"]" * 10_000),
    "a pickle": pickle.dumps({"a": 1}),
    "nothing in it": raw({}),
    "tensors of no network": raw({"model.diffusion_model.out.0.weight": entry([2], 0, 8)}, bytes(8)),
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=BROKEN.keys())
def test_a_broken_file_is_one_clear_error(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "broken.safetensors"
    path.write_bytes(content)
    with pytest.raises(NetworkError) as caught:
        read_network(path)
    assert "broken.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_zip_under_a_safetensors_name(tmp_path: Path) -> None:
    path = tmp_path / "zip.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"x")
    with pytest.raises(NetworkError, match="zip"):
        read_network(path)


@pytest.mark.parametrize("name", ["folder", "missing.safetensors", "missing.pt"])
def test_what_is_no_file(name: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(NetworkError):
        read_network(tmp_path / name)


@settings(patient, max_examples=40)
@given(st.data())
def test_a_file_cut_anywhere_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    path = written(tmp_path / "cut.safetensors", GOOD, {"ss_output_name": "x" * 40})
    whole = path.read_bytes()
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(NetworkError):
        read_network(path)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.float8_e5m2])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_a_number_that_is_none_refuses_the_file_by_the_tensors_name(
    value: float, dtype: torch.dtype, tmp_path: Path
) -> None:
    down = torch.ones(2, 3)
    down[1, 2] = value
    with pytest.raises(NetworkError, match=r"lora_unet_a\.lora_down\.weight"):
        network(tmp_path / "nan.safetensors", {**GOOD, DOWN: down.to(dtype)})


def test_large_numbers_that_are_finite_are_no_reason(tmp_path: Path) -> None:
    """Their sum is infinite, but none of them is."""
    network(tmp_path / "x.safetensors", {**GOOD, DOWN: torch.full((2, 3), 3e38)})
    with pytest.raises(NetworkError, match="lora_down"):
        network(tmp_path / "x.safetensors", {**GOOD, DOWN: torch.full((2, 3), 1e300, dtype=torch.float64)})


class Bomb:
    """Would make a file if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str, ...]]:
        return (Path.touch, (Path("/tmp/should-never-be-made"),))  # type: ignore[return-value]


@pytest.mark.parametrize("suffix", [".pt", ".ckpt", ".bin"])
def test_a_pickle_is_never_executed(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bomb{suffix}"
    torch.save({"state_dict": GOOD, "extra": Bomb()}, path)
    with pytest.raises(NetworkError):
        read_network(path)
    assert not Path("/tmp/should-never-be-made").exists()


@pytest.mark.parametrize("content", [b"", b"nonsense", pickle.dumps([1]), b"PK\x03\x04nonsense", b"\x80\x02."])
def test_a_pickle_of_something_else_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(NetworkError, match=r"x\.pt"):
        read_network(path)


@pytest.mark.parametrize("wrap", [lambda tensors: tensors, lambda tensors: {"state_dict": tensors, "epoch": 3}])
def test_a_pickle_of_plain_tensors_is_read(wrap: Callable[[dict[str, Tensor]], object], tmp_path: Path) -> None:
    torch.save(wrap(GOOD), tmp_path / "x.pt")
    assert list(read_network(tmp_path / "x.pt").adapters) == ["lora_unet_a"]


def test_a_tensor_that_repeats_one_number_for_ever_is_left_out(tmp_path: Path) -> None:
    torch.save({**GOOD, DOWN: torch.ones(1, 1).expand(2**31, 2**31)}, tmp_path / "x.pt")
    with pytest.raises(NetworkError):
        read_network(tmp_path / "x.pt")


KINDS = (
    ["lora_up.weight", "lora_down.weight", "lora_mid.weight", "lora_up.bias"],
    ["lora_embedding_A", "lora_embedding_B"],
    ["hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2"],
    ["lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"],
    ["a1.weight", "a2.weight", "b1.weight", "b2.weight"],
    ["oft_blocks", "rescale"],
    ["oft_blocks.0", "oft_blocks.1"],
    ["oft_diag", "rescale"],
    ["oft_R.weight", "oft_R.scaled_oft"],
    ["boft_R", "boft_s"],
    ["on_input", "weight"],
    ["ia3_l"],
    [f"glora_{path}.{leaf}" for path in "ABC" for leaf in ("Xd", "Xu")] + ["glora_D.X", "glora_E.X"],
    ["glora_A.X", "glora_B.zeros", "glora_C.X"],
    ["lambda_layer", "p_layer.weight", "q_layer.weight"],
    ["w_norm", "b_norm"],
    ["bias_indices", "bias_values", "bias_size"],
    ["set_weight"],
    ["scale"],
)
BESIDE = ["alpha", "scale", "dora_scale", "magnitude", "diff", "diff_b", "reshape_weight"]


@st.composite
def modules(draw: st.DrawFn) -> dict[str, list[int]]:
    """The tensors of one algorithm, some of them missing, with others beside them, of any shapes."""
    roles = [role for role in draw(st.sampled_from(KINDS)) if draw(st.integers(0, 5))]
    roles += draw(st.lists(st.sampled_from(BESIDE), max_size=2)) or ["alpha"]
    sizes = st.sampled_from([1, 2, 2, 2, 4, 3, 0])
    return {role: draw(st.lists(sizes, min_size=0 if role == "alpha" else 1, max_size=4)) for role in roles}


@settings(patient, max_examples=120)
@given(modules())
def test_tensors_of_any_shape_are_read_or_refused(tmp_path: Path, shapes: dict[str, list[int]]) -> None:
    """And what is read gives a delta of the shape it says it fits, or finds none that fits."""
    tensors = {f"lora_unet_a.{role}": torch.ones(shape) for role, shape in shapes.items()}
    try:
        found = network(tmp_path / "x.safetensors", tensors)
    except NetworkError:
        return
    for adapter in found.adapters.values():
        rows, columns = adapter.size
        for shape in {(rows or 4, columns or 4), (rows or 4,), (rows or 4, (columns or 4) // 4 or 1, 2, 2)}:
            if adapter.fits(shape):
                assert adapter.delta(torch.ones(shape)).shape == shape
                factors = adapter.factors()
                assert factors is None or (factors[0] @ factors[1]).numel() == torch.ones(shape).numel()


@pytest.mark.parametrize("dtype", [torch.bool, torch.complex64])
def test_factors_that_are_no_numbers_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    torch.save({**GOOD, UP: torch.ones(4, 2, dtype=dtype)}, tmp_path / "x.pt")
    with pytest.raises(NetworkError) as caught:
        read_network(tmp_path / "x.pt")
    assert any("up" in problem.message for problem in caught.value.problems)


@pytest.mark.parametrize("text", ["nonsense", "[]", "[" * 10_000 + "]" * 10_000])
def test_a_broken_configuration_is_an_error(text: str, tmp_path: Path) -> None:
    written(tmp_path / "adapter_model.safetensors", {"base_model.model.a.lora_A.weight": torch.ones(2, 3)})
    (tmp_path / "adapter_config.json").write_text(text)
    with pytest.raises(NetworkError, match="adapter_config"):
        read_network(tmp_path)


def test_a_patterns_regular_expression_is_not_run(tmp_path: Path) -> None:
    """A pattern that would take for ever is only a name that nothing has."""
    tensors = {"base_model.model." + "a" * 60 + ".lora_A.weight": torch.ones(2, 3)}
    tensors |= {"base_model.model." + "a" * 60 + ".lora_B.weight": torch.ones(3, 2)}
    written(tmp_path / "adapter_model.safetensors", tensors)
    config = {"r": 2, "lora_alpha": 4, "alpha_pattern": {"(a+)+b": 9}}
    (tmp_path / "adapter_config.json").write_text(json.dumps(config))
    assert read_network(tmp_path).problems == ()
