"""`bake`: a model with its networks merged into it. Prints JSON: one answer, or the list of a batch's answers."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from app.cli.models import Answer, model_at, networks_in, schedule_options, tell
from app.engine.bake import DTYPES, BakeJob
from app.engine.bake import bake as baked
from app.engine.workshop import Workshop
from app.errors import PatchbayError, RequestError
from app.networks.catalog import Catalog
from app.settings import SettingsStore

FIELDS = ("model", "prompt", "out", "networks", "dtype", "step", "steps")
"""What a job says: the options of the command, by their names."""


def bake(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Bake one model, or every job of a batch; 1 where something that was asked for is not in what was written."""
    bench = Bench(settings)
    if arguments.batch is None:
        answer = bench.bake({name: getattr(arguments, name) for name in FIELDS})
        print(json.dumps(answer))
        return _told(answer)
    answers = [_tried(bench.bake, job) for job in _batch(arguments.batch)]
    print(json.dumps(answers))
    return max(map(_told, answers), default=0)


class Bench:
    """Makes jobs of what was asked, and keeps open what they share."""

    def __init__(self, settings: SettingsStore) -> None:
        self._settings = settings
        self._workshop = Workshop(settings.current.networks.loader)
        self._catalogs: dict[str, Catalog] = {}

    def bake(self, job: object) -> Answer:
        """The answer to one job.

        Raises:
            PatchbayError: the job cannot be done.
        """
        return baked(self._job(job), self._workshop).as_json()

    def _job(self, job: object) -> BakeJob:
        if not isinstance(job, Mapping):
            raise RequestError("It is not a JSON object.", where="job")
        unknown = sorted(str(name) for name in job if name not in FIELDS)
        if unknown:
            raise RequestError("There is no such field.", where=unknown[0], hint=f"They are {', '.join(FIELDS)}.")
        steps = _number(job, "steps") or self._settings.current.generation.steps
        step = _number(job, "step")
        if step is not None and not 1 <= step <= steps:
            raise RequestError(f"{step} is not one of {steps} steps.", where="step")
        dtype = _text(job, "dtype", "")
        if dtype and dtype not in DTYPES:
            raise RequestError(f"{dtype!r} is none of {', '.join(DTYPES)}.", where="dtype")
        return BakeJob(
            model=model_at(_text(job, "model"), self._settings),
            prompt=_text(job, "prompt"),
            out=_path(_text(job, "out")),
            networks=self._catalog(_text(job, "networks", "")),
            dtype=dtype,
            step=step,
            steps=steps,
            options=schedule_options(self._settings),
        )

    def _catalog(self, folder: str) -> Catalog:
        if folder not in self._catalogs:
            self._catalogs[folder] = networks_in(Path(folder) if folder else None, self._settings)
        return self._catalogs[folder]


def _path(text: str) -> Path:
    return Path(text).expanduser().absolute()


def _text(job: Mapping[str, Any], name: str, default: str | None = None) -> str:
    """A field that is text; without a default it must be there."""
    value = job.get(name)
    if value is None and default is not None:
        return default
    if isinstance(value, Path):
        return str(value)
    if not isinstance(value, str) or (default is None and not value.strip()) or "\0" in value:
        what = "It is missing." if value is None else "It is not a text."
        raise RequestError(what, where=name)
    return value


def _number(job: Mapping[str, Any], name: str) -> int | None:
    value = job.get(name)
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise RequestError(f"{value!r} is not a whole number.", where=name)
    return value


def _batch(source: str) -> list[object]:
    """The JSON list of a file, or (`-`) of standard input."""
    try:
        text = sys.stdin.read() if source == "-" else Path(source).read_text(encoding="utf-8")
        jobs = json.loads(text)
    except (OSError, ValueError, RecursionError) as error:
        raise RequestError(f"The batch cannot be read: {error}", where=source) from error
    if not isinstance(jobs, list):
        raise RequestError("The batch is not a JSON list.", where=source)
    return jobs


def _tried(bake: Callable[[object], Answer], job: object) -> Answer:
    """The answer to a job, or what kept it from being done."""
    try:
        return bake(job)
    except PatchbayError as error:
        return error.as_json()


def _told(answer: Answer) -> int:
    if "error" in answer:
        print(answer["detail"], file=sys.stderr)
        return 1
    return tell(answer)
