"""What a prompt means, as the record that `explain --json`, the API and the page share, and as a table to read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from app.errors import RequestError
from app.prompt.schedule import PromptSchedule, negative_problems, schedule
from app.prompt.strength import DEFAULTS, ScheduledNetwork, ScheduleOptions

Explanation = dict[str, Any]
"""steps, prompt and negative (stages), networks, problems: see `explain`."""


def explain(
    prompt: str,
    negative: str = "",
    steps: int = 20,
    options: ScheduleOptions = DEFAULTS,
) -> Explanation:
    """Both prompts over the steps, as JSON.

    `prompt` and `negative` are lists of `{"from", "to", "text"}`. `networks` has one entry per tag of the prompt, in
    order, with `strengths` of one number per step; a void tag has a problem instead. `negative_networks` are those of
    the negative prompt, which act on what it is evaluated with alone. `problems` are those of both.

    Raises:
        RequestError: steps is not a whole number from 1 to 1000.
    """
    positive, opposite = schedule(prompt, steps, options), schedule(negative, steps, options)
    return {
        "steps": steps,
        "prompt": _stages(positive),
        "negative": _stages(opposite),
        "networks": [_network(network) for network in positive.networks],
        "negative_networks": [_network(network) for network in opposite.networks if network.kind != "hypernet"],
        "problems": [problem.as_json() for problem in (*positive.problems, *negative_problems(opposite))],
    }


def explain_batch(entries: object, options: ScheduleOptions = DEFAULTS) -> list[Explanation]:
    """The explanations of a JSON list of `{"prompt", "negative", "steps"}`, where negative and steps may be left out.

    Raises:
        RequestError: the list, or an entry of it, is something else; `where` says which.
    """
    if not isinstance(entries, list):
        raise RequestError("A batch is a JSON list.", where="batch")
    return [_entry(entry, index, options) for index, entry in enumerate(entries)]


def render(explanation: Explanation) -> str:
    """The explanation as lines for a terminal."""
    lines: list[str] = []
    for name in ("prompt", "negative"):
        rows = [(f"{stage['from']}–{stage['to']}", stage["text"] or "(empty)") for stage in explanation[name]]
        lines += [f"{name}, {explanation['steps']} steps", *_columns(rows), ""]
    acting = [(network, "") for network in explanation["networks"]]
    acting += [(network, ", on the negative prompt alone") for network in explanation["negative_networks"]]
    for network, where in acting:
        lines += [_title(network) + where, *_columns(_strength_rows(network["strengths"])), ""]
    for problem in explanation["problems"]:
        where = f" ({problem['source']}, character {problem['span'][0]})" if problem["span"] else ""
        lines.append(f"{problem['level']}: {problem['message']}{where} {problem['hint']}".rstrip())
    return "\n".join(lines).rstrip() + "\n"


def _stages(scheduled: PromptSchedule) -> list[dict[str, object]]:
    return [{"from": stage.first, "to": stage.last, "text": stage.text} for stage in scheduled.stages]


def _network(network: ScheduledNetwork) -> dict[str, object]:
    """An entry of `networks`; `lbw` and `module` only where the tag has them."""
    entry: dict[str, object] = {
        "kind": network.kind,
        "name": network.name,
        "span": list(network.span),
        "dyn": network.dyn,
        "strengths": {name: list(values) for name, values in network.strengths.items()},
    }
    if network.lbw is not None:
        entry["lbw"] = list(network.lbw)
    if network.module is not None:
        entry["module"] = network.module
    return entry


def _entry(entry: object, index: int, options: ScheduleOptions) -> Explanation:
    where = f"batch[{index}]"
    if not isinstance(entry, dict) or not isinstance(entry.get("prompt"), str):
        raise RequestError('An entry is {"prompt": text, "negative": text, "steps": number}.', where=where)
    if unknown := entry.keys() - {"prompt", "negative", "steps"}:
        raise RequestError(f"{min(map(str, unknown))!r} is no field of an entry.", where=where)
    negative = entry.get("negative", "")
    if not isinstance(negative, str):
        raise RequestError(f"{negative!r} is not a text.", where=f"{where}.negative")
    try:
        return explain(entry["prompt"], negative, entry.get("steps", 20), options)
    except RequestError as error:
        raise RequestError(error.message, where=f"{where}.steps", hint=error.hint) from None


def _title(network: Mapping[str, Any]) -> str:
    extras = [f"{name} {network[name]}" for name in ("dyn", "module", "lbw") if network.get(name) is not None]
    return ", ".join([f"{network['kind']} {network['name']}", *extras])


def _strength_rows(strengths: Mapping[str, list[float]]) -> Iterable[tuple[str, str]]:
    """One row per component; steps of one strength as a run: `1–5 0.1, 6–20 0.6`."""
    for name, values in strengths.items():
        runs, first = [], 1
        for value, run in groupby(values):
            last = first + len(list(run)) - 1
            runs.append(f"{value:g}" if last - first + 1 == len(values) else f"{_range(first, last)} {value:g}")
            first = last + 1
        yield name, ", ".join(runs)


def _range(first: int, last: int) -> str:
    return f"{first}:" if first == last else f"{first}–{last}:"


def _columns(rows: Iterable[tuple[str, str]]) -> list[str]:
    rows = list(rows)
    width = max(len(left) for left, _ in rows)
    return [f"  {left:<{width}}  {right}" for left, right in rows]
