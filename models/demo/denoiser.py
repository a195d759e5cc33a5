"""The third stage: the denoiser, trained on latents that were made once, with captions that were not."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextModel, CLIPTokenizer

from .autoencoder import encode, to_tensor
from .captions import tokenize
from .pictures import Mix, Painter, random_caption, random_scene
from .training import Schedule, Trainer
from .words import Scene

# What Stable Diffusion 1.x was trained with, so that every sampler made for it fits.
NOISE = {
    "num_train_timesteps": 1000,
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "epsilon",
    "steps_offset": 1,
}
CAPTION_DROPOUT = 0.1
HEAVIEST = 60.0  # limits the weight of the noisiest steps


@dataclass(frozen=True)
class Pool:
    """Pictures as scaled latents, and what each shows."""

    latents: Tensor
    scenes: list[Scene]


def build_denoiser(latent_side: int, channels: tuple[int, int, int, int], text_width: int) -> UNet2DConditionModel:
    """An untrained denoiser with the blocks, and so the module names, of Stable Diffusion 1.x."""
    unet = UNet2DConditionModel(
        sample_size=latent_side,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        block_out_channels=channels,
        layers_per_block=2,
        cross_attention_dim=text_width,
        attention_head_dim=4,  # the number of heads, in spite of its name, as in Stable Diffusion 1.x
        norm_num_groups=8,
    )
    # Every residual branch starts silent: the untrained model passes its input on, and learns faster from there.
    for name, module in unet.named_modules():
        if name.endswith(("conv2", "proj_out", "conv_out")):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
    return unet


def build_pool(vae: AutoencoderKL, painter: Painter, mix: Mix, number: int, seed: int, device: torch.device) -> Pool:
    """Draw and encode the training set."""
    rng = np.random.default_rng(seed)
    scenes = [random_scene(mix, rng) for _ in range(number)]
    vae.to(device).eval()
    parts = [
        encode(vae, to_tensor([painter.draw(scene, rng) for scene in scenes[first : first + 64]]).to(device)).cpu()
        for first in range(0, number, 64)
    ]
    return Pool(torch.cat(parts) * vae.config.scaling_factor, scenes)


def train_denoiser(
    unet: UNet2DConditionModel,
    text: CLIPTextModel,
    tokenizer: CLIPTokenizer,
    pool: Pool,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> UNet2DConditionModel:
    """Train the denoiser to follow captions; the text encoder stays as it is."""
    trainer = Trainer("denoiser", unet, schedule, folder, seed)
    criterion = NoiseLoss(trainer.device)
    text.to(trainer.device).eval().requires_grad_(False)
    unet.train()

    def loss(rng: np.random.Generator) -> Tensor:
        chosen = rng.integers(len(pool.scenes), size=schedule.batch)
        captions = [
            "" if rng.random() < CAPTION_DROPOUT else random_caption(pool.scenes[index], rng) for index in chosen
        ]
        with torch.no_grad():
            states = text(tokenize(tokenizer, captions).to(trainer.device)).last_hidden_state
        latents = pool.latents[torch.from_numpy(chosen)].to(trainer.device)
        return criterion(unet, latents, states, rng)

    trainer.run(loss)
    trainer.averaged()
    return unet


class NoiseLoss:
    """How badly a denoiser guesses the noise in latents."""

    def __init__(self, device: torch.device) -> None:
        self.scheduler = DDPMScheduler(**NOISE)
        self.signal = self.scheduler.alphas_cumprod.to(device)

    def __call__(self, unet: UNet2DConditionModel, latents: Tensor, states: Tensor, rng: np.random.Generator) -> Tensor:
        """The loss at random times, drawn from ``rng``."""
        times = torch.from_numpy(noisy_times(rng, len(latents))).to(latents.device)
        noise = torch.randn_like(latents)
        guess = unet(self.scheduler.add_noise(latents, noise, times), times, states).sample
        # An error in the noise counts for little where there is hardly any picture left, yet that is where the
        # caption decides everything. This weight makes it the error of the velocity, even over all times.
        weight = (1 / self.signal[times]).clamp(max=HEAVIEST)
        return (weight * (guess - noise).square().mean(dim=(1, 2, 3))).mean()


def noisy_times(rng: np.random.Generator, number: int) -> np.ndarray:
    """Half of the times evenly, half from the noisy end, where the composition is decided."""
    return np.where(rng.random(number) < 0.5, rng.integers(0, 1000, number), rng.integers(500, 1000, number))
