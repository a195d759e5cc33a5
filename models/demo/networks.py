"""Training of networks (LoRA and its relatives, words, hypernetworks) on a pipeline, from folders of pictures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from torch import Tensor, nn

from .autoencoder import difference
from .dataset import Dataset
from .denoiser import NoiseLoss
from .evaluation import paint
from .learners import LEARNERS, Learner
from .metadata import Run, metadata
from .options import NetworkOptions
from .training import Schedule, Trainer

AVERAGING = 0.98
WARM_UP, DECAY = 20, 0.5


@dataclass(frozen=True)
class Progress:
    """Where a training run is. `samples` are pictures of the options' prompts, at the end of some epochs."""

    epoch: int
    step: int
    steps: int
    loss: float
    samples: tuple[Image.Image, ...] = ()


Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Lessons:
    """All that a run learns from, in memory."""

    train: Dataset
    reg: Dataset | None = None
    opposite: Dataset | None = None
    before: Dataset | None = None

    @classmethod
    def read(cls, pipeline: StableDiffusionPipeline, options: NetworkOptions) -> Lessons:
        """The folders of the options."""

        def dataset(folder: Path | None) -> Dataset | None:
            return folder and Dataset.read(folder, pipeline.vae, options.resolution)

        others = (options.reg_data_dir, options.opposite_data_dir, options.conditioning_data_dir)
        return cls(Dataset.read(options.train_data_dir, pipeline.vae, options.resolution), *map(dataset, others))

    def steps(self, options: NetworkOptions) -> int:
        """How many steps an epoch is: each picture of the training folder is seen about once."""
        return -(-len(self.train.captions) // max(1, options.train_batch_size - self.plain(options)))

    def plain(self, options: NetworkOptions) -> int:
        """How many pictures of a batch are plain ones."""
        return max(1, round(options.train_batch_size * options.reg_share)) if self.reg else 0


class DenoisingLoss:
    """How badly the denoiser guesses noise, with the learner acting at the strength at which it should show each set.

    What the text encoder says is kept, unless it is the text encoder that learns.
    """

    def __init__(
        self, pipeline: StableDiffusionPipeline, learner: Learner, lessons: Lessons, options: NetworkOptions
    ) -> None:
        self._pipeline, self._learner, self._lessons, self._options = pipeline, learner, lessons, options
        self._criterion = NoiseLoss(pipeline.device)
        self._states: dict[str, Tensor] = {}

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """The loss of one batch; of a slider, half of it is of the opposite."""
        lessons, size = self._lessons, self._options.train_batch_size
        if lessons.opposite is None:
            plain = lessons.plain(self._options)
            examples = [(lessons.train, max(1, size - plain))] + ([(lessons.reg, plain)] if lessons.reg else [])
            return self._loss(examples, rng)
        total = torch.zeros(())
        for dataset, strength in ((lessons.train, 1.0), (lessons.opposite, -1.0)):
            self._learner.set_strength(strength)
            total = total + self._loss([(dataset, max(1, size // 2))], rng) / 2
        self._learner.set_strength(1.0)
        return total

    def _loss(self, examples: list[tuple[Dataset, int]], rng: np.random.Generator) -> Tensor:
        latents, captions = [], []
        for dataset, number in examples:
            chosen, texts = dataset.draw(number, rng)
            # Where there are plain pictures, only those stand for the empty prompt: there the network should rest.
            drop = self._options.caption_dropout_rate if dataset is examples[-1][0] else 0.0
            captions += ["" if rng.random() < drop else text for text in texts]
            latents.append(dataset.latents[chosen])
        return self._criterion(self._pipeline.unet, torch.cat(latents), self._encoded(captions), rng)

    def _encoded(self, captions: list[str]) -> Tensor:
        if self._options.text_encoder_lr:
            return self._encode(captions)
        unknown = list(dict.fromkeys(text for text in captions if text not in self._states))
        if unknown:
            with torch.no_grad():
                self._states |= dict(zip(unknown, self._encode(unknown), strict=True))
        return torch.stack([self._states[text] for text in captions])

    def _encode(self, captions: list[str]) -> Tensor:
        return self._pipeline.text_encoder(self._learner.tokens(captions).to(self._pipeline.device)).last_hidden_state


class DecodingLoss:
    """How far the decoder's pictures of plain latents are from the changed pictures."""

    def __init__(
        self, pipeline: StableDiffusionPipeline, learner: Learner, lessons: Lessons, options: NetworkOptions
    ) -> None:
        if lessons.before is None:
            raise ValueError("A network for the VAE needs conditioning_data_dir: the pictures before the change.")
        self._vae, self._lessons, self._size = pipeline.vae, lessons, options.train_batch_size
        self._latents = lessons.before.latents / pipeline.vae.config.scaling_factor

    def __call__(self, rng: np.random.Generator) -> Tensor:
        """The loss of one batch."""
        chosen, _ = self._lessons.train.draw(self._size, rng)
        return difference(self._vae.decode(self._latents[chosen]).sample, self._lessons.train.pictures[chosen])


@dataclass(frozen=True)
class Trained:
    """A learner at the end of its run, still acting on the pipeline."""

    learner: Learner
    options: NetworkOptions
    run: Run

    def save(self, path: Path) -> Path:
        """Write the file, with everything there is to say of it."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self.learner.save(path, metadata(self.options, self.run))
        return path


@contextmanager
def trained(
    pipeline: StableDiffusionPipeline, options: NetworkOptions, folder: Path, report: Report = lambda progress: None
) -> Iterator[Trained]:
    """Train a network, and yield it while it acts on the pipeline, which is left as it was.

    ``folder`` holds the state of the run: one that was stopped goes on from there.
    """
    torch.manual_seed(options.seed)
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        part.requires_grad_(False).eval()
    lessons = Lessons.read(pipeline, options)
    learner = LEARNERS[options.kind](pipeline, options)
    try:
        yield _train(pipeline, learner, lessons, options, folder, report)
    finally:
        learner.detach()


def _train(
    pipeline: StableDiffusionPipeline,
    learner: Learner,
    lessons: Lessons,
    options: NetworkOptions,
    folder: Path,
    report: Report,
) -> Trained:
    folder.mkdir(parents=True, exist_ok=True)
    per_epoch = lessons.steps(options)
    steps, started = per_epoch * options.max_train_epochs, time.time()
    schedule = Schedule(steps, options.train_batch_size, options.learning_rate, WARM_UP, DECAY, AVERAGING)
    parts = learner.paces()
    everything = nn.ParameterList(parameter for part, _ in parts for parameter in part)
    trainer = Trainer(options.output_name, everything, schedule, folder, options.seed, parts)
    criterion = (DecodingLoss if options.kind == "decoder" else DenoisingLoss)(pipeline, learner, lessons, options)

    def loss(rng: np.random.Generator) -> Tensor:
        value = criterion(rng)
        epoch, step = trainer.step // per_epoch + 1, trainer.step + 1
        every = options.sample_every_n_epochs
        due = bool(every and options.sample_prompts) and step % (per_epoch * every) == 0
        samples = paint(pipeline, list(options.sample_prompts), 20, 5.0, options.seed) if due else []
        report(Progress(epoch, step, steps, value.item(), tuple(samples)))
        return value

    trainer.run(loss)
    trainer.averaged()
    images, plain = len(lessons.train.captions), len(lessons.reg.captions) if lessons.reg else 0
    return Trained(learner, options, Run(steps, options.max_train_epochs, images, plain, started, time.time()))
