"""The first stage: an autoencoder that keeps a picture in a quarter of its side."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image, ImageFilter
from torch import Tensor, nn

from .pictures import Mix, Painter, random_scene
from .training import Schedule, Trainer

DIVERGENCE_WEIGHT = 3e-4
EDGE_WEIGHT = 0.5
OBJECT_WEIGHT = 4.0


def build_autoencoder(side: int, channels: tuple[int, ...], layers: int = 1) -> AutoencoderKL:
    """An untrained autoencoder; each channel count after the first halves the picture.

    With more layers it has the same weights and some more, which do nothing yet.
    """
    model = AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=layers,
        latent_channels=4,
        norm_num_groups=8,
        sample_size=side,
    )
    # Silent residual branches and nearly noiseless latents: what is to be learnt first is to pass the picture on.
    for name, module in model.named_modules():
        if name.endswith(("conv2", "to_out.0")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    nn.init.constant_(model.quant_conv.bias[4:], -5.0)
    return model


def with_larger_decoder(model: AutoencoderKL) -> AutoencoderKL:
    """The same autoencoder with another layer in each block of its decoder, which does nothing until it is trained.

    Latents mean the same to both, so either may be chosen for what one denoiser makes.
    """
    config = model.config
    larger = build_autoencoder(config.sample_size, tuple(config.block_out_channels), config.layers_per_block + 1)
    larger.load_state_dict(model.state_dict(), strict=False)
    larger.register_to_config(scaling_factor=config.scaling_factor)
    return larger


def to_tensor(pictures: list[Image.Image]) -> Tensor:
    """Pictures as a batch in -1…1."""
    return (
        torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).float() / 127.5
        - 1
    )


def restyle(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Sometimes another drawing style, so that networks can later teach styles the autoencoder is able to show."""
    kind = rng.random()
    if kind < 0.08:
        small = picture.resize((picture.width // 4, picture.height // 4), Image.Resampling.BOX)
        return small.resize(picture.size, Image.Resampling.NEAREST)
    if kind < 0.16:
        return picture.filter(ImageFilter.CONTOUR)
    return picture.convert("L").convert("RGB") if kind < 0.2 else picture


def train_autoencoder(
    model: AutoencoderKL, painter: Painter, mix: Mix, schedule: Schedule, folder: Path, seed: int
) -> AutoencoderKL:
    """Train on fresh renders of every noun; sets ``scaling_factor`` so that scaled latents have unit deviation."""
    trainer = Trainer("autoencoder", model, schedule, folder, seed)

    def loss(rng: np.random.Generator) -> Tensor:
        pictures = [restyle(painter.draw(random_scene(mix, rng), rng), rng) for _ in range(schedule.batch)]
        images = to_tensor(pictures).to(trainer.device)
        posterior = model.encode(images).latent_dist
        output = model.decode(posterior.sample()).sample
        divergence = posterior.kl().float().mean() / posterior.mean[0].numel()
        return difference(output, images) + DIVERGENCE_WEIGHT * divergence

    trainer.run(loss)
    trainer.averaged()
    images = [painter.draw(random_scene(mix, rng), rng) for rng in [np.random.default_rng(seed)] for _ in range(256)]
    latents = encode(model, to_tensor(images).to(trainer.device))
    model.register_to_config(scaling_factor=round(1 / latents.std().item(), 5))
    return model


def polish_decoder(
    model: AutoencoderKL, painter: Painter, mix: Mix, schedule: Schedule, folder: Path, seed: int
) -> None:
    """Train the decoder alone a while longer, for colour: the latents, and a denoiser that knows them, stay valid."""
    decoder = nn.ModuleList([model.post_quant_conv, model.decoder])
    trainer = Trainer("decoder", decoder, schedule, folder, seed)
    model.to(trainer.device)

    def loss(rng: np.random.Generator) -> Tensor:
        pictures = [restyle(painter.draw(random_scene(mix, rng), rng), rng) for _ in range(schedule.batch)]
        images = to_tensor(pictures).to(trainer.device)
        with torch.no_grad():
            latents = model.encode(images).latent_dist.sample()
        return difference(model.decode(latents).sample, images, edge_weight=0.1)

    trainer.run(loss)
    trainer.averaged()


def difference(output: Tensor, images: Tensor, edge_weight: float = EDGE_WEIGHT) -> Tensor:
    """How far the output is from the images; objects count for more than flat backgrounds, which are easy."""
    object_here = ((images - images[:, :, :1, :1]).abs().amax(dim=1, keepdim=True) > 0.1).float()
    weight = 1 + OBJECT_WEIGHT * object_here
    error = output.float() - images
    edges = sum((error.diff(dim=axis).abs() * weight.narrow(axis, 1, weight.shape[axis] - 1)).mean() for axis in (2, 3))
    return (weight * (error.abs() + error.square())).mean() + edge_weight * edges


@torch.no_grad()
def encode(model: AutoencoderKL, images: Tensor, batch: int = 64) -> Tensor:
    """The mean latents of the images, unscaled."""
    return torch.cat([model.encode(part).latent_dist.mean for part in images.split(batch)])
