"""What can go wrong, and how it is told.

    PatchbayError                 anything that is the user's to mend; shown at the edge, never swallowed
    ├── RequestError              a field of a request is out of bounds
    ├── PromptError               the prompt cannot be generated as written (its problems carry spans)
    ├── CheckpointError           a checkpoint or VAE cannot be read, or is not what it says
    ├── NetworkError              a network file cannot be read, found, or used on this model
    ├── SettingsError             a setting has a value it cannot have
    ├── DeviceError               the device is missing, or its memory is exhausted
    ├── StorageError              a file cannot be written
    └── ExtensionError            an extension failed; it is named

A `Problem` is the same news as data: one sentence, where it stands, what to do about it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Level = Literal["error", "warning"]
Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to tell the user.

    `span` is a half-open range of characters in `source`, which names the text it counts in ("prompt",
    "negative_prompt") or else the file, setting or field the problem is about.
    """

    level: Level
    message: str
    span: Span | None = None
    hint: str = ""
    source: str = "prompt"

    def as_json(self) -> dict[str, object]:
        """The record that `explain --json`, the API and the page share."""
        return {
            "level": self.level,
            "message": self.message,
            "span": list(self.span) if self.span else None,
            "hint": self.hint,
            "source": self.source,
        }

    def __str__(self) -> str:
        where = f" ({self.source}, character {self.span[0]})" if self.span else ""
        return f"{self.message}{where}{' ' + self.hint if self.hint else ''}"


class PatchbayError(Exception):
    """Says what is wrong, where (a field, file, tensor or span) and what to do, in one line."""

    def __init__(self, message: str, *, where: str = "", hint: str = "", problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint
        self.problems = tuple(problems)

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.message}{' ' + self.hint if self.hint else ''}"

    def as_json(self) -> dict[str, object]:
        """The body that the API and the page show."""
        return {
            "error": type(self).__name__,
            "detail": str(self),
            "problems": [problem.as_json() for problem in self.problems],
        }


class RequestError(PatchbayError):
    """A field of a request is out of bounds; `where` is the field's name."""


class PromptError(PatchbayError):
    """The prompt cannot be generated as written; `problems` carry the spans."""


class CheckpointError(PatchbayError):
    """A checkpoint or VAE cannot be read, or is not what it says; `where` is the file."""


class NetworkError(PatchbayError):
    """A network file cannot be read, found, or used on this model; `where` is the file or tag.

    `near` are the names of networks that may have been meant.
    """

    near: tuple[str, ...] = ()


class SettingsError(PatchbayError):
    """A setting has a value it cannot have; `where` is its name."""


class DeviceError(PatchbayError):
    """The device is missing, or its memory is exhausted."""


class StorageError(PatchbayError):
    """A file cannot be written; `where` is its path."""


class ExtensionError(PatchbayError):
    """An extension failed; `where` is its name."""
