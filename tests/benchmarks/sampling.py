"""What a step costs, as a ratio to diffusers' pipeline on the same model: python -m tests.benchmarks.sampling PATH"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionPipeline

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Conditioning, encode
from app.diffusion.device import choose_placement
from app.diffusion.loading import load_checkpoint
from app.diffusion.sampling import sample
from app.errors import CheckpointError
from app.generation.request import GenerationRequest
from app.prompt.emphasis import fragments
from tests.benchmarks.patching import Figure

STEPS = 10
ROUNDS = 7
NOISE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "timestep_spacing": "linspace"}


def sampling_figures(path: Path, device: str = "auto", dtype: str = "auto") -> list[Figure]:
    """Seconds per step of both loops on the SD 1.x or 2.x checkpoint at `path`, and their ratio.

    Raises:
        CheckpointError: it is of another family, whose pipeline takes other arguments.
    """
    checkpoint = load_checkpoint(path, choose_placement(device, dtype))
    if checkpoint.family not in ("sd15", "sd2", "unknown"):
        raise CheckpointError("The loop is compared on SD 1.x and 2.x only.", where=str(path))
    ours, theirs = alternating(_ours(checkpoint), _theirs(checkpoint))
    return [
        Figure("sampling: seconds per step", ours / STEPS, "s"),
        Figure("sampling: seconds per step of diffusers' pipeline", theirs / STEPS, "s"),
        Figure("sampling: our loop / diffusers' pipeline", ours / theirs, "×", 1.03),
    ]


def alternating(*contenders: Callable[[], object]) -> list[float]:
    """The median seconds of each; they take turns, so that a busy machine slows all alike."""
    seconds: list[list[float]] = [[] for _ in contenders]
    for turn in range(ROUNDS + 1):
        for index, contender in enumerate(contenders):
            started = time.perf_counter()
            contender()
            if turn:  # The first is to warm up.
                seconds[index].append(time.perf_counter() - started)
    return [statistics.median(each) for each in seconds]


def _side(checkpoint: Checkpoint) -> int:
    """The model's own width and height in pixels."""
    config: Any = checkpoint.components["unet"].config
    return int(config.sample_size) * checkpoint.vae_factor


def _ours(checkpoint: Checkpoint) -> Callable[[], object]:
    side = _side(checkpoint)
    request = GenerationRequest(seed=1, steps=STEPS, sampler="Euler", schedule_type="Normal", width=side, height=side)
    conditioning = Conditioning(
        ((encode(checkpoint, fragments("a cat")), 1.0),), encode(checkpoint, fragments("a dog"))
    )
    return lambda: _finished(sample(checkpoint, request, lambda step: conditioning).latents)


def _theirs(checkpoint: Checkpoint) -> Callable[[], object]:
    pipeline = StableDiffusionPipeline(
        **{name: checkpoint.components[name] for name in ("unet", "vae", "text_encoder")},
        tokenizer=None,
        scheduler=EulerDiscreteScheduler(**NOISE, prediction_type=checkpoint.prediction),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    side = _side(checkpoint)
    prompt, negative = (encode(checkpoint, fragments(text)).hidden[None] for text in ("a cat", "a dog"))
    arguments = {"prompt_embeds": prompt, "negative_prompt_embeds": negative, "height": side, "width": side}

    def run() -> object:
        noise = torch.Generator("cpu").manual_seed(1)
        made = pipeline(
            **arguments, num_inference_steps=STEPS, guidance_scale=7.0, generator=noise, output_type="latent"
        )
        return _finished(made.images)

    return run


def _finished(latents: torch.Tensor) -> float:
    """Wait for the device: reading a number does."""
    return float(latents.float().sum())


if __name__ == "__main__":
    for figure in sampling_figures(Path(sys.argv[1])):
        print(f"{figure.name:50} {figure.value:9.4f} {figure.unit}")
