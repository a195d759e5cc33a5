"""`explain PROMPT`: what a prompt means, step by step. No model, no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from app.errors import RequestError
from app.prompt.explain import explain as explained
from app.prompt.schedule import ScheduleOptions
from app.settings import SettingsStore

MAX_STEPS = 1000


def explain(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Print the meaning of one prompt, or of each in a batch; 1 when one has an error."""
    networks = settings.current.networks
    options = ScheduleOptions(default_strength=networks.default_strength, separator=networks.schedule_separator)
    if arguments.batch is None:
        if arguments.prompt is None:
            raise RequestError("There is no prompt.", where="explain", hint="Give one, or --batch -.")
        questions = [{"prompt": arguments.prompt, "negative": arguments.negative, "steps": arguments.steps}]
    else:
        questions = _questions(arguments.batch)
    answers = [_answer(question, options) for question in questions]
    if arguments.batch is not None:
        print(json.dumps(answers, ensure_ascii=False))
    elif arguments.json:
        print(json.dumps(answers[0], ensure_ascii=False))
    else:
        print("\n".join(table(answers[0])))
    errors = [problem for answer in answers for problem in answer["problems"] if problem["level"] == "error"]
    for problem in errors if arguments.json or arguments.batch is not None else ():
        print(_told(problem), file=sys.stderr)
    return 1 if errors else 0


def _questions(source: str) -> list[dict[str, Any]]:
    """The batch: a JSON list of `{"prompt", "negative", "steps"}`, from a file or (`-`) standard input."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        questions = json.loads(text)
    except (OSError, ValueError) as error:
        raise RequestError(f"The batch cannot be read: {error}", where=source) from error
    if not isinstance(questions, list) or not all(isinstance(each, dict) for each in questions):
        raise RequestError('It is not a JSON list of {"prompt", "negative", "steps"}.', where=source)
    return questions


def _answer(question: Mapping[str, Any], options: ScheduleOptions) -> dict[str, Any]:
    prompt, negative = question.get("prompt", ""), question.get("negative") or ""
    steps = question.get("steps", 20)
    if not isinstance(prompt, str) or not isinstance(negative, str):
        raise RequestError("A prompt is a text.", where="prompt")
    if not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise RequestError(f"{steps!r} is outside 1 to {MAX_STEPS}.", where="steps")
    return dict(explained(prompt, negative, steps, options))


def table(answer: Mapping[str, Any]) -> list[str]:
    """The answer in lines for reading."""
    lines = [f"{answer['steps']} steps"]
    for name in ("prompt", "negative"):
        lines += [f"{name:>10}  {_range(stage):>9}  {stage['text']}" for stage in answer[name]]
    for network in answer["networks"]:
        lines.append(f"{network['kind']:>10}  {network['name']}")
        lines += [f"{key:>20}  {_runs(values)}" for key, values in network["strengths"].items()]
    return lines + [_told(problem) for problem in answer["problems"]]


def _range(stage: Mapping[str, Any]) -> str:
    return f"{stage['from']}-{stage['to']}" if stage["from"] != stage["to"] else str(stage["from"])


def _runs(values: Sequence[float]) -> str:
    """Strengths by ranges of steps that share one: `0.1 (1-5)  0.6 (6-20)`."""
    runs: list[tuple[float, int, int]] = []
    for step, value in enumerate(values, 1):
        if runs and runs[-1][0] == value:
            runs[-1] = (value, runs[-1][1], step)
        else:
            runs.append((value, step, step))
    if len(runs) == 1:
        return f"{runs[0][0]:g}"
    return "  ".join(f"{value:g} ({_range({'from': first, 'to': last})})" for value, first, last in runs)


def _told(problem: Mapping[str, Any]) -> str:
    span = problem.get("span")
    where = f" ({problem.get('source', 'prompt')}, character {span[0]})" if span else ""
    hint = f" {problem['hint']}" if problem.get("hint") else ""
    return f"{problem['level']}: {problem['message']}{where}{hint}"
