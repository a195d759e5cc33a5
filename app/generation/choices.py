"""The names of samplers and schedule types, as the web UIs write them and as their clients may spell them.

`app.diffusion` holds what they do; a test holds the two together. Pages, commands and the API need only the names.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.errors import RequestError
from app.generation.infotext import split_sampler


@dataclass(frozen=True, slots=True)
class Choice:
    """A name, and other spellings of it."""

    name: str
    aliases: tuple[str, ...] = ()


SAMPLERS = (
    Choice("Euler a", ("k_euler_a", "k_euler_ancestral")),
    Choice("Euler", ("k_euler",)),
    Choice("DPM++ 2M", ("k_dpmpp_2m",)),
    Choice("DPM++ SDE", ("k_dpmpp_sde",)),
    Choice("DPM++ 2M SDE", ("k_dpmpp_2m_sde",)),
    Choice("Heun", ("k_heun",)),
    Choice("DPM2", ("k_dpm_2",)),
    Choice("DPM2 a", ("k_dpm_2_a", "k_dpm_2_ancestral")),
    Choice("DDIM", ("ddim",)),
    Choice("UniPC", ("unipc",)),
    Choice("LCM", ("k_lcm",)),
)
SCHEDULE_TYPES = (
    Choice("Automatic", ("automatic",)),
    Choice("Normal", ("normal",)),
    Choice("Uniform", ("uniform",)),
    Choice("Karras", ("karras",)),
    Choice("Exponential", ("exponential",)),
    Choice("Beta", ("beta",)),
    Choice("SGM Uniform", ("sgm_uniform",)),
)


def find_sampler(name: str, schedule_type: str = "") -> tuple[str, str]:
    """The sampler and schedule type of names in any spelling, the joined one ("DPM++ 2M Karras") too.

    Raises:
        RequestError: there is no such sampler or schedule type.
    """
    joined, suffix = split_sampler(name)
    found = _find(name, SAMPLERS)
    sampler = found or _find(joined, SAMPLERS)
    if sampler is None:
        raise RequestError("Sampler not found", where="sampler_name", hint=_known(SAMPLERS))
    wanted = schedule_type or ("Automatic" if found else suffix)
    if _find(wanted, SCHEDULE_TYPES) == "Automatic" and not found:
        wanted = suffix
    schedule = _find(wanted, SCHEDULE_TYPES)
    if schedule is None:
        raise RequestError("Scheduler not found", where="scheduler", hint=_known(SCHEDULE_TYPES))
    return sampler, schedule


def _find(name: str, choices: Sequence[Choice]) -> str | None:
    wanted = name.strip().lower()
    return next((each.name for each in choices if wanted in (each.name.lower(), *each.aliases)), None)


def _known(choices: Sequence[Choice]) -> str:
    return f"(known: {', '.join(choice.name for choice in choices)})"
