from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.decoding import decode
from app.diffusion.device import CPU, OutOfMemory, Placement, choose_placement, memory_errors
from app.errors import DeviceError

GPU = Placement(torch.device("cuda"), torch.float16)


@pytest.mark.parametrize(
    ("field", "value"),
    [("device", "toaster"), ("device", "cuda:99"), ("dtype", "int3"), ("attention", "flash"), ("offload", "always")],
)
def test_what_the_machine_does_not_have_is_an_error_that_names_the_setting(field: str, value: str) -> None:
    with pytest.raises(DeviceError) as caught:
        choose_placement(**{field: value})
    assert caught.value.where == field


def test_a_cpu_works_in_float32_and_a_choice_is_kept() -> None:
    assert choose_placement("cpu").dtype == torch.float32
    assert choose_placement("cpu", "bf16").dtype == torch.bfloat16
    assert choose_placement("cpu", offload="model").offload == "none", "there is nowhere to move to"


def test_thriftier_ends() -> None:
    for placement in (CPU, GPU):
        thriftier = placement.thriftier()
        assert thriftier is not None and thriftier.vae_tiling
        assert thriftier.thriftier() is None


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA out of memory"), RuntimeError("DefaultCPUAllocator: can't allocate memory")]
)
def test_exhausted_memory_is_told_with_what_would_help(error: RuntimeError) -> None:
    with pytest.raises(OutOfMemory, match=r"while sampling.*offload"), memory_errors(GPU, "sampling"):
        raise error


def test_other_errors_pass_as_they_are() -> None:
    with pytest.raises(RuntimeError, match="something else"), memory_errors(GPU, "sampling"):
        raise RuntimeError("something else")


class Overflowing(TorchDispatchMode):
    """Half precision here has the range it has on a device, and a convolution leaves it."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution.default and result.dtype == torch.float16:
            return result * torch.inf
        return result


@pytest.fixture
def half(sd15: Checkpoint) -> Iterator[Checkpoint]:
    """The checkpoint with a VAE in half precision."""
    vae = type(sd15.vae).from_config(sd15.vae.config).half().eval()
    yield replace(sd15, components={**sd15.components, "vae": vae})


def test_a_vae_that_overflows_in_half_precision_is_run_in_float32_and_says_so(half: Checkpoint) -> None:
    latents = torch.randn(2, 4, 4, 4)
    assert not decode(half, latents).upcast
    with Overflowing():
        decoded = decode(half, latents)
    assert decoded.upcast
    assert next(half.vae.parameters()).dtype == torch.float16, "the live weights stay as they are"


def test_tiles_make_the_picture_of_the_whole(sd15: Checkpoint) -> None:
    latents = torch.randn(1, 4, 8, 8)
    tiled = replace(sd15, placement=replace(CPU, vae_tiling=True))
    assert decode(tiled, latents).images[0].tobytes() == decode(sd15, latents).images[0].tobytes()
