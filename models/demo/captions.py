"""The second stage: a text encoder that learns, against the pictures, which captions mean different things."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from .autoencoder import to_tensor
from .pictures import Mix, Painter, random_scene
from .tokens import CONTEXT
from .training import Schedule, Trainer
from .words import NOUNS, Scene, caption, held_out

NOUNS_A_BATCH, COLOURS_A_BATCH = 10, 5  # few, so that counts, sizes and places have to be told apart as well


def build_text_encoder(tokenizer: CLIPTokenizer, width: int, layers: int) -> CLIPTextModel:
    """An untrained text encoder for the tokenizer's vocabulary."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=width,
            intermediate_size=width * 3,
            projection_dim=width,
            num_hidden_layers=layers,
            num_attention_heads=max(1, width // 32),
            max_position_embeddings=CONTEXT,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def tokenize(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """Token ids, padded as pipelines pad them."""
    padded = tokenizer(captions, padding="max_length", max_length=CONTEXT, truncation=True, return_tensors="pt")
    return padded.input_ids


class Matcher(nn.Module):
    """A text encoder beside a small picture encoder, both ending in the same space. Only the first is kept."""

    def __init__(self, text: CLIPTextModel) -> None:
        super().__init__()
        width = text.config.hidden_size
        self.text = text
        self.text_head = nn.Linear(width, width, bias=False)
        channels = (3, 32, 64, 96)
        convolutions = [
            layer
            for before, after in pairwise(channels)
            for layer in (nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.SiLU())
        ]
        self.picture = nn.Sequential(nn.AdaptiveAvgPool2d(32), *convolutions, nn.Flatten(), nn.Linear(96 * 16, width))
        self.scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, tokens: Tensor, images: Tensor) -> Tensor:
        """How well each caption fits each picture."""
        states = self.text(tokens).last_hidden_state
        # Any padding position may be asked for the meaning of the whole, since the denoiser looks at all of them.
        ends = (tokens == self.text.config.eos_token_id).int().argmax(dim=1)
        room = tokens.shape[1] - ends
        spots = ends + (torch.rand(len(tokens), device=tokens.device) ** 2 * room).long()
        meaning = self.text_head(states[torch.arange(len(tokens)), spots])
        sight = self.picture(images)
        return self.scale.exp() * F.normalize(meaning, dim=-1) @ F.normalize(sight, dim=-1).T


def contrast(scores: Tensor, scenes: list[Scene]) -> Tensor:
    """The symmetric contrastive loss; pictures of equal scenes are not held against each other."""
    numbers = {scene: number for number, scene in enumerate(dict.fromkeys(scenes))}
    keys = torch.tensor([numbers[scene] for scene in scenes], device=scores.device)
    twins = (keys[:, None] == keys[None, :]) & ~torch.eye(len(scenes), dtype=torch.bool, device=scores.device)
    scores = scores.masked_fill(twins, -1e4)
    targets = torch.arange(len(scenes), device=scores.device)
    return (F.cross_entropy(scores, targets) + F.cross_entropy(scores.T, targets)) / 2


def train_text_encoder(
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    painter: Painter,
    mix: Mix,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> CLIPTextModel:
    """Train the text encoder to tell apart pictures that differ in one word."""
    matcher = Matcher(text)
    trainer = Trainer("captions", matcher, schedule, folder, seed)

    def loss(rng: np.random.Generator) -> Tensor:
        scenes = _similar_scenes(mix, schedule.batch, rng)
        captions = [caption(scene, int(rng.integers(3))) for scene in scenes]
        images = to_tensor([painter.draw(scene, rng) for scene in scenes])
        return contrast(matcher(tokenize(tokenizer, captions).to(trainer.device), images.to(trainer.device)), scenes)

    trainer.run(loss)
    trainer.averaged()
    return text


def _similar_scenes(mix: Mix, number: int, rng: np.random.Generator) -> list[Scene]:
    nouns = rng.choice(NOUNS[: mix.nouns], min(NOUNS_A_BATCH, mix.nouns), replace=False)
    scenes = []
    colours = rng.choice(mix.palette, min(COLOURS_A_BATCH, mix.colours), replace=False)
    while len(scenes) < number:
        scene = random_scene(mix, rng)
        noun, partner = (str(word) for word in rng.choice(nouns, 2, replace=False))
        alike = replace(scene, noun=noun, partner=scene.partner and partner, colour=str(rng.choice(colours)))
        if not held_out(alike):
            scenes.append(alike)
    return scenes
