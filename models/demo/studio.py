"""Pictures made by the studio itself, with its engine: what people will see, and not what the trainer saw."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from PIL import Image

from app.cli.studio import load_extensions, open_engine
from app.engine.engine import Engine
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.settings import SettingsStore

STEPS, GUIDANCE, SAMPLER = 12, 5.0, "DPM++ 2M"


@dataclass(frozen=True)
class Studio:
    """An engine over a models folder, and the checkpoint it is to use."""

    engine: Engine
    checkpoint: str
    side: int

    def pictures(self, prompt: str, number: int = 1, *, negative: str = "", seed: int = 11) -> list[Image.Image]:
        """That many pictures of a prompt, of seeds that count up.

        Raises:
            ValueError: the studio found something wrong with the prompt or a network, be it only worth a warning.
        """
        request = GenerationRequest(
            prompt=prompt, negative_prompt=negative, seed=seed, steps=STEPS, sampler=SAMPLER, cfg_scale=GUIDANCE,
            width=self.side, height=self.side, batch_size=number, checkpoint=self.checkpoint,
        )  # fmt: skip
        result = next(item for item in self.engine.generate(request) if isinstance(item, GenerationResult))
        if result.problems:
            raise ValueError(f"{prompt}: {'; '.join(map(str, result.problems))}")
        return [made.image for made in result.images]


@contextmanager
def studio(models: Path, checkpoint: str) -> Iterator[Studio]:
    """The studio over a models folder; its settings and index are its own, and gone afterwards."""
    with TemporaryDirectory() as data:
        settings = SettingsStore(Path(data), {"paths.models": models})
        with open_engine(settings, load_extensions()) as engine:
            side = engine.library.checkpoints.find(checkpoint).side
            if side is None:
                raise ValueError(f"{checkpoint} does not say what size it was made for.")
            yield Studio(engine, checkpoint, side)
