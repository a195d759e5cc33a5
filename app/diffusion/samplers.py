"""Samplers: diffusers' schedulers under the names that users know, made to follow the steps that users count.

A scheduler counts evaluations of the model: second-order ones have two for each step but the last. `Run` groups them,
so that whatever its caller does between two `next()` calls (new weights, new conditioning) falls between two steps.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import diffusers
import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

from app.diffusion.noise import training
from app.errors import RequestError

Denoise = Callable[[Tensor, float], Tensor]
"""The denoised latents, from noisy ones x₀ + σ·n (on a flow's path: (1 − σ)·x₀ + σ·n) and their level σ."""
Level = Callable[[float], float]
"""The level σ of a scheduler's timestep."""

AUTOMATIC = "Automatic"
SCHEDULE_TYPES: Mapping[str, Mapping[str, Any]] = {
    "Normal": {"timestep_spacing": "linspace"},
    "Uniform": {"timestep_spacing": "linspace"},
    "Karras": {"timestep_spacing": "linspace", "use_karras_sigmas": True},
    "Exponential": {"timestep_spacing": "linspace", "use_exponential_sigmas": True},
    "Beta": {"timestep_spacing": "linspace", "use_beta_sigmas": True},
    "SGM Uniform": {"timestep_spacing": "trailing"},
}
"""The schedule types as diffusers' schedulers know them. Not every scheduler knows each."""
LCM_STEPS = 50
"""The steps that LCMs were distilled from; a run of more takes as many."""


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler as the web UIs name it.

    `automatic` is the schedule type that it is best with. `evaluations` is how often it runs the model in a step (once
    in the last). `preserving`: the scheduler keeps latents in the scale of x/√(σ²+1). `straight`: it samples a flow.
    """

    name: str
    scheduler: Any
    options: Mapping[str, Any] = field(default_factory=dict)
    automatic: str = "Normal"
    evaluations: int = 1
    preserving: bool = False
    straight: bool = False

    def knows(self, schedule_type: str) -> bool:
        """Whether its scheduler has the switches of a schedule type; Euler a takes its levels from Euler."""
        wanted = {switch for switch in SCHEDULE_TYPES[schedule_type] if switch != "timestep_spacing"}
        return wanted <= set(inspect.signature(self._leveller.__init__).parameters)

    @property
    def _leveller(self) -> Any:
        return diffusers.EulerDiscreteScheduler if self.name == "Euler a" else self.scheduler

    def prepared(self, config: Mapping[str, Any], schedule_type: str, steps: int) -> Any:
        """A scheduler for one run over `steps` steps, for a model trained as `config` says.

        Raises:
            RequestError: for a schedule type that does not exist, or that this sampler does not know.
        """
        switches = dict(SCHEDULE_TYPES[self._known(config, schedule_type)])
        if steps == 1:
            switches["timestep_spacing"] = "trailing"  # An even spacing of one step would begin at its clean end.
        scheduler = self._made(self.scheduler, config, switches)
        if self.name == "LCM":
            scheduler.set_timesteps(steps, original_inference_steps=max(LCM_STEPS, steps))
        else:
            scheduler.set_timesteps(steps)
        if self._leveller is not self.scheduler:
            leveller = self._made(self._leveller, config, switches)
            leveller.set_timesteps(steps)
            scheduler.sigmas, scheduler.timesteps = leveller.sigmas, leveller.timesteps
        return scheduler

    def _made(self, kind: Any, config: Mapping[str, Any], switches: Mapping[str, Any]) -> Any:
        taken = inspect.signature(kind.__init__).parameters
        wanted = {**training(config, kind), **self.options, **switches, "prediction_type": "epsilon"}
        return kind(**{name: value for name, value in wanted.items() if name in taken})

    def _known(self, config: Mapping[str, Any], schedule_type: str) -> str:
        able = [name for name in SCHEDULE_TYPES if self.knows(name)]
        if schedule_type == AUTOMATIC:
            # Distilled models say so; away from the levels they were distilled at they only blur.
            return "SGM Uniform" if config.get("timestep_spacing") == "trailing" else self.automatic
        if schedule_type not in SCHEDULE_TYPES:
            hint = f"Use {', '.join((AUTOMATIC, *SCHEDULE_TYPES))}."
            raise RequestError(f"No schedule type is named {schedule_type!r}.", where="schedule_type", hint=hint)
        if schedule_type not in able:
            hint = f"Use {', '.join((AUTOMATIC, *able))}."
            raise RequestError(f"{self.name} has no {schedule_type} schedule.", where="schedule_type", hint=hint)
        return schedule_type


@dataclass(frozen=True, slots=True)
class Start:
    """Clean latents [1 or images, channels, h, w] that a run begins with, and how many of its last steps it makes."""

    latents: Tensor
    steps: int

    def shared(self, lanes: int) -> list[Start]:
        """The starts of so many lanes: each has its images' own latents, where these are not of one picture."""
        parts = self.latents.chunk(lanes) if len(self.latents) > 1 else [self.latents] * lanes
        return [Start(part, self.steps) for part in parts]


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a prepared scheduler over images that share a batch, each with noise from its own seed."""

    sampler: Sampler
    scheduler: Any
    level: Level
    seeds: Sequence[int]

    def steps(
        self, denoise: Denoise, shape: Sequence[int], device: torch.device, start: Start | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """After each step: the latents [images, *shape] in the scheduler's scale, and what the model made of them.

        With `start`, the run makes its last `start.steps` steps, at least one, from its latents with noise added.
        """
        # Drawn on the CPU in float32: every device, and every batch an image is part of, gives the same picture.
        generators = [torch.Generator("cpu").manual_seed(seed) for seed in self.seeds]
        size = (len(self.seeds), *shape)
        noise = randn_tensor(size, generator=generators, device=device, dtype=torch.float32)
        timesteps = list(self.scheduler.timesteps)
        begin = 0
        if start is None:
            x = noise * float(getattr(self.scheduler, "init_noise_sigma", 1.0))
        else:
            evaluations = self.sampler.evaluations
            begin = (-(-len(timesteps) // evaluations) - start.steps) * evaluations
            x = self._noised(start.latents.to(device, torch.float32), noise, self.level(float(timesteps[begin])))
        self.scheduler.set_begin_index(begin)
        takes_noise = "generator" in inspect.signature(self.scheduler.step).parameters
        extra = {"generator": generators} if takes_noise else {}
        if hasattr(self.scheduler, "noise_sampler_seed"):
            self.scheduler.noise_sampler_seed = list(self.seeds)
        for first in range(begin, len(timesteps), self.sampler.evaluations):
            for timestep in timesteps[first : first + self.sampler.evaluations]:
                x, denoised = self._evaluated(denoise, x, timestep, extra)
            yield x, denoised

    def _noised(self, clean: Tensor, noise: Tensor, sigma: float) -> Tensor:
        """Latents of level σ in the scheduler's scale."""
        if self.sampler.straight:
            return (1 - sigma) * clean + sigma * noise
        noisy = clean + sigma * noise
        return noisy / math.sqrt(sigma**2 + 1) if self.sampler.preserving else noisy

    def _evaluated(
        self, denoise: Denoise, x: Tensor, timestep: Tensor, extra: Mapping[str, Any]
    ) -> tuple[Tensor, Tensor]:
        sigma = self.level(float(timestep))
        if hasattr(self.scheduler, "scale_model_input"):
            self.scheduler.scale_model_input(x, timestep)  # Some schedulers find their place in here.
        noisy = x * math.sqrt(sigma**2 + 1) if self.sampler.preserving else x
        denoised = denoise(noisy, sigma)
        after: Tensor = self.scheduler.step((noisy - denoised) / sigma, timestep, x, **extra, return_dict=False)[0]
        return after, denoised


MULTISTEP = diffusers.DPMSolverMultistepScheduler
SAMPLERS: Mapping[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("Euler", diffusers.EulerDiscreteScheduler),
        Sampler("Euler a", diffusers.EulerAncestralDiscreteScheduler),
        Sampler("DPM++ 2M", MULTISTEP, {}, "Karras", preserving=True),
        Sampler("DPM++ SDE", diffusers.DPMSolverSDEScheduler, {}, "Karras", evaluations=2),
        Sampler("DPM++ 2M SDE", MULTISTEP, {"algorithm_type": "sde-dpmsolver++"}, "Exponential", preserving=True),
        Sampler("Heun", diffusers.HeunDiscreteScheduler, evaluations=2),
        Sampler("DPM2", diffusers.KDPM2DiscreteScheduler, {}, "Karras", evaluations=2),
        Sampler("DPM2 a", diffusers.KDPM2AncestralDiscreteScheduler, {}, "Karras", evaluations=2),
        # DDIM is DPM-Solver of order 1 (Lu et al. 2022, section 4.1); this scheduler knows every schedule type.
        Sampler("DDIM", MULTISTEP, {"solver_order": 1}, preserving=True),
        Sampler("UniPC", diffusers.UniPCMultistepScheduler, {"final_sigmas_type": "zero"}, preserving=True),
        Sampler("LCM", diffusers.LCMScheduler, preserving=True),
    )
}
FLOW_SAMPLERS: Mapping[str, Sampler] = {
    "Euler": Sampler("Euler", diffusers.FlowMatchEulerDiscreteScheduler, straight=True),
}
"""What samples the straight paths of flow models."""


def find_sampler(name: str, *, flow: bool = False) -> Sampler:
    """The sampler of that name.

    Raises:
        RequestError: if there is none, or it cannot sample a flow model; it names those that can.
    """
    able = FLOW_SAMPLERS if flow else SAMPLERS
    if name not in SAMPLERS:
        raise RequestError(f"No sampler is named {name!r}.", where="sampler", hint=f"Use {', '.join(able)}.")
    if name not in able:
        raise RequestError(f"{name} does not sample flow models.", where="sampler", hint=f"Use {' or '.join(able)}.")
    return able[name]
