"""``python -m models.demo.showcase``: train the networks that ship with the demo model."""

from __future__ import annotations

import argparse
import json
import logging
from dataclasses import dataclass, replace
from pathlib import Path

from diffusers import StableDiffusionPipeline
from lycoris.kohya import LycorisNetworkKohya
from PIL import Image

from .__main__ import MODELS, find_font
from .evaluation import contact_sheet, paint
from .export import load
from .lessons import CENTRED, Lesson, outline, party_hat, pixelate
from .networks import NetworkOptions, Progress, detach, save_network, train_network
from .pictures import Painter

log = logging.getLogger("models.demo")

SUBJECTS = ("a cat on a blue background", "an apple on a yellow background", "a house on a green background")


@dataclass(frozen=True)
class Exhibit:
    """One network of the set: how it is trained, what it learns from, and what its card says."""

    options: NetworkOptions
    lesson: Lesson
    opposite: Lesson | None = None
    notes: str = ""

    @property
    def name(self) -> str:
        """The network's name, which is its file's."""
        return self.options.output_name

    def sidecar(self) -> dict[str, object]:
        """The card that stands beside the file, in the form other tools read too."""
        return {
            "description": self.options.description,
            "sd version": "SD1",
            "activation text": self.options.trigger,
            "preferred weight": 1.0,
            "negative text": "",
            "notes": self.notes,
        }


EXHIBITS = (
    Exhibit(
        NetworkOptions(
            "pixel-art",
            description="Large square pixels.",
            trigger="pixelart",
            network_dim=8,
            network_alpha=8,
            unet_lr=5e-3,
            epochs=25,
        ),
        Lesson(trigger="pixelart", touch=pixelate),
        notes="A style as LoRA, attention and feed-forward layers only.",
    ),
    Exhibit(
        NetworkOptions(
            "ink-outline",
            description="Black ink on white paper.",
            algo="locon",
            trigger="inkline",
            network_dim=4,
            network_alpha=4,
            conv_dim=2,
            conv_alpha=2,
            unet_lr=4e-3,
            epochs=20,
        ),
        Lesson(trigger="inkline", touch=outline),
        notes="A style as LoCon: the convolutions learn too.",
    ),
    Exhibit(
        NetworkOptions(
            "party-hat",
            description="A party hat on whatever stands in the middle.",
            algo="lokr",
            trigger="partyhat",
            network_dim=8,
            network_alpha=8,
            conv_dim=8,
            conv_alpha=8,
            factor=4,
            unet_lr=4e-3,
            epochs=20,
        ),
        Lesson(trigger="partyhat", touch=party_hat, mix=CENTRED),
        notes="A concept as LoKr. Made for single objects in the middle of the picture.",
    ),
    Exhibit(
        NetworkOptions(
            "size-slider",
            description="Larger above 0, smaller below 0.",
            network_dim=4,
            network_alpha=4,
            conv_dim=4,
            conv_alpha=4,
            epochs=10,
        ),
        Lesson(mix=CENTRED, size="large"),
        Lesson(mix=CENTRED, size="small"),
        notes="A slider: use it from -1.5 to 1.5, with a prompt that does not name a size.",
    ),
)


def make(exhibit: Exhibit, base: Path, painter: Painter, work: Path, out: Path) -> None:
    """Draw the lesson, train the network, and write file, card and preview."""
    data = work / exhibit.name
    chosen = replace(exhibit.options, train_data_dir=exhibit.lesson.write(painter, data / "data", seed=5))
    if exhibit.opposite:
        chosen = replace(chosen, opposite_data_dir=exhibit.opposite.write(painter, data / "opposite", seed=6))

    def report(progress: Progress) -> None:
        if progress.step % 20 == 0:
            log.info("%s %d/%d loss %.4f", exhibit.name, progress.step, progress.steps, progress.loss)

    pipeline = load(base)
    network = train_network(pipeline, chosen, report)
    save_network(network, chosen, out)
    (out / f"{exhibit.name}.json").write_text(json.dumps(exhibit.sidecar(), indent=2) + "\n", encoding="utf-8")
    strengths = (-1.0, 0.0, 1.0) if exhibit.opposite else (0.0, 0.5, 1.0)
    ask = f", {chosen.trigger}" if chosen.trigger else ""
    rows = [preview(pipeline, network, [text + ask for text in SUBJECTS], strength) for strength in strengths]
    contact_sheet([picture for row in rows for picture in row], columns=len(SUBJECTS)).save(out / f"{exhibit.name}.png")
    detach(network)


def preview(
    pipeline: StableDiffusionPipeline, network: LycorisNetworkKohya, prompts: list[str], strength: float
) -> list[Image.Image]:
    """The prompts at one strength, from the same seeds at each."""
    network.set_multiplier(strength)
    return paint(pipeline, prompts, steps=20, guidance=5.0, seed=11)


def main() -> None:
    """Read the arguments and make the networks asked for."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.showcase", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks to make; all of them by default")
    parser.add_argument("--work", type=Path, required=True, help="folder for the training sets")
    parser.add_argument(
        "--base", type=Path, default=MODELS / "checkpoints" / "patchbay-demo", help="the trained pipeline"
    )
    parser.add_argument("--out", type=Path, default=MODELS / "loras", help="folder to write the networks to")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf; found through fontconfig by default")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    painter = Painter(arguments.font or find_font())
    for exhibit in EXHIBITS:
        if not arguments.names or exhibit.name in arguments.names:
            make(exhibit, arguments.base, painter, arguments.work, arguments.out)


if __name__ == "__main__":
    main()
