"""A model with its networks merged into it, as a folder of its own."""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from app.diffusion.saving import save_model
from app.diffusion.stored import StoredModel
from app.engine.workshop import MatchedTag, Workshop, formed
from app.errors import Problem, StorageError
from app.networks.catalog import Catalog
from app.patching.kernels import Job, Scratch, Term, merge, precise
from app.patching.plan import PatchPlan, plan
from app.prompt.schedule import ScheduleOptions, schedule

MARK = "patchbay-bake.json"
"""What tells a baked folder from another: what it was made of."""

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}
)


@dataclass(frozen=True, slots=True)
class BakeJob:
    """What to bake, and where. `dtype` (a key of `DTYPES`) is what is written; "" keeps each weight's own.

    A schedule's strengths are those of `step` of `steps`; `step` None is the first, with a warning.
    """

    model: Path
    prompt: str
    out: Path
    networks: Catalog
    dtype: str = ""
    step: int | None = None
    steps: int = 20
    options: ScheduleOptions = ScheduleOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Baked:
    """What was written, and what there is to tell of it."""

    out: Path
    networks: tuple[MatchedTag, ...]
    problems: tuple[Problem, ...]

    @property
    def failed(self) -> bool:
        """Whether something of the prompt is not in the model."""
        return any(problem.level == "error" for problem in self.problems)

    def as_json(self) -> dict[str, object]:
        """What `bake` prints."""
        return {
            "out": str(self.out),
            "networks": [network.as_json() for network in self.networks],
            "problems": [problem.as_json() for problem in self.problems],
        }


def bake(job: BakeJob, workshop: Workshop) -> Baked:
    """Write the model with W = W₀ + Σ sᵢΔᵢ, summed in float32 and rounded once, for every weight the prompt changes.

    A network that cannot be used changes nothing, and is an error among the problems; the rest is written.

    Raises:
        CheckpointError: the model cannot be read.
        StorageError: the folder cannot be written, or is there already and is no baked model.
        RequestError: `steps` is out of bounds.
    """
    _check_place(job)
    model = workshop.model(job.model)
    prompt = schedule(job.prompt, job.steps, job.options)
    matched = workshop.matched(model, job.networks, prompt)
    planned = plan(matched.pairs, model.modules, job.steps)
    problems = [*matched.problems, *planned.problems]
    if job.step is None and planned.scheduled:
        message = f"The strengths change over the steps; those of step 1 of {job.steps} are in the model."
        problems.append(Problem("warning", message, hint="Choose another with --step."))
    problems += [_words(one) for one in matched.tags if one.match.network.embeddings]
    merged, overflows = _merged(model, planned, job)
    problems += [_overflow(name) for name in overflows]
    problems += _biasless([name for name in planned.patches if model.lacks(name)])
    with _new_folder(job.out) as folder:
        save_model(model, folder, merged, DTYPES.get(job.dtype))
        (folder / MARK).write_text(json.dumps(_told(job)) + "\n", encoding="utf-8")
    return Baked(job.out, matched.tags, tuple(problems))


def _told(job: BakeJob) -> dict[str, object]:
    return {"model": job.model.name, "prompt": job.prompt, "step": job.step or 1, "steps": job.steps}


def _merged(model: StoredModel, planned: PatchPlan, job: BakeJob) -> tuple[dict[str, Tensor], list[str]]:
    """Every weight that the plan changes at the step, in its stored shape; and the names of those that overflow."""
    scratch = Scratch()
    merged, overflows = {}, []
    for name, patches in planned.patches.items():
        strengths = [(one, one.strengths[(job.step or 1) - 1]) for one in patches]
        if model.lacks(name) or not any(strength for _, strength in strengths):
            continue
        stored = model.tensor(name)
        base = stored.reshape(model.shape(name))
        weight = torch.empty(base.shape, dtype=DTYPES.get(job.dtype, base.dtype))
        with precise():
            terms = [Term(formed(one, name, model), strength) for one, strength in strengths if strength]
            merge(Job(weight, base, terms), scratch)
        if not bool(torch.isfinite(weight.float()).all()):
            overflows.append(name)
        merged[name] = weight.reshape(stored.shape)
    return merged, overflows


def _words(one: MatchedTag) -> Problem:
    words = ", ".join(one.match.network.embeddings)
    message = f"{one.tag.name}: its bundled words ({words}) cannot become part of a model."
    return Problem("warning", message, one.tag.span, "Put them in the embeddings folder to use them.")


def _biasless(names: Sequence[str]) -> list[Problem]:
    """A studio adds a bias to a layer without one while it generates; a model's files have no place for it."""
    if not names:
        return []
    message = f"{len(names)} biases are left out, {names[0]} first: the model's layer has none, and its files no place."
    return [Problem("error", message)]


def _overflow(name: str) -> Problem:
    hint = "Lower the strength, or choose --dtype fp32."
    return Problem("error", f"{name} is not finite any more.", hint=hint)


def _check_place(job: BakeJob) -> None:
    """Refuse to write over what may be someone's work."""
    out, model = job.out.resolve(), job.model.resolve()
    if out == model or model in out.parents or out in model.parents:
        raise StorageError("The baked model cannot lie within the model it is made of, or around it.", where=str(out))
    if not out.exists():
        return
    if not out.is_dir():
        raise StorageError("This is a file, not a folder.", where=str(out))
    if any(out.iterdir()) and not (out / MARK).is_file():
        hint = "Choose an empty or a new folder."
        raise StorageError("The folder holds something else than a baked model.", where=str(out), hint=hint)


@contextmanager
def _new_folder(out: Path) -> Iterator[Path]:
    """A folder beside `out` that takes its place when the block is done, or is gone if it fails.

    Raises:
        StorageError: something cannot be written; `out` is as it was.
    """
    mark = secrets.token_hex(6)
    made, old = out.with_name(f".{out.name}.{mark}.new"), out.with_name(f".{out.name}.{mark}.old")
    try:
        made.mkdir(parents=True)
        yield made
        if out.exists():
            out.rename(old)
        made.rename(out)
    except OSError as error:
        if old.exists() and not out.exists():
            old.rename(out)
        raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(out)) from error
    finally:
        shutil.rmtree(made, ignore_errors=True)
        if out.exists():
            shutil.rmtree(old, ignore_errors=True)
