"""What a large library costs: python -m tests.benchmarks.library [files]

The files are those of a real folder but for their numbers: nine in ten have the 264 modules of a LoRA for SD 1.5, one
in ten the 722 of one for SDXL's UNet, with Kohya's metadata; every third has a sidecar. They are sparse, so that the
headers are as large as real ones and the disk stays empty. Seconds are the processor's: another program's work is not
counted, and neither is the disk's.
"""

from __future__ import annotations

import json
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from app.errors import NetworkError
from app.networks.catalog import Catalog

FILES = 5000
FOLDERS = 50
COLD_SECONDS, WARM_SECONDS = 30.0, 1.0
"""What 5,000 files may take: the first time, and at each start after it."""
RANK = 8


class Figure(NamedTuple):
    """One figure. `target` is the most it may be; None where there is none."""

    name: str
    seconds: float
    target: float | None = None


Modules = list[tuple[str, int]]


def transformer(name: str, blocks: int, width: int, context: int) -> Modules:
    """The modules of one attention stage, each with the width of its input."""
    found = [(f"{name}_proj_in", width), (f"{name}_proj_out", width)]
    for block in range(blocks):
        inner = f"{name}_transformer_blocks_{block}"
        found += [(f"{inner}_attn1_to_{part}", width) for part in ("q", "k", "v", "out_0")]
        found += [
            (f"{inner}_attn2_to_{part}", size) for part, size in zip("qkv", (width, context, context), strict=True)
        ]
        found += [
            (f"{inner}_attn2_to_out_0", width),
            (f"{inner}_ff_net_0_proj", width),
            (f"{inner}_ff_net_2", 4 * width),
        ]
    return found


def sd15() -> Modules:
    """The 264 modules of a LoRA for SD 1.5: 192 of the UNet's and 72 of the text encoder's."""
    places = [(f"down_blocks_{i}_attentions_{j}", width) for i, width in enumerate((320, 640, 1280)) for j in range(2)]
    places += [("mid_block_attentions_0", 1280)]
    places += [
        (f"up_blocks_{i}_attentions_{j}", width) for i, width in ((1, 1280), (2, 640), (3, 320)) for j in range(3)
    ]
    found = [module for place, width in places for module in transformer(f"lora_unet_{place}", 1, width, 768)]
    for layer in range(12):
        name = f"lora_te_text_model_encoder_layers_{layer}"
        found += [(f"{name}_self_attn_{part}_proj", 768) for part in ("q", "k", "v", "out")]
        found += [(f"{name}_mlp_fc1", 768), (f"{name}_mlp_fc2", 3072)]
    return found


def sdxl() -> Modules:
    """The 722 attention modules of SDXL's UNet, by the original's names."""
    places = [(f"input_blocks_{i}_1", 2, 640) for i in (4, 5)] + [(f"input_blocks_{i}_1", 10, 1280) for i in (7, 8)]
    places += [("middle_block_1", 10, 1280)] + [(f"output_blocks_{i}_1", 10, 1280) for i in (0, 1, 2)]
    places += [(f"output_blocks_{i}_1", 2, 640) for i in (3, 4, 5)]
    return [module for place, n, width in places for module in transformer(f"lora_unet_{place}", n, width, 2048)]


def header(modules: Modules, number: int) -> tuple[bytes, int]:
    """The header of one network, and how many bytes follow it."""
    tags = {f"tag {(number * 31 + tag * 17) % 9973}": 200 - tag for tag in range(200)}
    entries: dict[str, object] = {
        "__metadata__": {
            "ss_output_name": f"network {number}",
            "ss_network_dim": str(RANK),
            "ss_base_model_version": "sd_v1",
            "ss_tag_frequency": json.dumps({"10_subject": tags}),
        }
    }
    end = 0
    for name, width in modules:
        for leaf, shape in (("alpha", []), ("lora_down.weight", [RANK, width]), ("lora_up.weight", [width, RANK])):
            start, end = end, end + 2 * (RANK * width if shape else 1)
            entries[f"{name}.{leaf}"] = {"dtype": "F16", "shape": shape, "data_offsets": [start, end]}
    return json.dumps(entries, separators=(",", ":")).encode(), end


def fill(folder: Path, files: int) -> None:
    """Write the library."""
    small, large = sd15(), sdxl()
    for number in range(files):
        path = folder / f"folder {number % FOLDERS}" / f"network {number}.safetensors"
        path.parent.mkdir(exist_ok=True)
        text, size = header(large if number % 10 == 0 else small, number)
        with path.open("wb") as file:
            file.write(struct.pack("<Q", len(text)) + text)
            file.truncate(8 + len(text) + size)
        if number % 3 == 0:
            path.with_suffix(".json").write_text(json.dumps({"activation text": f"word{number}", "notes": "n"}))


def timed(work: Callable[[], object]) -> float:
    """Seconds of the processor's time."""
    started = time.process_time()
    work()
    return time.process_time() - started


def figures(files: int = FILES) -> Iterator[Figure]:
    """Each figure, as it is measured."""
    scale = files / FILES
    with TemporaryDirectory() as place:
        folder, index = Path(place) / "loras", Path(place) / "index.sqlite"
        folder.mkdir()
        fill(folder, files)
        catalog = Catalog([folder], "lora", index)
        yield Figure(f"first scan of {files} files", timed(catalog.refresh), COLD_SECONDS * scale)
        catalog = Catalog([folder], "lora", index)
        yield Figure("scan at the next start", timed(catalog.refresh), WARM_SECONDS * scale)
        yield Figure("scan for changes", timed(catalog.refresh), WARM_SECONDS * scale)
        yield Figure("find a bare name", timed(lambda: catalog.find(f"network {files // 2}")), 0.01)

        def miss() -> None:
            with suppress(NetworkError):
                catalog.find("netwrk 12")

        yield Figure("offer near names for a missing one", timed(miss), WARM_SECONDS)
        yield Figure("all cards as JSON", timed(lambda: json.dumps([file.as_card() for file in catalog.entries()])))


def main(files: int) -> None:
    for figure in figures(files):
        target = "" if figure.target is None else f"  (at most {figure.target:.2f})"
        print(f"{figure.name:<40} {figure.seconds:8.3f} s{target}", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else FILES)
