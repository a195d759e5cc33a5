"""A network's names read by diffusers, for files that our own tables do not know.

Only names and layouts are diffusers' work: the tensors become a Network like any other, so that schedules, block
weights and exact restoring hold for it as well.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.loaders import lora_pipeline
from torch import Tensor, nn

from app.networks import formats

Tensors = Mapping[str, Tensor]

ENDING = "LoraLoaderMixin"
KIN: Mapping[str, str] = {
    "Chroma": "Flux", "BriaFiboT": "Flux", "Mochi": "Mochi1", "ChronoEdit": "Wan", "AnyFlow": "Wan",
}  # fmt: skip
"""How the class of a transformer begins whose files another model's loader reads."""

FAILURES = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    RuntimeError,
    ZeroDivisionError,
    NotImplementedError,
    AssertionError,
    UnboundLocalError,
)
"""What diffusers' converters raise for names or shapes that they do not expect."""


@dataclass(frozen=True, slots=True)
class Renamed:
    """Tensors by diffusers' names ("unet.….to_q.lora_A.weight", "….alpha"), and what was said on the way."""

    tensors: Tensors
    notes: tuple[str, ...]


def renamed(tensors: Tensors, model: Mapping[str, nn.Module]) -> Renamed:
    """The tensors of a LoRA file as diffusers names them for a model.

    Raises:
        ValueError: diffusers has no loader for the model, or cannot read the names; the message says which.
    """
    loader = _loader(model)
    said = inspect.signature(loader.lora_state_dict).parameters
    options: dict[str, Any] = {}
    if "unet" in model:
        options["unet_config"] = model["unet"].config
    if loader is lora_pipeline.FluxLoraLoaderMixin and "return_alphas" in said:
        options["return_alphas"] = True
    with _overheard() as notes:
        try:
            answer = loader.lora_state_dict(dict(tensors), **options)
        except FAILURES as error:
            lines = str(error).strip().splitlines() or [""]
            raise ValueError(f"{type(error).__name__}: {lines[0][:200]}".rstrip(": ")) from error
    state, alphas = (answer[0], answer[1]) if isinstance(answer, tuple) else (answer, None)
    found = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    for key, alpha in (alphas or {}).items():
        found[f"{_module(str(key).removesuffix('.alpha'))}.alpha"] = _scalar(alpha)
    left_out = sum(1 for key in tensors if "dora_scale" in key)
    if left_out:
        notes.append(f"diffusers leaves out {left_out} DoRA magnitudes")
    return Renamed(found, tuple(dict.fromkeys(notes)))


def _scalar(alpha: Any) -> Tensor:
    return alpha if isinstance(alpha, Tensor) else torch.tensor(float(alpha))


def _module(key: str) -> str:
    """The module of an alpha, which diffusers sometimes names after the module's tensor."""
    found = formats.split(key)
    return found[0] if found else key


def _loader(model: Mapping[str, nn.Module]) -> Any:
    """The class that reads LoRA files for pipelines with this model's denoiser.

    Raises:
        ValueError: there is none.
    """
    if "unet" in model:
        xl = "text_encoder_2" in model
        return lora_pipeline.StableDiffusionXLLoraLoaderMixin if xl else lora_pipeline.StableDiffusionLoraLoaderMixin
    if "transformer" not in model:
        raise ValueError("the model has no denoiser")
    name = type(model["transformer"]).__name__
    stems = {key.removesuffix(ENDING): key.removesuffix(ENDING) for key in vars(lora_pipeline) if key.endswith(ENDING)}
    known = {**{stem: whole for stem, whole in stems.items() if stem}, **KIN}
    stem = max((stem for stem in known if name.startswith(stem)), key=len, default=None)
    if stem is None:
        raise ValueError(f"diffusers has no LoRA loader for {name}")
    return getattr(lora_pipeline, known[stem] + ENDING)


@contextmanager
def _overheard() -> Iterator[list[str]]:
    """What diffusers warns of within the block, a line each."""
    notes: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            notes.append(" ".join(record.getMessage().split())[:300])

    ear = Ear(logging.WARNING)
    logger = logging.getLogger("diffusers")
    logger.addHandler(ear)
    try:
        yield notes
    finally:
        logger.removeHandler(ear)
