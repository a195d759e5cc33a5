"""``python -m models.demo``: train, evaluate and export the demo model."""

from __future__ import annotations

import argparse
import logging
import subprocess
from pathlib import Path

from .export import export, export_autoencoder
from .recipe import SHIPPED, Workshop, tiny

SHARP = "patchbay-demo-sharp"
MODELS = Path(__file__).resolve().parents[1]


def find_font() -> Path:
    """Noto Color Emoji, where fontconfig knows it."""
    try:
        command = ["fc-list", ":family=Noto Color Emoji", "file"]
        found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    except (OSError, subprocess.CalledProcessError):
        found = []
    if found:
        return Path(found[0].strip().rstrip(":"))
    raise SystemExit("Noto Color Emoji was not found: install fonts-noto-color-emoji, or pass --font FILE")


def main() -> None:
    """Read the arguments and run the recipe."""
    parser = argparse.ArgumentParser(prog="python -m models.demo", description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the checkpoints and the reports")
    parser.add_argument("--out", type=Path, default=MODELS / "checkpoints" / "patchbay-demo", help="folder to write")
    parser.add_argument("--vae", type=Path, default=MODELS / "vae" / SHARP, help="folder of the second autoencoder")
    parser.add_argument("--font", type=Path, help="NotoColorEmoji.ttf; found through fontconfig by default")
    parser.add_argument("--tiny", action="store_true", help="a run of seconds that shows that everything works")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    recipe = tiny() if arguments.tiny else SHIPPED
    workshop = Workshop(recipe, arguments.font or find_font(), arguments.work)
    pipeline = workshop.train()
    workshop.evaluate(pipeline)
    export(pipeline, arguments.out)
    export_autoencoder(workshop.sharpen(pipeline.vae), arguments.vae)


if __name__ == "__main__":
    main()
