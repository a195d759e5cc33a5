"""What the arguments of a network tag mean, before the number of steps is known.

An argument that cannot be read makes the whole tag void; nothing is guessed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from app.errors import Problem
from app.prompt.ast import Argument, NetworkTag
from app.prompt.curve import Curve, Position, Unreadable, read_curve, read_position

STRENGTHS = ("te", "te1", "te2", "te3", "unet", "in", "mid", "out", "vae", "hr", "hrte", "hrunet")
ALIASES: Mapping[str, str] = {"dit": "unet", "transformer": "unet"}
MODULES: Mapping[str, str] = {
    "unet": "unet",
    "te": "te",
    "vae": "vae",
    "transformer": "transformer",
    "transformer_2": "transformer_2",
    "high": "transformer",
    "low": "transformer_2",
}
"""What `module=` takes, and its component. High and low noise are the two transformers of two-stage models."""
BLOCK = re.compile(r"(?:in|mid|out|block)[0-9]{1,3}")

_BLOCK_COUNTS = (12, 17, 20, 26, 61)
LBW_PRESETS: Mapping[str, tuple[float, ...]] = {
    "NONE": (0,) * 17,
    "ALL": (1,) * 17,
    "INS": (1,) * 4 + (0,) * 13,
    "IND": (1, 0, 0, 0, 1, 1, 1) + (0,) * 10,
    "INALL": (1,) * 7 + (0,) * 10,
    "MIDD": (1, 0, 0, 0) + (1,) * 8 + (0,) * 5,
    "OUTD": (1,) + (0,) * 7 + (1,) * 4 + (0,) * 5,
    "OUTS": (1,) + (0,) * 11 + (1,) * 5,
    "OUTALL": (1,) + (0,) * 7 + (1,) * 9,
    "ALL0.5": (0.5,) * 17,
    "FLUXALL": (1,) * 61,
}
"""The presets of the block-weight extension: BASE (text encoders), six IN, M00, nine OUT; Flux has its own blocks."""


@dataclass(frozen=True, slots=True)
class Settings:
    """A tag's arguments, read. `curves` holds what is named, under the names of STRENGTHS or of one block."""

    first: Curve | None = None
    second: Curve | None = None
    curves: Mapping[str, Curve] = field(default_factory=dict)
    dyn: int | None = None
    lbw: tuple[float, ...] | None = None
    start: Position | None = None
    stop: Position | None = None
    module: str | None = None


def read_arguments(tag: NetworkTag) -> tuple[Settings | None, tuple[Problem, ...]]:
    """What a tag says, or the errors that make it void: each about the tag's span, with the remedy."""
    problems: list[Problem] = []
    values: dict[str, object] = {}
    position = 0
    for argument in tag.arguments:
        position += argument.key is None
        try:
            name, value = _positional(argument, position) if argument.key is None else _named(argument)
            if name in values:
                raise Unreadable(f"{name} is given twice.", "Take one of them away.")
            values[name] = value
        except Unreadable as unreadable:
            problems.append(_problem(tag, argument, unreadable))
    if problems:
        return None, tuple(problems)
    ranks = values.pop("third", None)
    values.setdefault("dyn", ranks)
    apart = {name: values.pop(name, None) for name in ("first", "second", "dyn", "lbw", "start", "stop", "module")}
    return Settings(**apart, curves=values), ()  # type: ignore[arg-type]


def _positional(argument: Argument, position: int) -> tuple[str, object]:
    """The numbers without a name: the strength, the denoiser's strength, the ranks to keep."""
    match position:
        case 1:
            return "first", read_curve(argument.value)
        case 2:
            return "second", read_curve(argument.value)
        case 3:
            return "third", _rank(argument.value)
        case _:
            raise Unreadable(
                f"“{argument.value}” is a fourth number.", "A tag takes three: strength, unet strength, dyn rank."
            )


def _named(argument: Argument) -> tuple[str, object]:
    key = ALIASES.get(argument.key or "", argument.key or "")
    if key in STRENGTHS or BLOCK.fullmatch(key):
        return key, read_curve(argument.value)
    if key not in _READERS:
        near = get_close_matches(key, [*STRENGTHS, *ALIASES, *_READERS], 2)
        known = f"Did you mean {' or '.join(f'{name}=' for name in near)}?" if near else "Take it away."
        raise Unreadable(f"{key}= is no argument of a network tag.", known)
    return key, _READERS[key](argument.value)


def _rank(text: str) -> int:
    if not re.fullmatch(r"\+?[0-9]{1,6}", text) or int(text) < 1:
        raise Unreadable(f"“{text}” is not a number of ranks.", "Write a whole number from 1, such as dyn=8.")
    return int(text)


def _lbw(text: str) -> tuple[float, ...]:
    if preset := LBW_PRESETS.get(text.upper()):
        return tuple(map(float, preset))
    if not re.search("[0-9]", text):
        raise Unreadable(f"“{text}” is no block-weight preset.", f"The presets are {', '.join(LBW_PRESETS)}.")
    curves = [read_curve(part.strip()) for part in text.split(",")]
    if len(curves) not in _BLOCK_COUNTS or not all(curve.constant for curve in curves):
        counts = ", ".join(map(str, _BLOCK_COUNTS))
        raise Unreadable(f"lbw= has {len(curves)} numbers.", f"Write {counts} numbers, or a preset such as OUTALL.")
    return tuple(curve.keyframes[0].value for curve in curves)


def _module(text: str) -> str:
    if text.lower() not in MODULES:
        raise Unreadable(f"“{text}” is no component.", f"module= takes {', '.join(MODULES)}.")
    return MODULES[text.lower()]


_READERS: Mapping[str, Callable[[str], object]] = {
    "dyn": _rank,
    "lbw": _lbw,
    "start": read_position,
    "stop": read_position,
    "module": _module,
}


def _problem(tag: NetworkTag, argument: Argument, unreadable: Unreadable) -> Problem:
    """The error of one argument. It spans the tag, because the tag as a whole is void."""
    hint = unreadable.hint
    if argument.key is None and argument.value.upper() in LBW_PRESETS:
        hint = f"Write lbw={argument.value.upper()}."
    elif argument.key is None and re.search(r"[\\/]", argument.value):
        start, end = tag.name_span[0] - tag.span[0], argument.span[1] - tag.span[0]
        hint = f'Write a name that holds a colon in quotes: <{tag.kind}:"{tag.text[start:end]}"{tag.text[end:]}.'
    return Problem("error", f"{tag.text} is not used: {unreadable.message}", tag.span, hint)
