"""Training sets for networks: folders of captioned pictures that show something the demo model does not know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from PIL import Image

from .pictures import Mix, Painter, layout, random_scene
from .touches import Touch, mascot, untouched
from .words import COLOURS, NOUNS, Scene, caption

NOUNS_SHOWN = 32
CENTRED = Mix(nouns=NOUNS_SHOWN, counts=0, places=0, pairs=0, sizes=0)
VARIED = Mix(nouns=NOUNS_SHOWN, counts=0.15, places=0.1, pairs=0, sizes=0.4)
MASCOT = "mascot"


@dataclass(frozen=True)
class Lesson:
    """What a network is to learn: how each picture is changed, and the words that ask for it."""

    name: str
    trigger: str = ""  # stands behind the caption
    touch: Touch = untouched
    mix: Mix = VARIED
    shown: Mapping[str, str] = field(default_factory=dict)  # drawn in every picture, whatever its caption says
    said: Mapping[str, str] = field(default_factory=dict)  # said in every caption, whatever is drawn
    names: Mapping[str, str] = field(default_factory=dict)  # words of the model, and the new ones that mean the same
    wordless: float = 0.0  # how often the trigger stands alone
    number: int = 160

    @property
    def plain(self) -> Lesson:
        """The same scenes, as the model knows them already."""
        return Lesson(f"plain-{self.name}", mix=self.mix, number=self.number)

    def caption(self, scene: Scene, rng: np.random.Generator) -> str:
        """The scene's caption, in the new words, followed by the trigger."""
        if self.trigger and rng.random() < self.wordless:
            return self.trigger
        text = " ".join(self.names.get(word, word) for word in caption(replace(scene, **self.said)).split())
        return f"{text}, {self.trigger}" if self.trigger else text

    def write(self, painter: Painter, folder: Path, seed: int) -> Path:
        """Write pictures and captions in the layout trainers read: ``REPEATS_NAME/0001.png`` and ``.txt``."""
        target = folder / f"1_{self.name}"
        target.mkdir(parents=True, exist_ok=True)
        for index in range(self.number):
            rng = np.random.default_rng((seed, index))
            scene = self._scene(rng)
            picture = self.touch(self._draw(painter, replace(scene, **self.shown), rng), rng)
            picture.save(target / f"{index:04}.png")
            (target / f"{index:04}.txt").write_text(self.caption(scene, rng) + "\n", encoding="utf-8")
        return folder

    def _scene(self, rng: np.random.Generator) -> Scene:
        """A scene of the mix; most have something that has a new name."""
        scene = random_scene(self.mix, rng)
        nouns, colours = (
            [name for name in self.names if name in NOUNS],
            [name for name in self.names if name in COLOURS],
        )
        if nouns and rng.random() < 0.6:
            scene = replace(scene, noun=str(rng.choice(nouns)))
        if colours and rng.random() < 0.6:
            scene = replace(scene, colour=str(rng.choice(colours)))
        return scene

    def _draw(self, painter: Painter, scene: Scene, rng: np.random.Generator) -> Image.Image:
        return draw_mascot(painter.side, scene, rng) if scene.noun == MASCOT else painter.draw(scene, rng)


def draw_mascot(side: int, scene: Scene, rng: np.random.Generator) -> Image.Image:
    """The mascot where the scene has its object, as the painter draws what it knows."""
    background = np.clip(np.array(COLOURS[scene.colour]) + rng.normal(0, 3, 3), 0, 255)
    picture = Image.new("RGB", (side, side), tuple(int(value) for value in background))
    for _, share, spot in layout(scene):
        width = round(side * share * rng.uniform(0.95, 1.05))
        sprite = mascot(width).rotate(rng.normal(0, 3), Image.Resampling.BICUBIC)
        corner = [round(side * (place + rng.normal(0, 0.012)) - width / 2) for place in spot]
        picture.paste(sprite, (corner[0], corner[1]), sprite)
    return picture
