"""What a prompt is at each step: its text in stages, its networks with their strengths.

Sets of steps are whole numbers whose bit s−1 stands for step s, so a walk down the tree carries what is in force as one
number, and alternation over a thousand steps costs no more than over ten.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

from app.errors import Problem, RequestError
from app.prompt.ast import Alternation, Editing, Moment, NetworkTag, Node, Prompt, Unclosed, switched_off
from app.prompt.parser import parse
from app.prompt.strength import DEFAULTS, KINDS, ScheduledNetwork, ScheduleOptions, scheduled_network

__all__ = [
    "KINDS",
    "PromptSchedule",
    "ScheduleOptions",
    "ScheduledNetwork",
    "Stage",
    "negative_problems",
    "schedule",
]

MOST_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Stage:
    """Steps `first` to `last`, from 1 and inclusive, on which `text` is the prompt: tags removed, the rest as typed."""

    first: int
    last: int
    text: str


@dataclass(frozen=True, slots=True)
class PromptSchedule:
    """The stages tile steps 1 to `steps`; the networks stand in the order of their tags."""

    steps: int
    stages: tuple[Stage, ...]
    networks: tuple[ScheduledNetwork, ...] = ()
    problems: tuple[Problem, ...] = ()


class _Piece(NamedTuple):
    """Text and the steps it is in force on; None is where a tag was removed."""

    text: str | None
    steps: int


class _Scene(NamedTuple):
    """A part of the tree, the steps it is in force on, and the steps after which what surrounds it switches."""

    part: str | Node
    steps: int
    switches: int


def schedule(
    prompt: str | Prompt,
    steps: int,
    options: ScheduleOptions = DEFAULTS,
    *,
    hires: bool = False,
    base_steps: int | None = None,
) -> PromptSchedule:
    """What `prompt` is at each of `steps` sampling steps. Never raises on text.

    In a hires pass (`hires`) the tags' hr strengths apply, and an editing continues the first pass of `base_steps`
    (default: as many): its fractions from 1 to 2 are of this pass, its whole numbers count on.

    Raises:
        RequestError: steps is not a whole number from 1 to 1000.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MOST_STEPS:
        raise RequestError(f"{steps!r} is not a whole number from 1 to {MOST_STEPS}.", where="steps")
    tree = parse(prompt) if isinstance(prompt, str) else prompt
    passed = (base_steps or steps) if hires else None
    pieces: list[_Piece] = []
    networks: list[ScheduledNetwork] = []
    problems = list(tree.problems)
    switches = faint = 0
    everything = (1 << steps) - 1
    stack = [_Scene(item, everything, 0) for item in reversed(tree.items)]
    while stack:
        part, on, around = stack.pop()
        if not isinstance(part, str) and switched_off(part):
            pieces.append(_Piece(None, on))
        elif isinstance(part, NetworkTag) and part.kind in options.kinds and part.name:
            network, said = scheduled_network(part, steps, on, options, hires)
            networks.extend([network] if network else [])
            problems.extend(said)
            pieces.append(_Piece(None, on))
        elif isinstance(part, str):
            pieces.append(_Piece(part, on))
            faint |= around if part else 0
            switches |= around if part and not part.isspace() else 0
        else:
            problems.extend(_complaints(part, options))
            stack.extend(reversed(_scenes(part, on, around, steps, passed)))
    problems.sort(key=lambda problem: problem.span or (0, 0))
    return PromptSchedule(steps, _stages(pieces, switches, faint, steps), tuple(networks), tuple(problems))


def negative_problems(negative: PromptSchedule) -> tuple[Problem, ...]:
    """A negative prompt's problems: its own, and one for each hypernetwork, which only a positive prompt can use."""
    own = [replace(problem, source="negative_prompt") for problem in negative.problems]
    tags = [
        Problem(
            "error",
            f"{network.name} is named in the negative prompt, where hypernetworks are not used.",
            network.span,
            "Move its tag to the prompt, or take it away.",
            "negative_prompt",
        )
        for network in negative.networks
        if network.kind == "hypernet"
    ]
    return tuple(sorted([*own, *tags], key=lambda problem: problem.span or (0, 0)))


