"""Axes of a grid: what changes from picture to picture, written as `strength=0,0.5,1` or `sampler=Euler,"Euler a"`."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from app.errors import RequestError
from app.generation.choices import find_sampler
from app.generation.png import MAX_PIXELS
from app.generation.request import WHOLE_NUMBERS, GenerationRequest
from app.prompt.edit import set_argument, tags

Change = Callable[[GenerationRequest], GenerationRequest]
FIELDS: Mapping[str, str] = {
    "prompt": "prompt",
    "negative": "negative_prompt",
    "seed": "seed",
    "steps": "steps",
    "cfg": "cfg_scale",
    "clip-skip": "clip_skip",
    "model": "checkpoint",
    "vae": "vae",
    "emphasis": "emphasis",
    "denoising": "denoising_strength",
    "hires-scale": "hires_scale",
    "hires-steps": "hires_steps",
    "hires-upscaler": "hires_upscaler",
}
"""Axes that set one field of the request, under the names of the command's options."""
SPECIAL = ("replace", "strength", "sampler", "schedule-type", "size")
PASSES: Mapping[str, int] = {"replace": 1, "strength": 2}
"""Axes that change what another axis has set come after it."""
TEXTS = frozenset({"prompt", "negative_prompt", "checkpoint", "vae", "emphasis", "hires_upscaler"})
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)"
_RANGE = re.compile(rf"({_NUMBER})\s*-\s*({_NUMBER})(?:\s*\(\s*({_NUMBER})\s*\)|\s*\[\s*(\d{{1,3}})\s*\])?")


@dataclass(frozen=True, slots=True)
class Axis:
    """The values that one direction of a grid runs through, each with what it is called and what it changes."""

    name: str
    labels: tuple[str, ...]
    changes: tuple[Change, ...]


NOTHING = Axis("", ("",), (lambda request: request,))
"""The axis along which nothing changes."""


def read_axis(text: str) -> Axis:
    """The axis that `NAME=VALUE,VALUE,…` describes. Values hold commas between double quotes, as in a CSV file.

    Numbers may be ranges: `1-4` is 1, 2, 3, 4; `1-9 (+4)` is 1, 5, 9; `0-1 [5]` is five numbers from 0 to 1.
    `replace=cat,dog,fox` makes the prompt as it is, then with each other word in the place of the first.

    Raises:
        RequestError: there is no such axis, or a value is not one that it can have.
    """
    name, equals, listed = text.partition("=")
    name = name.strip().lower()
    if not equals or name not in (*FIELDS, *SPECIAL):
        known = ", ".join([*FIELDS, *SPECIAL])
        raise RequestError(
            f"{text!r:.80} is no axis.", where="axis", hint=f"Write NAME=VALUES; NAME is one of {known}."
        )
    values = [value.strip() for value in next(csv.reader([listed], skipinitialspace=True), [])]
    if not any(values):
        raise RequestError(f"The axis {name!r} has no values.", where="axis")
    if name == "strength" or (name in FIELDS and FIELDS[name] not in TEXTS):
        return _numeric(name, [number for value in values for number in _numbers(value, name)])
    return Axis(name, tuple(values), tuple(_change(name, value, values) for value in values))


def cells(request: GenerationRequest, across: Axis, down: Axis = NOTHING) -> list[list[GenerationRequest]]:
    """The request of every picture, row by row: one image each, all of the same seed unless an axis changes it.

    Raises:
        RequestError: a request is out of bounds, or the pictures together are larger than a file may be.
    """
    single = replace(request.seeded(), batch_count=1, batch_size=1)
    # A strength is set in the prompt that the other axis gives.
    down_first = PASSES.get(down.name, 0) <= PASSES.get(across.name, 0)
    made = [
        [_changed(single, (row, column) if down_first else (column, row)) for column in across.changes]
        for row in down.changes
    ]
    pixels = sum(cell.width * cell.height * cell.hires_scale**2 for row in made for cell in row)
    if pixels > MAX_PIXELS:
        message = f"{pixels / 1e6:.0f} megapixels are more than one picture of {MAX_PIXELS / 1e6:.0f}."
        raise RequestError(message, where="axis")
    return made


def _changed(request: GenerationRequest, changes: Sequence[Change]) -> GenerationRequest:
    for change in changes:
        request = change(request)
    return request.checked()


def _change(name: str, value: str, values: Sequence[str]) -> Change:
    """What a value that is no number changes."""
    if name in FIELDS:
        return partial(replace, **{FIELDS[name]: value})
    if name == "replace":
        return _replacing(values[0], value)
    if name == "size":
        return _sized(value)
    return _sampling(value) if name == "sampler" else _spacing(value)


def _numeric(name: str, numbers: Sequence[float]) -> Axis:
    field = FIELDS.get(name, "")
    whole = [int(number) if field in WHOLE_NUMBERS and number == int(number) else number for number in numbers]
    changes: list[Change] = [
        partial(replace, **{field: number}) if field else partial(_strong, number) for number in whole
    ]
    return Axis(name, tuple(f"{name} {number:g}" for number in whole), tuple(changes))


def _numbers(text: str, name: str) -> list[float]:
    """The numbers that one value stands for."""
    if re.fullmatch(_NUMBER, text):
        return [float(text)]
    found = _RANGE.fullmatch(text)
    if not found:
        raise RequestError(
            f"{text!r:.40} is neither a number nor a range.", where=name, hint="Write 3, 1-4, 1-9 (+4) or 0-1 [5]."
        )
    low, high = float(found[1]), float(found[2])
    if found[4]:
        count = int(found[4])
        return [low + (high - low) * index / (count - 1) for index in range(count)] if count > 1 else [low] * count
    step = float(found[3] or (1 if low <= high else -1))
    count = int((high - low) / step + 1e-9) + 1 if step else 0
    if not 1 <= count <= 999:
        raise RequestError(f"{text!r:.40} is no range.", where=name)
    return [low + step * index for index in range(count)]


def _strong(strength: float, request: GenerationRequest) -> GenerationRequest:
    """The first number of every network tag set. What a tag names apart (`unet=`, `lbw=`) keeps its own."""
    prompt = request.prompt
    found = tags(prompt)
    if not found:
        raise RequestError("There is no network in the prompt whose strength could change.", where="strength")
    for tag in reversed(found):
        prompt = set_argument(prompt, tag, None, strength)
    return replace(request, prompt=prompt)


def _replacing(wanted: str, value: str) -> Change:
    def change(request: GenerationRequest) -> GenerationRequest:
        if wanted not in request.prompt + request.negative_prompt:
            raise RequestError(f"{wanted!r:.40} does not stand in the prompt.", where="replace")
        negative = request.negative_prompt.replace(wanted, value)
        return replace(request, prompt=request.prompt.replace(wanted, value), negative_prompt=negative)

    return change


def _sampling(value: str) -> Change:
    sampler, schedule_type = find_sampler(value)
    given: dict[str, Any] = {"sampler": sampler}
    if schedule_type != "Automatic":
        given["schedule_type"] = schedule_type
    return partial(replace, **given)


def _spacing(value: str) -> Change:
    _, schedule_type = find_sampler("Euler", value)
    return partial(replace, schedule_type=schedule_type)


def _sized(value: str) -> Change:
    found = re.fullmatch(r"(\d{1,6})\s*[x×]\s*(\d{1,6})", value)
    if not found:
        raise RequestError(f"{value!r:.40} is not WIDTHxHEIGHT.", where="size")
    return partial(replace, width=int(found[1]), height=int(found[2]))
