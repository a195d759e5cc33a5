"""Does the model draw what the caption says? A small classifier, trained on fresh renders, is the judge."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from diffusers import EulerAncestralDiscreteScheduler, StableDiffusionPipeline
from PIL import Image, ImageFilter
from torch import Tensor, nn

from .autoencoder import to_tensor
from .pictures import Mix, Painter, random_scene
from .training import Schedule, Trainer
from .words import COLOURS, NOUNS, SIZES, Scene, caption

PAIR = ("", 2, "pair")
KINDS = (*((size, 1, "") for size in SIZES), ("", 2, ""), ("", 3, ""), ("", 1, "left"), ("", 1, "right"), PAIR)


@dataclass(frozen=True)
class Adherence:
    """The share of pictures in which each part of the caption is obeyed."""

    pictures: int
    noun: float
    background: float
    count: float
    layout: float
    everything: float
    sampler: str
    steps: int
    guidance: float

    def markdown(self) -> str:
        """The figures as a table."""
        rows = [
            ("object (of two-object captions: both)", self.noun),
            ("background", self.background),
            ("count", self.count),
            ("size, count and place", self.layout),
            ("everything", self.everything),
        ]
        lines = [f"| asked for | obeyed in {self.pictures} pictures |", "|---|---|"]
        return "\n".join(lines + [f"| {name} | {share:.0%} |" for name, share in rows])


class Judge(nn.Module):
    """Names the noun, the second noun, the background and the layout (size, count and place) of a picture."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        channels = (3, width, width * 2, width * 3, width * 4)
        self.body = nn.Sequential(
            *(
                layer
                for before, after in pairwise(channels)
                for layer in (nn.Conv2d(before, after, 3, 2, 1), nn.BatchNorm2d(after), nn.SiLU())
            ),
            nn.AdaptiveAvgPool2d(4),
            nn.Flatten(),
        )
        features = width * 4 * 16
        sizes = (len(NOUNS), len(NOUNS) + 1, len(COLOURS), len(KINDS))
        self.heads = nn.ModuleList(nn.Linear(features, size) for size in sizes)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Scores for each noun, second noun (the last: none), colour and layout."""
        features = self.body(images)
        return tuple(head(features) for head in self.heads)


def labels(scenes: list[Scene]) -> tuple[Tensor, ...]:
    """What the judge should say of the scenes, one tensor a head."""
    palette, seconds = tuple(COLOURS), (*NOUNS, "")
    rows = [
        (NOUNS.index(s.noun), seconds.index(s.partner), palette.index(s.colour), KINDS.index(_kind(s))) for s in scenes
    ]
    return tuple(torch.tensor(rows).unbind(1))


def train_judge(painter: Painter, mix: Mix, schedule: Schedule, folder: Path, seed: int) -> Judge:
    """Train the judge on renders, some of them blurred, since generated pictures are not perfectly sharp."""
    judge = Judge()
    trainer = Trainer("judge", judge, schedule, folder, seed)

    def loss(rng: np.random.Generator) -> Tensor:
        scenes = [random_scene(mix, rng) for _ in range(schedule.batch)]
        pictures = [_soften(painter.draw(scene, rng), rng) for scene in scenes]
        images = to_tensor(pictures).to(trainer.device)
        images = images + 0.04 * torch.randn_like(images)
        scores = judge(images)
        return torch.stack(
            [F.cross_entropy(s, t.to(trainer.device)) for s, t in zip(scores, labels(scenes), strict=True)]
        ).sum()

    trainer.run(loss)
    return judge.eval()


def judge_pictures(judge: Judge, pictures: list[Image.Image], scenes: list[Scene]) -> Tensor:
    """Whether nouns, background, count and layout are right: one row a picture."""
    device = next(judge.parameters()).device
    with torch.no_grad():
        nouns, seconds, colours, kinds = (
            scores.argmax(dim=1).cpu() for scores in judge(to_tensor(pictures).to(device))
        )
    noun, second, colour, kind = labels(scenes)
    counts = torch.tensor([count for _, count, _ in KINDS])
    named = (nouns == noun) & (seconds == second)
    return torch.stack([named, colours == colour, counts[kinds] == counts[kind], kinds == kind], dim=1)


def judged_scenes(mix: Mix, number: int, seed: int) -> list[Scene]:
    """Scenes to be judged by, no two alike."""
    rng = np.random.default_rng(seed)
    scenes: dict[Scene, None] = {}
    while len(scenes) < number:
        scenes[random_scene(mix, rng)] = None
    return list(scenes)


def paint(
    pipeline: StableDiffusionPipeline, captions: list[str], steps: int, guidance: float, seed: int
) -> list[Image.Image]:
    """One picture a caption, by Euler ancestral, each from its own seed."""
    pipeline.scheduler = EulerAncestralDiscreteScheduler.from_config(pipeline.scheduler.config)
    pictures: list[Image.Image] = []
    for first in range(0, len(captions), 20):
        part = captions[first : first + 20]
        dice = [torch.Generator().manual_seed(seed + first + offset) for offset in range(len(part))]
        pictures += pipeline(part, num_inference_steps=steps, guidance_scale=guidance, generator=dice).images
    return pictures


def measure(
    pipeline: StableDiffusionPipeline,
    judge: Judge,
    scenes: list[Scene],
    steps: int = 20,
    guidance: float = 5.0,
    seed: int = 1,
) -> tuple[Adherence, list[Image.Image]]:
    """Draw each scene's caption once and judge the pictures."""
    pictures = paint(pipeline, [caption(scene) for scene in scenes], steps, guidance, seed)
    right = judge_pictures(judge, pictures, scenes)
    shares = right.float().mean(dim=0).tolist()
    everything = right.all(dim=1).float().mean().item()
    return Adherence(len(scenes), *shares, everything, "Euler a", steps, guidance), pictures


def contact_sheet(pictures: list[Image.Image], columns: int = 10) -> Image.Image:
    """The pictures side by side."""
    side = pictures[0].width
    sheet = Image.new("RGB", (columns * side, -(-len(pictures) // columns) * side))
    for number, picture in enumerate(pictures):
        sheet.paste(picture, (number % columns * side, number // columns * side))
    return sheet


def write_report(adherence: Adherence, folder: Path) -> None:
    """Write ``adherence.json`` and ``adherence.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adherence.json").write_text(json.dumps(asdict(adherence), indent=2) + "\n")
    (folder / "adherence.md").write_text(adherence.markdown() + "\n")


def _kind(scene: Scene) -> tuple[str, int, str]:
    return PAIR if scene.partner else (scene.size, scene.count, scene.place)


def _soften(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    blur = rng.uniform(0, 1.2)
    return picture.filter(ImageFilter.GaussianBlur(blur)) if blur > 0.3 else picture
