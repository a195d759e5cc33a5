"""`generate PROMPT`: images from the command line, by the same engine as the page's."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from app.cli.studio import load_extensions, open_engine
from app.engine.engine import Engine
from app.engine.grid import NOTHING, cells, read_axis
from app.engine.library import Library
from app.errors import PatchbayError, StorageError
from app.generation.choices import find_sampler
from app.generation.png import png_bytes, read_picture, save_png
from app.generation.request import GenerationRequest
from app.generation.result import GeneratedImage, GenerationResult, Progress
from app.generation.sheet import contact_sheet
from app.settings import SettingsStore, write_atomically

GIVEN = (
    "prompt", "negative_prompt", "seed", "steps", "cfg_scale", "batch_size", "clip_skip", "checkpoint", "vae",
    "denoising_strength", "hires_scale", "hires_steps", "hires_upscaler",
)  # fmt: skip


def generate(arguments: argparse.Namespace, settings: SettingsStore) -> int:
    """Make the images, write them, say where they are."""
    request = request_of(arguments, settings)
    if arguments.out is not None:
        _prepare(arguments.out)
    with open_engine(settings, load_extensions()) as engine:
        if arguments.x or arguments.y:
            result = _grid(engine, request, arguments)
        else:
            result = _followed(engine.generate(request))
    files = _written(result, arguments.out, settings)
    for problem in result.problems:
        print(problem, file=sys.stderr)
    if arguments.json:
        print(json.dumps(_report(result, files)))
    else:
        print("\n".join(map(str, files)))
    return 0


def request_of(arguments: argparse.Namespace, settings: SettingsStore) -> GenerationRequest:
    """The request of the options, and of the settings where there is no option.

    Raises:
        RequestError: an option is out of bounds, or the picture cannot be read.
    """
    usual = Library.of(settings.folders).usual(settings.current.generation, arguments.checkpoint or "")
    defaults = GenerationRequest(**usual.model_dump())
    given: dict[str, Any] = {name: getattr(arguments, name) for name in GIVEN}
    if arguments.init:
        given["init_image"] = read_picture(arguments.init)
    if arguments.size:
        given["width"], given["height"] = arguments.size
    if arguments.sampler or arguments.schedule_type:
        wanted = arguments.schedule_type or ("" if arguments.sampler else defaults.schedule_type)
        given["sampler"], given["schedule_type"] = find_sampler(arguments.sampler or defaults.sampler, wanted)
    return replace(defaults, **{name: value for name, value in given.items() if value is not None}).checked()


def _prepare(out: Path) -> None:
    """Make the folder of `out` now, rather than find out after the work that it cannot be made."""
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"The folder cannot be made: {error.strerror or error}.", where=str(out.parent)) from error
    if out.is_dir():
        raise StorageError("This is a folder; --out names a file.", where=str(out))


def _followed(news: Iterator[Progress | GenerationResult]) -> GenerationResult:
    """Show progress on standard error until the result comes."""
    with tqdm(unit="step", file=sys.stderr, disable=None, leave=False) as bar:
        for each in news:
            if isinstance(each, GenerationResult):
                return each
            bar.total = each.steps or None
            bar.n = each.step
            bar.set_description(each.message or each.state)
    raise PatchbayError("The generation ended without a result.")


def _grid(engine: Engine, request: GenerationRequest, arguments: argparse.Namespace) -> GenerationResult:
    """One picture of many, with what each row and each column is written beside it."""
    across, down = (read_axis(text) if text else NOTHING for text in (arguments.x, arguments.y))
    made = [[_followed(engine.generate(cell)) for cell in row] for row in cells(request, across, down)]
    every = [result for row in made for result in row]
    pictures = [[result.images[0].image for result in row] for row in made]
    sheet = contact_sheet(pictures, across.labels, down.labels if arguments.y else ())
    first = every[0].images[0]
    return replace(
        every[0],
        images=(GeneratedImage(sheet, first.request, first.infotext),),
        problems=tuple(dict.fromkeys(problem for result in every for problem in result.problems)),
        seconds=sum(result.seconds for result in every),
        timings={},
    )


def _written(result: GenerationResult, out: Path | None, settings: SettingsStore) -> list[Path]:
    """The images' files: as `--out` says, else where the engine or the settings put them."""
    files = []
    for index, made in enumerate(result.images):
        if out is None:
            folder = settings.folders.outputs
            files.append(made.path or save_png(made.image, made.infotext, folder, seed=made.request.seed))
            continue
        path = out if len(result.images) == 1 else out.with_stem(f"{out.stem}-{index + 1}")
        try:
            write_atomically(path, png_bytes(made.image, made.infotext))
        except OSError as error:
            message = f"The image cannot be written: {error.strerror or error}."
            raise StorageError(message, where=str(path)) from error
        files.append(path)
    return files


def _report(result: GenerationResult, files: list[Path]) -> dict[str, Any]:
    return {
        "images": [
            {"seed": made.request.seed, "file": str(file), "infotext": made.infotext}
            for made, file in zip(result.images, files, strict=True)
        ],
        "seed": result.request.seed,
        "file": str(files[0]) if files else None,
        "interrupted": result.interrupted,
        "seconds": result.seconds,
        "timings": result.timings,
        "problems": [problem.as_json() for problem in result.problems],
    }
