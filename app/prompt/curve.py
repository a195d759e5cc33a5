"""One strength over the steps: `0.8`, `0.1@1,0.6@6`, `0@0~1@50%`.

A position is a step (`6`, from 1), a fraction (`0.3`) or a percentage (`30%`). The first step is 0 % and the last
100 %: fraction f of N steps is position 1 + f·(N−1).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

from lark import Token, Tree
from lark.exceptions import UnexpectedInput

from app.prompt.parser import curve_parser

Separator = Literal["switch", "ramp"]
LARGEST = 1000.0
"""Strengths lie within ± this; positions within ± a thousand times this. Beyond them arithmetic stops being finite."""
SLACK = 1e-9
"""Positions are sums of rounded fractions: 7 % of 101 steps must be step 8, not a hair after it."""


class Unreadable(ValueError):
    """A value that is not what its argument takes; `hint` says what to write."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


@dataclass(frozen=True, slots=True)
class Position:
    """Where in the run: `value` is a step from 1, or a fraction of the way from the first step to the last."""

    value: float
    fraction: bool
    text: str

    @property
    def unit_interval(self) -> bool:
        """Whether it may be read as a fraction of the run: 0 and 1 without a point may."""
        return self.value <= 1 if self.fraction else self.value in (0, 1)

    def step(self, steps: int) -> float:
        """The step it falls on, which may lie between two or outside the run."""
        return 1 + self.value * (steps - 1) if self.fraction else self.value


@dataclass(frozen=True, slots=True)
class Keyframe:
    """A value, where it is reached, and the separator typed after it: "," ";" "~", or "" after the last."""

    value: float
    position: Position
    separator: str = ""


@dataclass(frozen=True, slots=True)
class Curve:
    """Keyframes in the order typed; a constant is one keyframe."""

    keyframes: tuple[Keyframe, ...]
    constant: bool = False

    @classmethod
    def level(cls, value: float) -> Curve:
        """The same strength at every step."""
        return cls((Keyframe(value, Position(0, True, "")),), constant=True)

    def strengths(self, steps: int, separator: Separator = "switch") -> tuple[float, ...]:
        """The strength at each of the steps. `separator` is what a comma means.

        Before the first keyframe its value holds. Of keyframes at one position the last typed holds from there on.
        """
        if self.constant:
            return (self.keyframes[0].value,) * steps
        frames = [(frame.position.step(steps), frame.value, ramps) for frame, ramps in self._ramped(separator)]
        frames.sort(key=lambda frame: frame[0])
        values: list[float] = []
        current = 0
        for step in range(1, steps + 1):
            while current + 1 < len(frames) and frames[current + 1][0] <= step + SLACK:
                current += 1
            begin, value, ramps = frames[current]
            if ramps and current + 1 < len(frames) and step > begin:
                end, target, _ = frames[current + 1]
                value += (target - value) * (step - begin) / (end - begin)
            values.append(value)
        return tuple(values)

    def _ramped(self, separator: Separator) -> list[tuple[Keyframe, bool]]:
        """Each keyframe, and whether it ramps to the next. The last does as the one before: it may move in time."""
        ramps = [frame.separator == "~" or (frame.separator == "," and separator == "ramp") for frame in self.keyframes]
        ramps[-1] = ramps[-2] if len(ramps) > 1 else False
        return list(zip(self.keyframes, ramps, strict=True))

    def complaints(self, steps: int, separator: Separator = "switch") -> list[str]:
        """What about its positions is legal but hardly meant."""
        if self.constant:
            return []
        said = []
        seen: dict[tuple[bool, float], bool] = {}
        arrives = False
        latest = -math.inf
        for frame, ramps in self._ramped(separator):
            place, where = frame.position, frame.position.step(steps)
            if where > steps + SLACK:
                said.append(f"Position {place.text} lies beyond the run of {steps} steps.")
            elif where < 0:
                said.append(f"Position {place.text} lies before the run.")
            if where < latest - SLACK:
                said.append(f"Position {place.text} stands after a later one; they are read in order of time.")
            elif seen.get((place.fraction, place.value)) is False:
                said.append(f"Position {place.text} is given twice; the last value holds.")
            seen[(place.fraction, place.value)] = arrives
            arrives, latest = ramps, max(latest, where)
        return said


def read_curve(text: str) -> Curve:
    """The strength a value says.

    Raises:
        Unreadable: it is no number and no schedule; nothing is guessed.
    """
    try:
        tree = curve_parser().parse(text)
    except UnexpectedInput:
        raise Unreadable(f"“{text}” is not a strength.", _remedy(text)) from None
    if isinstance(tree.children[0], Token):
        return Curve.level(_bounded(tree.children[0], LARGEST))
    frames = [_keyframe(child) for child in tree.children[0::2] if isinstance(child, Tree)]
    separators = [str(child) for child in tree.children[1::2]]
    if all(frame.position.unit_interval for frame in frames):
        frames = [replace(f, position=replace(f.position, fraction=True)) for f in frames]
    return Curve(tuple(replace(f, separator=s) for f, s in zip(frames, [*separators, ""], strict=True)))


def read_position(text: str) -> Position:
    """A position by itself, as `start=` and `stop=` take it.

    Raises:
        Unreadable: it is none.
    """
    try:
        tree = curve_parser().parse(f"0@{text}")
    except UnexpectedInput:
        tree = None
    if tree is None or len(tree.children) != 1 or not text:
        raise Unreadable(f"“{text}” is not a position.", "Write a step (6), a fraction (0.3) or a percentage (30%).")
    frame = tree.children[0]
    assert isinstance(frame, Tree)
    return _keyframe(frame).position


def _keyframe(tree: Tree[Token]) -> Keyframe:
    value, _, place, *percent = tree.children
    assert isinstance(value, Token) and isinstance(place, Token)
    where = _bounded(place, LARGEST * 1000)
    text = place.strip() + ("%" if percent else "")
    return Keyframe(
        _bounded(value, LARGEST), Position(where / 100 if percent else where, bool(percent) or "." in place, text)
    )


def _bounded(token: Token, limit: float) -> float:
    value = float(token)
    if not abs(value) <= limit:
        raise Unreadable(f"{token.strip()} is out of bounds.", f"Write a number between -{limit:g} and {limit:g}.")
    return value


def _remedy(text: str) -> str:
    """What to write instead, for the slips that people make."""
    if not text:
        return "Write a number, or take the colon away."
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity"):
        return "Write a finite number such as 0.8."
    if "@" not in text and "," in text:
        return "Write 1.0 with a point, or give each value a position: 1@0%,0@50%."
    if "@" in text:
        return "Write each value with its position: 0.1@1,0.6@6 or 0@0%~1@100%."
    if any(character.isdigit() for character in text):
        return "Write one number, without spaces, such as 0.6."
    return "Write a number such as 0.8."
