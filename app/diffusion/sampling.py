"""The denoising loop: noise to latents, step by step as the user counts them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from app.diffusion.checkpoint import DENOISERS, Checkpoint
from app.diffusion.conditioning import Conditioning
from app.diffusion.denoiser import Denoiser, Side, UNetDenoiser
from app.diffusion.device import memory_errors
from app.diffusion.flow import FlowDenoiser
from app.diffusion.samplers import Run, Start, find_sampler
from app.generation.request import SEED_LIMIT, GenerationRequest

BeforeStep = Callable[[int], Side | None]
"""Told a step; answers what changes the weights between the two prompts, where each has its own."""
AfterStep = Callable[[int, Tensor, Tensor], bool | None]
"""Told a step, the latents after it and the picture as it stood denoised; true stops the loop."""


@dataclass(frozen=True, slots=True)
class Sampled:
    """Latents [images, channels, h, w], float32, and the steps that were made (fewer than asked when stopped)."""

    latents: Tensor
    steps: int


def _nothing_before(step: int) -> None:
    pass


def _nothing_after(step: int, latents: Tensor, denoised: Tensor) -> None:
    pass


@torch.no_grad()
def sample(
    checkpoint: Checkpoint,
    request: GenerationRequest,
    conditioning_at: Callable[[int], Conditioning],
    *,
    before_step: BeforeStep = _nothing_before,
    after_step: AfterStep = _nothing_after,
    start: Start | None = None,
) -> Sampled:
    """The latents of the request's batch: `batch_size` images, image i from seed + i.

    With `start`, the last `start.steps` of the request's steps are made, from its latents; of none, they are the
    result. For each step that is made, counted from 1, once and in order: `before_step`, `conditioning_at`, the
    sampler's evaluations, `after_step`. What `conditioning_at` answers steers the step that begins.

    Raises:
        RequestError: for a size, or a sampler or schedule type, that does not exist or that this model cannot use.
        OutOfMemory: if the device's memory is exhausted.
    """
    device = checkpoint.placement.device
    checkpoint.check_size(request.width, request.height)
    sampler = find_sampler(request.sampler, flow=checkpoint.prediction == "flow")
    kind: type[UNetDenoiser | FlowDenoiser] = UNetDenoiser if checkpoint.transformer is None else FlowDenoiser
    shape = (
        checkpoint.latent_channels,
        request.height // checkpoint.vae_factor,
        request.width // checkpoint.vae_factor,
    )
    seeds = [(request.seed + index) % SEED_LIMIT for index in range(request.batch_size)]
    made = start.steps if start else request.steps
    if start and not made:
        return Sampled(start.latents.float().expand(len(seeds), -1, -1, -1), 0)
    # CPU kernels round by the size of the batch: one image at a time makes each equal to its single run.
    lanes = [[seed] for seed in seeds] if checkpoint.placement.on_cpu else [seeds]
    starts = start.shared(len(lanes)) if start else [None] * len(lanes)
    names = [name for name in DENOISERS if name in checkpoint.components]
    with checkpoint.at_work(*names), memory_errors(checkpoint.placement, "sampling"):
        denoiser: Denoiser = kind(checkpoint, request.cfg_scale, (request.height, request.width))
        # A scheduler counts its own steps, so each lane has one.
        schedulers = [denoiser.scheduler(sampler, request.schedule_type, request.steps) for _ in lanes]
        started = [Run(sampler, own, denoiser.level, lane) for own, lane in zip(schedulers, lanes, strict=True)]
        runs = [run.steps(denoiser, shape, device, own) for run, own in zip(started, starts, strict=True)]
        for step in range(1, made + 1):
            side = before_step(step)
            denoiser.condition(conditioning_at(step), side)
            results = [next(run) for run in runs]
            latents, denoised = (torch.cat(parts) for parts in zip(*results, strict=True))
            if after_step(step, latents, denoised):
                return Sampled(latents, step)
    return Sampled(latents, made)
