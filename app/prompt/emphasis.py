from __future__ import annotations
from dataclasses import dataclass
@dataclass(frozen=True, slots=True)
class Fragment:
    text: str
    weight: float
@dataclass(frozen=True, slots=True)
class Break:
    pass
