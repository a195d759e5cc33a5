"""Samplers: one generator per published algorithm, one `next()` per step that the user counts.

A sampler takes the model, the noisy latents x, the levels σ of its steps (the last is 0) and a source of noise, and
yields (x, denoised) after each step. However often it evaluates the model inside a step, whatever the caller does
between two `next()` calls (new weights, new conditioning) falls between two steps.

λ = −log σ and h is a step in λ, as in the papers on DPM-Solver.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor

from app.errors import RequestError

Model = Callable[[Tensor, float], Tensor]
"""The denoised latents, from noisy ones and their level."""
Noise = Callable[[], Tensor]
Steps = Iterator[tuple[Tensor, Tensor]]


def euler(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Euler's method: Algorithm 2 of Karras et al. (2022) without churn; also DDIM at η = 0 (its equation 14)."""
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        x = x + (x - denoised) * ((target - sigma) / sigma)
        yield x, denoised


def euler_ancestral(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Euler's method to a lower level, and fresh noise back up."""
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        down, up = _ancestral(sigma, target)
        x = x + (x - denoised) * ((down - sigma) / sigma)
        if up > 0:
            x = x + up * noise()
        yield x, denoised


def heun(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Algorithm 1 of Karras et al. (2022): Euler's step, corrected by the slope at its end."""
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        slope = (x - denoised) / sigma
        ahead = x + slope * (target - sigma)
        if target > 0:
            denoised = model(ahead, target)
            slope = (slope + (ahead - denoised) / target) / 2
        x = x + slope * (target - sigma)
        yield x, denoised


def dpm_2(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-2 (Lu et al. 2022): the slope at the geometric middle of the step."""
    for sigma, target in pairwise(sigmas):
        x, denoised = _midpoint(model, x, sigma, target)
        yield x, denoised


def dpm_2_ancestral(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver-2 to a lower level, and fresh noise back up."""
    for sigma, target in pairwise(sigmas):
        down, up = _ancestral(sigma, target)
        x, denoised = _midpoint(model, x, sigma, down)
        if up > 0:
            x = x + up * noise()
        yield x, denoised


def dpmpp_2m(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """DPM-Solver++(2M), Algorithm 2 of Lu et al. (2022, arXiv:2211.01095)."""
    before: tuple[Tensor, float] | None = None
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        if target == 0:
            x = denoised
        else:
            h = math.log(sigma / target)
            estimate = denoised
            if before is not None:
                last, h_last = before
                estimate = denoised + (denoised - last) * (h / (2 * h_last))
            x = (target / sigma) * x - math.expm1(-h) * estimate
            before = denoised, h
        yield x, denoised


def dpmpp_2m_sde(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """SDE-DPM-Solver++(2M) at η = 1, by the midpoint rule (arXiv:2211.01095, section 5)."""
    before: tuple[Tensor, float] | None = None
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        if target == 0:
            x = denoised
        else:
            h = math.log(sigma / target)
            x = (target / sigma) * math.exp(-h) * x - math.expm1(-2 * h) * denoised
            if before is not None:
                last, h_last = before
                x = x - math.expm1(-2 * h) * (h / (2 * h_last)) * (denoised - last)
            x = x + target * math.sqrt(-math.expm1(-2 * h)) * noise()
            before = denoised, h
        yield x, denoised


def dpmpp_sde(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """SDE-DPM-Solver++ with its second evaluation at the middle of the step in λ, at η = 1."""
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        if target == 0:
            x = denoised
        else:
            middle = math.sqrt(sigma * target)
            down, up = _ancestral(sigma, middle)
            first, second = noise(), noise()
            between = (down / sigma) * x + (1 - down / sigma) * denoised + up * first
            denoised = model(between, middle)
            down, up = _ancestral(sigma, target)
            # Both noises are one Brownian path's, over [target, middle] and [middle, sigma] of σ.
            share = (sigma - middle) / (sigma - target)
            path = math.sqrt(share) * first + math.sqrt(1 - share) * second
            x = (down / sigma) * x + (1 - down / sigma) * denoised + up * path
        yield x, denoised


def unipc(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """UniPC of order 2 with B(h) = eʰ − 1, predicting x₀ (Zhao et al. 2023, arXiv:2302.04867)."""
    history: list[tuple[float, Tensor]] = []
    start = x
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        if history:
            x = _unic(start, sigma, denoised, history)
        start = x
        history = [*history[-1:], (sigma, denoised)]
        x = denoised if target == 0 else _unip(x, target, history)
        yield x, denoised


def lcm(model: Model, x: Tensor, sigmas: Sequence[float], noise: Noise) -> Steps:
    """Multistep consistency sampling (Luo et al. 2023, arXiv:2310.04378, Algorithm 3).

    Its boundary scalings c_skip and c_out are 0 and 1 to six digits at every level but the last, and are left out.
    """
    for sigma, target in pairwise(sigmas):
        denoised = model(x, sigma)
        x = denoised + target * noise() if target > 0 else denoised
        yield x, denoised


def _ancestral(sigma: float, target: float) -> tuple[float, float]:
    """The level to step down to and the noise to add, so that the variance ends at target²."""
    up = min(target, target * math.sqrt(max(sigma**2 - target**2, 0)) / sigma)
    return math.sqrt(max(target**2 - up**2, 0)), up


def _midpoint(model: Model, x: Tensor, sigma: float, target: float) -> tuple[Tensor, Tensor]:
    denoised = model(x, sigma)
    slope = (x - denoised) / sigma
    if target > 0:
        middle = math.sqrt(sigma * target)
        between = x + slope * (middle - sigma)
        denoised = model(between, middle)
        slope = (between - denoised) / middle
    return x + slope * (target - sigma), denoised


def _unip(x: Tensor, target: float, history: Sequence[tuple[float, Tensor]]) -> Tensor:
    """UniP: from the newest level of the history to the target, by the two newest estimates where there are two."""
    sigma, newest = history[-1]
    h = math.log(sigma / target)
    step = -math.expm1(-h)
    x = (target / sigma) * x + step * newest
    if len(history) > 1:
        earlier, older = history[-2]
        ratio = math.log(sigma / earlier) / h  # (λ of the older estimate − λ now) / h, below 0
        x = x + step * 0.5 * (older - newest) / ratio
    return x


def _unic(start: Tensor, sigma: float, here: Tensor, history: Sequence[tuple[float, Tensor]]) -> Tensor:
    """UniC: the step that led to level sigma again, from its start, now that the estimate there is known."""
    before, newest = history[-1]
    h = math.log(before / sigma)
    step = -math.expm1(-h)
    base = (sigma / before) * start + step * newest
    change = here - newest
    if len(history) == 1:
        return base + step * 0.5 * change
    earlier, older = history[-2]
    ratio = math.log(before / earlier) / h
    # The two weights ρ solve Σ ρₖ = b₁, Σ rₖ ρₖ = b₂ (equation 5 there, with r = (ratio, 1) and hh = −h).
    phi_2 = math.expm1(-h) / -h - 1
    b_1 = phi_2 / math.expm1(-h)
    b_2 = 2 * (phi_2 / -h - 0.5) / math.expm1(-h)
    rho_older = (b_1 - b_2) / (1 - ratio)
    rho_here = b_1 - rho_older
    return base + step * (rho_older * (older - newest) / ratio + rho_here * change)


@dataclass(frozen=True, slots=True)
class Sampler:
    """A sampler as the web UIs name it. `evaluations` is how often it runs the model in a step (less in the last)."""

    name: str
    steps: Callable[[Model, Tensor, Sequence[float], Noise], Steps]
    schedule: str
    """What "Automatic" means for it."""
    evaluations: int = 1
    flow: bool = False
    """Whether it solves the straight paths of flow models too: it does not use λ or add noise."""
    skips_next_to_last: bool = False
    """Whether the cleanest level but 0 is left out of its schedule, as the web UIs do for it."""


SAMPLERS: Mapping[str, Sampler] = {
    sampler.name: sampler
    for sampler in (
        Sampler("Euler", euler, "Normal", flow=True),
        Sampler("Euler a", euler_ancestral, "Normal"),
        Sampler("DPM++ 2M", dpmpp_2m, "Karras"),
        Sampler("DPM++ SDE", dpmpp_sde, "Karras", evaluations=2),
        Sampler("DPM++ 2M SDE", dpmpp_2m_sde, "Exponential"),
        Sampler("Heun", heun, "Normal", evaluations=2, flow=True),
        Sampler("DPM2", dpm_2, "Karras", evaluations=2, skips_next_to_last=True),
        Sampler("DPM2 a", dpm_2_ancestral, "Karras", evaluations=2, skips_next_to_last=True),
        Sampler("DDIM", euler, "Normal"),
        Sampler("UniPC", unipc, "Normal"),
        Sampler("LCM", lcm, "SGM Uniform"),
    )
}


def find_sampler(name: str, *, flow: bool = False) -> Sampler:
    """The sampler of that name.

    Raises:
        RequestError: if there is none, or it cannot sample a flow model; it names those that can.
    """
    able = [sampler.name for sampler in SAMPLERS.values() if sampler.flow or not flow]
    if name not in SAMPLERS:
        raise RequestError(f"No sampler is named {name!r}.", where="sampler", hint=f"Use {', '.join(able)}.")
    if name not in able:
        raise RequestError(f"{name} does not sample flow models.", where="sampler", hint=f"Use {' or '.join(able)}.")
    return SAMPLERS[name]
