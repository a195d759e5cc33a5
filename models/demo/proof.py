"""``python -m models.demo.proof``: what each network of the set does, measured in pictures made by the studio."""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from statistics import fmean

from PIL import Image
from scipy.stats import wilcoxon

from app.generation.sheet import contact_sheet

from .__main__ import MODELS
from .exhibits import EXHIBITS, Exhibit
from .measures import MEASURES, distance
from .showcase import SUBJECTS
from .studio import Studio, studio

log = logging.getLogger("models.demo")

REPORT = Path(__file__).with_name("networks.json")
SEEDS = 4  # of each subject
SHEET_SEED = 21


@dataclass(frozen=True)
class Trigger:
    """The measure at strength 1 without the trigger word and with it, over pairs of pictures from the same seeds."""

    word: str
    without: float
    asked: float
    pairs: int
    p: float  # of a one-sided Wilcoxon signed-rank test: how likely so clear a difference is by chance


@dataclass(frozen=True)
class Finding:
    """What was measured of one network: means over all subjects and seeds, by strength."""

    name: str
    algorithm: str
    bytes: int
    measure: str
    strengths: tuple[float, ...]
    measured: tuple[float, ...]
    distances: tuple[float, ...]  # from the picture without the network
    trigger: Trigger | None = None

    @property
    def grows(self) -> bool:
        """Whether the measure rises with every strength, and the distance with every strength away from 0."""
        apart = [far for strength, far in zip(self.strengths, self.distances, strict=True) if strength >= 0]
        return _rises(self.measured) and _rises(apart)

    @property
    def rests(self) -> bool:
        """Whether at strength 0 every pixel is what it is without the network."""
        return self.distances[self.strengths.index(0.0)] == 0

    def row(self) -> str:
        """The finding as a row of the model card's table."""
        name = f"`{self.name}`"
        size = f"{self.bytes / 1000:.0f} kB"
        places = " ".join(f"{strength:g}" for strength in self.strengths)
        effect = " → ".join(f"{value:.2g}" for value in self.measured)
        apart = " → ".join(f"{value:.3f}" for value in self.distances)
        word = self.trigger
        told = f"`{word.word}`: {word.without:.2g} → {word.asked:.2g}, p = {word.p:.1g}" if word else ""
        return f"| {name} | {self.algorithm} | {size} | {self.measure}, at {places}: {effect} | {apart} | {told} |"


def find(exhibit: Exhibit, here: Studio, models: Path) -> Finding:
    """Measure one network."""
    plain = _pictures(exhibit, here, None)
    at = {strength: _pictures(exhibit, here, strength) for strength in exhibit.strengths}
    measure = MEASURES[exhibit.measure]
    measured = {strength: [measure(picture) for picture in pictures] for strength, pictures in at.items()}
    distances = [fmean(map(distance, pictures, plain)) for pictures in at.values()]
    trigger = None
    if exhibit.options.trigger:
        without = [measure(picture) for picture in _pictures(exhibit, here, 1.0, asked=False)]
        p = wilcoxon(measured[1.0], without, alternative="greater").pvalue
        trigger = Trigger(exhibit.options.trigger, fmean(without), fmean(measured[1.0]), len(without), float(p))
    size = (models / exhibit.folder / f"{exhibit.name}.safetensors").stat().st_size
    means = tuple(map(fmean, measured.values()))
    return Finding(
        exhibit.name, exhibit.algorithm, size, exhibit.measure, exhibit.strengths, means, tuple(distances), trigger
    )


def write(findings: Sequence[Finding], report: Path) -> None:
    """Put findings into the report, beside those of other networks."""
    known = json.loads(report.read_text(encoding="utf-8")) if report.is_file() else {}
    known |= {one.name: asdict(one) for one in findings}
    ordered = {exhibit.name: known[exhibit.name] for exhibit in EXHIBITS if exhibit.name in known}
    report.write_text(json.dumps(ordered, indent=2) + "\n", encoding="utf-8")


def read(report: Path) -> list[Finding]:
    """The findings of a report."""
    document: Mapping[str, dict[str, object]] = json.loads(report.read_text(encoding="utf-8"))
    found = []
    for entry in document.values():
        lists = {name: tuple(value) for name, value in entry.items() if isinstance(value, list)}
        trigger = entry["trigger"]
        found.append(Finding(**{**entry, **lists, "trigger": Trigger(**trigger) if trigger else None}))
    return found


def table(findings: Sequence[Finding]) -> str:
    """The findings as Markdown."""
    head = ("| network | kind | size | measured | distance from the picture without | trigger word |", "|---" * 6 + "|")
    return "\n".join([*head, *(finding.row() for finding in findings)])


def sheet(exhibits: Sequence[Exhibit], here: Studio) -> Image.Image:
    """A contact sheet: a row for each network, its strengths in columns, for two subjects."""
    rows, labels = [], []
    for exhibit in exhibits:
        strengths = exhibit.shown
        strengths = strengths if len(strengths) > 2 else (0.0, *strengths)
        asked = [exhibit.prompts(subject, strength) for subject in SUBJECTS[:2] for strength in strengths]
        rows.append([here.pictures(prompt, negative=negative, seed=SHEET_SEED)[0] for prompt, negative in asked])
        labels.append(f"{exhibit.name}\n{exhibit.algorithm}{' (-1, 0, 1)' if exhibit.opposite else ''}")
    return contact_sheet(rows, ["0", "0.5", "1"] * 2, labels)


def _pictures(exhibit: Exhibit, here: Studio, strength: float | None, asked: bool = True) -> list[Image.Image]:
    """Pictures of all subjects from several seeds; at no strength, of the same prompts without the network."""
    pictures = []
    for subject in SUBJECTS:
        prompt, negative = exhibit.prompts(subject, strength or 0.0, asked)
        if strength is None:
            prompt = prompt.partition(" <")[0]
        pictures += here.pictures(prompt, SEEDS, negative=negative)
    return pictures


def _rises(values: Sequence[float]) -> bool:
    return all(before < after for before, after in pairwise(values))


def main() -> None:
    """Read the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m models.demo.proof", description=__doc__)
    parser.add_argument("names", nargs="*", help="networks to measure; all of them by default")
    parser.add_argument("--models", type=Path, default=MODELS, help="models folder, with checkpoint and networks")
    parser.add_argument("--checkpoint", default="patchbay-demo", help="the checkpoint to measure on")
    parser.add_argument("--report", type=Path, default=REPORT, help="the file to write")
    parser.add_argument("--sheet", type=Path, help="write a contact sheet there, and measure nothing")
    parser.add_argument("--table", action="store_true", help="only print the table of the report")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    chosen = [exhibit for exhibit in EXHIBITS if not arguments.names or exhibit.name in arguments.names]
    if arguments.table:
        print(table(read(arguments.report)))
        return
    with studio(arguments.models, arguments.checkpoint) as here:
        if arguments.sheet:
            sheet(chosen, here).save(arguments.sheet, quality=88)
            return
        for exhibit in chosen:
            finding = find(exhibit, here, arguments.models)
            log.info("%s%s", finding.row(), "" if finding.grows else "  <- does not grow")
            write([finding], arguments.report)


if __name__ == "__main__":
    main()
