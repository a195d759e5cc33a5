"""The whole recipe: sizes and lengths of each stage, and the order in which they run."""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline

from .autoencoder import build_autoencoder, polish_decoder, train_autoencoder, with_larger_decoder
from .captions import build_text_encoder, train_text_encoder
from .denoiser import build_denoiser, build_pool, train_denoiser
from .evaluation import Adherence, contact_sheet, judged_scenes, measure, train_judge, write_report
from .export import assemble
from .pictures import Mix, Painter
from .tokens import build_tokenizer
from .training import Schedule
from .words import vocabulary

log = logging.getLogger("models.demo")


@dataclass(frozen=True)
class Lesson:
    """A part of the denoiser's training: what its pictures show, how many there are, and how long it lasts."""

    mix: Mix
    pool: int
    schedule: Schedule


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the weights."""

    side: int
    seed: int
    picture_mix: Mix
    caption_mix: Mix
    autoencoder_channels: tuple[int, ...]
    text_width: int
    text_layers: int
    denoiser_channels: tuple[int, int, int, int]
    autoencoder: Schedule
    decoder: Schedule
    sharp_decoder: Schedule
    captions: Schedule
    denoiser: tuple[Lesson, ...]  # few nouns first, then all
    judge: Schedule
    judged: int


SHIPPED = Recipe(
    side=64,
    seed=1,
    picture_mix=Mix(),
    caption_mix=Mix(counts=0.25, places=0.2, pairs=0.25, sizes=0.66),
    autoencoder_channels=(32, 64, 96),
    text_width=128,
    text_layers=3,
    denoiser_channels=(48, 96, 144, 192),
    autoencoder=Schedule(steps=5600, batch=16, learning_rate=8e-4, averaging=0.99, precision="bf16"),
    decoder=Schedule(steps=900, batch=16, learning_rate=5e-4, averaging=0.99),
    sharp_decoder=Schedule(steps=900, batch=16, learning_rate=8e-4, averaging=0.99, decay=0.7, precision="bf16"),
    captions=Schedule(steps=800, batch=128, learning_rate=1e-3, averaging=0.99),
    denoiser=(
        Lesson(
            Mix(nouns=32, counts=0.22, places=0.07, pairs=0.04, sizes=0.4),
            pool=10_000,
            schedule=Schedule(steps=3600, batch=32, learning_rate=1e-3, warm_up=60, decay=0.75),
        ),
        Lesson(
            Mix(counts=0.2, places=0.1, pairs=0.12, sizes=0.4),
            pool=24_000,
            schedule=Schedule(steps=4000, batch=32, learning_rate=1e-3, warm_up=60, decay=0.6),
        ),
    ),
    judge=Schedule(steps=1500, batch=64, learning_rate=1e-3),
    judged=200,
)


# What the model is judged by: captions of every kind, none of which any stage has seen.
JUDGED = Mix(counts=0.25, places=0.15, pairs=0.15, held_out=True)


@dataclass(frozen=True)
class Workshop:
    """Runs a recipe in a folder. A stage that was stopped goes on where it was; one that is done is not repeated."""

    recipe: Recipe
    font: Path
    folder: Path

    @property
    def painter(self) -> Painter:
        """What draws the pictures."""
        return Painter(self.font, self.recipe.side)

    def train(self) -> StableDiffusionPipeline:
        """All stages, and the pipeline they make."""
        recipe = self.recipe
        self.folder.mkdir(parents=True, exist_ok=True)
        torch.manual_seed(recipe.seed)
        tokenizer = build_tokenizer(vocabulary(), self.folder / "tokenizer")
        vae = train_autoencoder(
            build_autoencoder(recipe.side, recipe.autoencoder_channels),
            self.painter, recipe.picture_mix, recipe.autoencoder, self.folder, recipe.seed,
        )  # fmt: skip
        polish_decoder(vae, self.painter, recipe.picture_mix, recipe.decoder, self.folder, recipe.seed)
        text = train_text_encoder(
            build_text_encoder(tokenizer, recipe.text_width, recipe.text_layers), tokenizer,
            self.painter, recipe.caption_mix, recipe.captions, self.folder, recipe.seed,
        )  # fmt: skip
        latent_side = recipe.side >> (len(recipe.autoencoder_channels) - 1)
        unet = build_denoiser(latent_side, recipe.denoiser_channels, recipe.text_width)
        for number, lesson in enumerate(recipe.denoiser, start=1):
            pool = build_pool(vae, self.painter, lesson.mix, lesson.pool, recipe.seed + number, vae.device)
            stage = self.folder / f"lesson-{number}"
            train_denoiser(unet, text, tokenizer, pool, lesson.schedule, stage, recipe.seed)
        return assemble(unet, vae, text, tokenizer)

    def sharpen(self, vae: AutoencoderKL) -> AutoencoderKL:
        """A second autoencoder for the same latents, whose larger decoder is trained on."""
        recipe = self.recipe
        torch.manual_seed(recipe.seed)
        sharp = with_larger_decoder(vae.float())
        folder = self.folder / "sharp"
        polish_decoder(sharp, self.painter, recipe.picture_mix, recipe.sharp_decoder, folder, recipe.seed)
        return sharp

    def evaluate(self, pipeline: StableDiffusionPipeline) -> Adherence:
        """Judge the pipeline; writes the report and a contact sheet into the folder."""
        mix = Mix(counts=0.3, places=0.2, pairs=0.2, sizes=0.66)
        judge = train_judge(self.painter, mix, self.recipe.judge, self.folder, 7)
        scenes = judged_scenes(JUDGED, self.recipe.judged, seed=1234)
        adherence, pictures = measure(pipeline, judge, scenes)
        write_report(adherence, self.folder)
        contact_sheet(pictures).save(self.folder / "contact-sheet.png")
        log.info("adherence: %s", adherence)
        return adherence


def tiny() -> Recipe:
    """A recipe of seconds: every stage runs, nothing is learnt."""
    short = Schedule(steps=2, batch=4, learning_rate=1e-3, warm_up=1)
    return replace(
        SHIPPED,
        side=32,
        autoencoder_channels=(8, 8, 8),
        text_width=32,
        text_layers=1,
        denoiser_channels=(8, 8, 16, 16),
        autoencoder=short,
        decoder=short,
        sharp_decoder=short,
        captions=short,
        denoiser=tuple(replace(lesson, pool=8, schedule=short) for lesson in SHIPPED.denoiser),
        judge=short,
        judged=4,
    )
