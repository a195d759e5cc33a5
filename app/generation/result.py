"""What a generation says while it runs, and what it gives."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from PIL.Image import Image

from app.errors import Problem
from app.generation.request import GenerationRequest


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a job stands. `step` of `steps` counts sampling steps over all its images; seconds are wall-clock.

    `preview` is a small picture of the image being made; `position` counts the jobs before this one.
    """

    state: str
    """"queued", "loading", "encoding", "sampling" or "decoding"."""
    step: int = 0
    steps: int = 0
    image: int = 0
    images: int = 1
    position: int = 0
    elapsed: float = 0.0
    remaining: float | None = None
    preview: Image | None = None
    message: str = ""


@dataclass(frozen=True, slots=True)
class NetworkUse:
    """A network an image was made with: `sha256` is AutoV3's (of the tensors), in full; counts are modules."""

    name: str
    kind: str
    sha256: str
    base_model: str
    matched: int
    unmatched: int
    mismatched: int
    strengths: dict[str, tuple[float, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """One image, the request that makes it alone, and the text that a PNG carries."""

    image: Image
    request: GenerationRequest
    infotext: str
    path: Path | None = None


@dataclass(frozen=True, slots=True)
class GenerationResult:
    """A finished job. `interrupted` says that it was stopped, with the images it had (the last may be partial)."""

    request: GenerationRequest
    images: tuple[GeneratedImage, ...]
    networks: tuple[NetworkUse, ...] = ()
    problems: tuple[Problem, ...] = ()
    interrupted: bool = False
    seconds: float = 0.0
    timings: dict[str, float] = field(default_factory=dict)
    kept_bytes: int = 0
    """What networks keep in memory between generations: pristine weights, formed deltas, and the networks as read."""
