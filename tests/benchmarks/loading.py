"""What loading a network costs beyond reading its bytes: python -m tests.benchmarks.loading [rank]

The file is a complete kohya LoRA for SDXL, UNet and both text encoders, of about 150 MB in half precision. Seconds are
of the processor, so that a busy machine does not count; wall-clock seconds stand beside them.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from app.networks.files import read_network
from app.networks.resolve import resolve
from tests.networks import trees
from tests.networks.files_made import written

RANK = 21
PREFIXES = {"unet": "lora_unet_", "text_encoder": "lora_te1_text_model_", "text_encoder_2": "lora_te2_"}


class Figure(NamedTuple):
    """One figure. `target` is the most it may be; None where there is none."""

    name: str
    value: float
    unit: str
    target: float | None = None


def complete_file(path: Path, rank: int) -> int:
    """A LoRA of every Linear in the transformers; how many modules."""
    tensors: dict[str, Tensor] = {}
    for component, prefix in PREFIXES.items():
        for name, layer in trees.sdxl()[component].named_modules():
            if isinstance(layer, nn.Linear) and (component != "unet" or ".attentions." in name):
                key = prefix + name.replace(".", "_")
                tensors[f"{key}.lora_up.weight"] = torch.randn(layer.out_features, rank).half()
                tensors[f"{key}.lora_down.weight"] = torch.randn(rank, layer.in_features).half()
                tensors[f"{key}.alpha"] = torch.tensor(1.0)
    written(path, tensors)
    return len(tensors) // 3


def timed(run: Callable[[], object], rounds: int = 5) -> tuple[float, float]:
    """Median seconds of the processor, and by the clock."""
    taken = []
    for _ in range(rounds):
        clock, processor = time.perf_counter(), time.process_time()
        run()
        taken.append((time.process_time() - processor, time.perf_counter() - clock))
    return statistics.median(cpu for cpu, _ in taken), statistics.median(wall for _, wall in taken)


def loading_figures(rank: int = RANK) -> list[Figure]:
    """Read the bytes alone, then read and map the network, on the same machine in the same run."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "complete.safetensors"
        modules = complete_file(path, rank)
        model = trees.sdxl()
        match = resolve(read_network(path), model, "sdxl")
        assert match.matched == modules, match.problems
        size = path.stat().st_size

        def bytes_alone() -> None:
            with path.open("rb") as file:
                file.readinto(torch.empty(size, dtype=torch.uint8).numpy().data)

        read, read_wall = timed(bytes_alone)
        whole, whole_wall = timed(lambda: resolve(read_network(path), model, "sdxl"))
    return [
        Figure("file", size / 1e6, "MB"),
        Figure("modules", modules, ""),
        Figure("reading the bytes", read, "s"),
        Figure("reading the bytes, by the clock", read_wall, "s"),
        Figure("loading and mapping beyond that", whole - read, "s", 0.5),
        Figure("loading and mapping beyond that, by the clock", whole_wall - read_wall, "s"),
    ]


if __name__ == "__main__":
    for figure in loading_figures(int(sys.argv[1]) if sys.argv[1:] else RANK):
        verdict = "" if figure.target is None else f"  (at most {figure.target})"
        print(f"{figure.name:48} {figure.value:9.3f} {figure.unit}{verdict}", flush=True)
