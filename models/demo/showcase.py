"""``python -m models.demo.showcase``: train the networks that ship with the demo model."""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import save_file

from .__main__ import MODELS, find_font
from .evaluation import contact_sheet
from .exhibits import EXHIBITS, Exhibit
from .export import load
from .lessons import Lesson
from .networks import Progress, trained
from .options import NetworkOptions
from .pictures import Painter
from .studio import studio

log = logging.getLogger("models.demo")

SUBJECTS = ("a cat on a blue background", "an apple on a yellow background", "a house on a green background")
STRANGER = "made-for-sdxl"
"""A network for another base model, so that the warning can be seen."""


def make(exhibit: Exhibit, models: Path, checkpoint: str, painter: Painter, work: Path) -> None:
    """Draw the lesson, train the network, and write the file and its card."""
    options = with_data(exhibit, painter, work / exhibit.name)
    pipeline = load(models / "checkpoints" / checkpoint)
    began = time.process_time()
    target = models / exhibit.folder / f"{exhibit.name}.safetensors"
    with trained(pipeline, options, work / exhibit.name, reporter(work / exhibit.name)) as result:
        result.save(target)
    log.info("%s took %.0f s of processor time", exhibit.name, time.process_time() - began)
    target.with_suffix(".json").write_text(json.dumps(exhibit.sidecar(), indent=2) + "\n", encoding="utf-8")


def tiny(exhibit: Exhibit) -> Exhibit:
    """The same kind of network, which learns nothing: an epoch of a few pictures."""
    few = {"lesson": replace(exhibit.lesson, number=8)}
    few |= {"opposite": replace(exhibit.opposite, number=8)} if exhibit.opposite else {}
    return replace(exhibit, options=replace(exhibit.options, max_train_epochs=1), **few)


def with_data(exhibit: Exhibit, painter: Painter, folder: Path) -> NetworkOptions:
    """Write the pictures of the exhibit's lessons; its options with their folders."""
    lesson = exhibit.lesson
    before = replace(lesson, touch=Lesson("").touch) if exhibit.options.kind == "decoder" else None
    lessons = {
        "train_data_dir": lesson,
        "reg_data_dir": lesson.plain if exhibit.regularised else None,
        "opposite_data_dir": exhibit.opposite,
        "conditioning_data_dir": before,
    }
    # The same seed for all, so that they show the same scenes.
    written = {name: one.write(painter, folder / name, seed=5) for name, one in lessons.items() if one}
    return replace(exhibit.options, resolution=painter.side, **written)


def reporter(folder: Path) -> Callable[[Progress], None]:
    """Writes the samples of a run below the folder, as trainers do."""

    def report(progress: Progress) -> None:
        if progress.samples:
            (folder / "sample").mkdir(exist_ok=True)
            contact_sheet(list(progress.samples)).save(folder / "sample" / f"{progress.epoch:06}.png")

    return report


def make_stranger(folder: Path) -> Path:
    """A network with the names and sizes of SDXL's, which nothing was trained for."""
    dice = torch.Generator().manual_seed(1)
    block = "lora_unet_input_blocks_{}_1_transformer_blocks_{}_attn2_to_{}"
    tensors = {}
    for place, width, depth in ((4, 640, 2), (7, 1280, 3)):
        for index in range(depth):
            for side in ("k", "v"):
                name = block.format(place, index, side)
                tensors[f"{name}.lora_down.weight"] = torch.randn(2, 2048, generator=dice).half() / 50
                tensors[f"{name}.lora_up.weight"] = torch.randn(width, 2, generator=dice).half() / 50
                tensors[f"{name}.alpha"] = torch.tensor(2.0).half()
    path = folder / f"{STRANGER}.safetensors"
    save_file(
        tensors,
        path,
        {
            "ss_output_name": STRANGER,
            "ss_base_model_version": "sdxl_base_v1-0",
            "ss_network_module": "networks.lora",
            "ss_network_dim": "2",
            "ss_network_alpha": "2.0",
            "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
            "modelspec.title": STRANGER,
            "modelspec.license": "Apache-2.0",
        },
    )
    card = {
        "description": "Made for SDXL: the studio says so, and leaves it out.",
        "sd version": "SDXL",
        "notes": "Random numbers in SDXL's shapes.",
    }
    path.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return path


def show(exhibit: Exhibit, models: Path, checkpoint: str) -> None:
    """Write the network's preview: the subjects in columns, the strengths in rows, made by the studio."""
    strengths = exhibit.shown
    asked = [exhibit.prompts(text, strength) for strength in strengths for text in SUBJECTS]
    with studio(models, checkpoint) as here:
        pictures = [here.pictures(prompt, negative=negative)[0] for prompt, negative in asked]
    contact_sheet(pictures, columns=len(SUBJECTS)).save(models / exhibit.folder / f"{exhibit.name}.png")


def main() -> None:
    """Read the arguments and make the networks asked for."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.showcase", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks to make; all of them by default")
    parser.add_argument("--work", type=Path, required=True, help="folder for training sets and the state of the runs")
    parser.add_argument("--models", type=Path, default=MODELS, help="models folder, with the checkpoint in it")
    parser.add_argument("--checkpoint", default="patchbay-demo", help="the checkpoint to train on")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf; found through fontconfig by default")
    parser.add_argument("--tiny", action="store_true", help="runs of seconds that show that everything works")
    parser.add_argument("--previews", action="store_true", help="only draw the previews again")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = [exhibit for exhibit in EXHIBITS if not arguments.names or exhibit.name in arguments.names]
    for folder in {exhibit.folder for exhibit in EXHIBITS}:
        (arguments.models / folder).mkdir(exist_ok=True)
    side = load(arguments.models / "checkpoints" / arguments.checkpoint).unet.config.sample_size * 4
    painter = Painter(arguments.font or find_font(), side)
    for exhibit in chosen:
        wanted = tiny(exhibit) if arguments.tiny else exhibit
        if not arguments.previews:
            make(wanted, arguments.models, arguments.checkpoint, painter, arguments.work)
        show(wanted, arguments.models, arguments.checkpoint)
    if not arguments.names:
        make_stranger(arguments.models / "loras")


if __name__ == "__main__":
    main()
