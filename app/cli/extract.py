"""`extract TAGS`: several networks as one LoRA file."""

from __future__ import annotations

import argparse
import json

from app.cli.models import Answer, model_at, networks_in, schedule_options, tell
from app.engine.bake import DTYPES
from app.engine.extract import ExtractJob
from app.engine.extract import extract as extracted
from app.engine.workshop import Workshop
from app.settings import SettingsStore


def extract(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Write the file and say how near it is to the networks' sum; 1 where it could not be."""
    job = ExtractJob(
        model=model_at(arguments.model, settings),
        prompt=arguments.tags,
        out=arguments.out,
        networks=networks_in(arguments.networks, settings),
        rank=arguments.rank,
        dtype=DTYPES[arguments.dtype],
        options=schedule_options(settings),
    )
    answer = extracted(job, Workshop(settings.current.networks.loader)).as_json()
    status = tell(answer)
    if arguments.json:
        print(json.dumps(answer))
    elif answer["out"]:
        print(_sentence(answer))
    return status


def _sentence(answer: Answer) -> str:
    loss = f"off by {answer['error']:.2%} of its norm, where {answer['optimum']:.2%} is the least for the rank"
    return f"{answer['out']}: {answer['modules']} modules of rank {answer['rank']} at most, {loss}."
