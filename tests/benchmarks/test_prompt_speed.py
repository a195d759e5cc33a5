"""The parser is linear: ten times the text takes about ten times as long, whatever the text is made of."""

import time
from collections.abc import Callable

import pytest

from app.prompt.emphasis import branches, fragments
from app.prompt.parser import parse
from app.prompt.schedule import schedule

TEXTS: dict[str, Callable[[int], str]] = {
    "weights": lambda size: "(tag:1.2), " * (size // 11),
    "editing in editing": lambda size: "[" * (size // 8) + "a" + ":b:0.5]" * (size // 8),
    "editing beside editing": lambda size: "[cat:dog:0.5] " * (size // 14),
    "alternation": lambda size: "[a|b] " * (size // 6),
    "tags": lambda size: "<lora:x:0.8>, " * (size // 14),
    "plain words": lambda size: "word " * (size // 5),
    "opening brackets": lambda size: "(" * (size // 2) + "[" * (size // 2),
    "closing brackets": lambda size: ")]" * (size // 2),
    "crossed brackets": lambda size: "([" * (size // 4) + ")]" * (size // 4),
    "unclosed tags": lambda size: "<lora:x " * (size // 8),
    "unclosed quotes": lambda size: '<a:x":"' * (size // 7),
    "doubled quotes": lambda size: '<a:"x""' * (size // 7),
    "quotes by threes": lambda size: '<a:"""' * (size // 6),
    "spaces": lambda size: "<" + " " * (size - 1),
    "colons and spaces": lambda size: ":    " * (size // 5),
    "backslashes": lambda size: "\\" * size,
    "capitals": lambda size: "BABA ANDA " * (size // 10),
    "AND": lambda size: "a AND " * (size // 6),
    "a weight far away": lambda size: "(a:" + "1" * (size - 4) + ")",
    "spaces before the end": lambda size: "a AND b" + " " * (size - 7),
}


ATTEMPTS = 5
"""A busy machine only ever adds time, so one attempt within the bound shows it; quadratic work would take 100 times."""


def seconds(work: Callable[[], object], runs: int = 2) -> float:
    """The least processor time of several runs."""
    taken = []
    for _ in range(runs):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return min(taken)


def whole(text: str) -> None:
    schedule(text, 20)
    fragments(text)
    branches(text)


@pytest.mark.parametrize("name", TEXTS)
def test_twenty_kilobytes_take_about_ten_times_as_long_as_two(name: str) -> None:
    short, long = TEXTS[name](2_000), TEXTS[name](20_000)
    whole(short)
    assert any(seconds(lambda: whole(long)) <= 15 * seconds(lambda: whole(short)) + 0.002 for _ in range(ATTEMPTS))


def calibration() -> None:
    """A million additions: what makes milliseconds comparable between machines."""
    total = 0
    for number in range(1_000_000):
        total += number


@pytest.mark.parametrize("name", ["weights", "editing in editing", "editing beside editing"])
def test_twenty_kilobytes_parse_in_the_time_of_six_million_additions(name: str) -> None:
    """Details of 17 ms are a million additions where 20 kB must parse in 100 ms, and 2 kB in 10."""
    text = TEXTS[name](20_000)
    parse(text)
    assert any(seconds(lambda: parse(text)) <= 6 * seconds(calibration) for _ in range(ATTEMPTS))


def test_alternation_over_a_thousand_steps_is_not_a_thousand_times_the_work() -> None:
    text = TEXTS["alternation"](2_000)
    schedule(text, 20)
    assert any(
        seconds(lambda: schedule(text, 1000)) <= 10 * seconds(lambda: schedule(text, 10)) for _ in range(ATTEMPTS)
    )