def _scenes(node: Node, on: int, around: int, steps: int, passed: int | None) -> list[_Scene]:
    """The parts of a node, each with the steps it is in force on."""
    if isinstance(node, Editing):
        last = _last_step(node.when, steps, passed)
        early = (1 << last) - 1
        around |= (1 << last >> 1) & on & (on >> 1)
        before = [_Scene(item, on & early, around) for item in node.before or ()]
        return before + [_Scene(item, on & ~early, around) for item in node.after]
    if isinstance(node, Alternation):
        around |= on & (on >> 1)
        return [
            _Scene(item, on & _every(len(node.options), turn, steps), around)
            for turn, option in enumerate(node.options)
            for item in option
        ]
    return [_Scene(part, on, around) for part in node.parts()]


def _last_step(when: Moment, steps: int, passed: int | None) -> int:
    """The last step of what an editing begins with: 0 if it never shows, `steps` if it always does."""
    if passed is None:
        last = when.value * steps if when.fraction else when.value
    else:
        last = (when.value - 1) * steps if when.fraction else when.value - passed
    return int(max(0, min(steps, last + 1e-9)))


def _every(count: int, turn: int, steps: int) -> int:
    """The steps turn + 1, turn + 1 + count, … as bits."""
    if turn >= steps:
        return 0
    times = (steps - turn + count - 1) // count
    return ((1 << times * count) - 1) // ((1 << count) - 1) << turn


def _stages(pieces: list[_Piece], switches: int, faint: int, steps: int) -> tuple[Stage, ...]:
    """The text between one switch and the next; `faint` are switches of spaces alone, which count if the text differs.

    Each combination of what is in force is put together once.
    """
    merged = _merged(pieces)
    sets = {piece.steps for piece in merged}
    texts: dict[tuple[int, ...], str] = {}
    stages: list[Stage] = []
    first = 1
    for last in [step for step in range(1, steps) if faint >> (step - 1) & 1] + [steps]:
        state = tuple([on >> (first - 1) & 1 for on in sets])
        if state not in texts:
            texts[state] = _text_at(merged, first)
        if stages and stages[-1].text == texts[state] and not switches >> (first - 2) & 1:
            first = stages.pop().first
        stages.append(Stage(first, last, texts[state]))
        first = last + 1
    return tuple(stages)


def _merged(pieces: list[_Piece]) -> list[_Piece]:
    """Neighbours of one kind made one, so that plain text costs nothing per step."""
    merged: list[tuple[list[str], _Piece]] = []
    for piece in pieces:
        if not piece.steps and piece.text is not None:
            continue
        if piece.text is None:
            merged.append(([], piece))
        elif merged and merged[-1][1].text is not None and merged[-1][1].steps == piece.steps:
            merged[-1][0].append(piece.text)
        else:
            merged.append(([piece.text], piece))
    return [piece if piece.text is None else _Piece("".join(texts), piece.steps) for texts, piece in merged]


def _text_at(pieces: list[_Piece], step: int) -> str:
    """The text at a step, the spaces around a removed tag folded into one; at either end of the text, into none."""
    bit = 1 << (step - 1)
    text: list[str] = []
    spaced, removed = True, False
    for piece in pieces:
        if piece.text is None:
            removed = True
        elif piece.steps & bit and piece.text:
            shown = piece.text.lstrip() if removed and spaced else piece.text
            if shown:
                text.append(shown)
                spaced, removed = shown[-1].isspace(), False
    return "".join(text).rstrip() if removed else "".join(text)


def _complaints(node: Node, options: ScheduleOptions) -> list[Problem]:
    """What looks like a tag and is text."""
    if isinstance(node, NetworkTag) and node.kind not in options.kinds:
        message = f"There is no kind of network named {node.kind}; {node.text} is read as text."
        return [Problem("warning", message, node.span, f"The kinds are {', '.join(sorted(options.kinds))}.")]
    if isinstance(node, NetworkTag):
        message = f"{node.text} names no network; it is read as text."
        return [Problem("error", message, node.span, f"Write <{node.kind}:name:1>.")]
    if isinstance(node, Unclosed) and node.kind in options.kinds:
        message = f"{node.text} begins a tag that does not end; it is read as text."
        quoted = f'Quotes stand round the whole name: <{node.kind}:"a name":1>.'
        return [Problem("error", message, node.span, quoted if '"' in node.text else "Close it with >.")]
    return []
