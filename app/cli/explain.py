"""`explain PROMPT`: what a prompt means, step by step. No model, no torch."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable
from pathlib import Path

from app.cli.studio import load_extensions
from app.errors import RequestError
from app.prompt.explain import Explanation, explain_batch, render
from app.prompt.explain import explain as explained
from app.prompt.schedule import KINDS, ScheduleOptions
from app.settings import SettingsStore


def explain(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Print the meaning of one prompt, or of each in a batch; 1 when one of them has an error."""
    networks = settings.current.networks
    kinds = KINDS.union(kind.name for kind in load_extensions().network_kinds)
    options = ScheduleOptions(networks.default_strength, networks.schedule_separator, kinds)
    if arguments.batch is not None:
        answers = explain_batch(_batch(arguments.batch), options)
        print(json.dumps(answers, ensure_ascii=False))
        return _told(answers)
    if arguments.prompt is None:
        raise RequestError("There is no prompt.", where="explain", hint="Give one, or --batch -.")
    answer = explained(arguments.prompt, arguments.negative, arguments.steps, options)
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        print(render(answer), end="")
    return _told([answer])


def _batch(source: str) -> object:
    """The JSON of a file, or (`-`) of standard input."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        return json.loads(text)
    except (OSError, ValueError) as error:
        raise RequestError(f"The batch cannot be read: {error}", where=source) from error


def _told(answers: Iterable[Explanation]) -> int:
    """Each error on standard error; the exit status."""
    errors = [problem for answer in answers for problem in answer["problems"] if problem["level"] == "error"]
    for problem in errors:
        where = f" ({problem['source']}, character {problem['span'][0]})" if problem["span"] else ""
        print(f"{problem['message']}{where} {problem['hint']}".rstrip(), file=sys.stderr)
    return 1 if errors else 0
