"""Several networks as one file: their sum, exact where the rank allows, else the nearest of that rank."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from app.diffusion.stored import StoredModel
from app.engine.low_rank import Factored, nearest, stacked
from app.engine.workshop import MatchedTag, Workshop, formed
from app.errors import NetworkError, Problem, StorageError
from app.networks.catalog import Catalog
from app.networks.header import read_header
from app.networks.writing import VERSIONS, FileNames
from app.patching.kernels import precise
from app.patching.plan import PlannedPatch, plan
from app.prompt.schedule import ScheduleOptions, schedule
from app.settings import write_atomically

STEPS = 200
"""Steps that the tags are looked at over, to tell a schedule from a strength."""
SOURCES = "patchbay.sources"
"""The metadata field that tells a file of ours: what it was made of, as JSON."""


@dataclass(frozen=True, slots=True)
class ExtractJob:
    """What to write, and where. `rank` 0 is as many ranks as the sum needs."""

    model: Path
    prompt: str
    out: Path
    networks: Catalog
    rank: int = 0
    dtype: torch.dtype = torch.float32
    options: ScheduleOptions = ScheduleOptions()  # noqa: RUF009 - frozen


@dataclass(frozen=True, slots=True)
class Loss:
    """How far the file is from the sum: Frobenius norms, relative to the sum's; `optimum` is the least possible."""

    error: float
    optimum: float
    module: str = ""


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was written; `out` is None where nothing was, for the errors among the problems."""

    out: Path | None
    networks: tuple[MatchedTag, ...]
    problems: tuple[Problem, ...]
    modules: int = 0
    ranks: tuple[int, ...] = ()
    loss: Loss = Loss(0.0, 0.0)
    worst: Loss = Loss(0.0, 0.0)

    def as_json(self) -> dict[str, object]:
        """What `extract` prints."""
        return {
            "out": str(self.out) if self.out else None,
            "networks": [network.as_json() for network in self.networks],
            "modules": self.modules,
            "rank": max(self.ranks, default=0),
            "error": self.loss.error,
            "optimum": self.loss.optimum,
            "worst": {"module": self.worst.module, "error": self.worst.error, "optimum": self.worst.optimum},
            "problems": [problem.as_json() for problem in self.problems],
        }


def extract(job: ExtractJob, workshop: Workshop) -> Extracted:
    """Write Σ sᵢΔᵢ of the prompt's networks on the model as one LoRA file. With an error, nothing is written.

    Raises:
        CheckpointError: the model cannot be read.
        NetworkError: a network's delta does not fit.
        StorageError: the file cannot be written, or is there already and is not of our making.
    """
    _check_place(job.out)
    model = workshop.model(job.model)
    matched = workshop.matched(model, job.networks, schedule(job.prompt, STEPS, job.options))
    planned = plan(matched.pairs, model.modules, STEPS)
    problems = (*matched.problems, *planned.problems, *_schedules(matched.tags))
    if not matched.tags and not problems:
        problems = (Problem("error", "The text names no network.", hint="Write <lora:name:1>."),)
    if any(problem.level == "error" for problem in problems):
        return Extracted(None, matched.tags, problems)
    sums = _Sums(model, job.rank, job.dtype)
    with precise():
        for name, patches in planned.patches.items():
            sums.add(name, patches)
    if not sums.tensors:
        problems = (*problems, Problem("error", "The networks change nothing of this model."))
        return Extracted(None, matched.tags, problems)
    made = Extracted(job.out, matched.tags, problems, len(sums.losses), tuple(sums.ranks), sums.loss, sums.worst)
    _write(job.out, sums.tensors, _metadata(made, model.family))
    return made


def _schedules(tags: Sequence[MatchedTag]) -> list[Problem]:
    """A file has one strength, so a schedule cannot be in it."""
    return [
        Problem("error", f"{one.tag.name}: a schedule cannot become part of a file.", one.tag.span, "Give one number.")
        for one in tags
        if any(len(set(curve)) > 1 for curve in one.tag.strengths.values())
    ]


class _Sums:
    """The sum of all patches of each parameter, as the tensors of a file."""

    def __init__(self, model: StoredModel, rank: int, dtype: torch.dtype) -> None:
        self.tensors: dict[str, Tensor] = {}
        self.ranks: list[int] = []
        self.losses: list[tuple[str, float, float, float]] = []
        """Of each parameter: its name, and the squares of the sum's norm, of the error, and of the least error."""
        self._model = model
        self._rank = rank
        self._dtype = dtype
        unet = model.modules.get("unet")
        names = frozenset(name for name, _ in unet.named_modules()) if unet is not None else frozenset()
        self._names = FileNames.of(model.components.keys(), model.family, names)

    def add(self, name: str, patches: Sequence[PlannedPatch]) -> None:
        """Write the sum of a parameter's patches."""
        component, _, path = name.partition(".")
        parent, _, leaf = path.rpartition(".")
        if leaf.startswith("in_proj_"):
            parent, leaf = f"{parent}.in_proj".lstrip("."), leaf.removeprefix("in_proj_")
        module = self._names.module(component, parent)
        shape = self._model.shape(name)
        terms = [(formed(one, name, self._model), one.strengths[0]) for one in patches]
        found = stacked(terms, shape, self._rank)
        if isinstance(found, Tensor) and self._rank and len(shape) > 1 and not self._embeds(name):
            found = nearest(found, self._rank)
        if isinstance(found, Tensor):
            delta = found.to(self._dtype)
            normalises = len(self._model.shape(f"{name.removesuffix(leaf)}weight")) == 1
            self.tensors |= self._names.whole(module, leaf, delta.contiguous(), normalises=normalises)
            self._note(name, found, delta.float(), 0.0)
        else:
            self._add_factored(name, module, shape, found)

    def _add_factored(self, name: str, module: str, shape: tuple[int, ...], found: Factored) -> None:
        up, down = found.up.to(self._dtype), found.down.to(self._dtype)
        rank = down.shape[0]
        taps = shape[2:]
        self.tensors |= self._names.low_rank(
            module,
            up.reshape(shape[0], rank, *(1 for _ in taps)).contiguous(),
            down.reshape(rank, shape[1], *taps).contiguous(),
        )
        self.ranks.append(rank)
        self._note(name, found.whole, up.float() @ down.float(), found.tail)

    def _note(self, name: str, wanted: Tensor, written: Tensor, tail: float) -> None:
        if not bool(torch.isfinite(written).all()):
            raise NetworkError("Its sum is too large for the dtype.", where=name, hint="Choose --dtype fp32.")
        norm = float(wanted.double().square().sum())
        error = float((wanted.double().flatten() - written.double().flatten()).square().sum())
        self.losses.append((name, norm, error, tail))

    def _embeds(self, name: str) -> bool:
        component, _, path = name.partition(".")
        module = self._model.components[component].module.get_submodule(path.rpartition(".")[0])
        return isinstance(module, nn.Embedding)

    @property
    def loss(self) -> Loss:
        """Of the whole file."""
        norm = sum(row[1] for row in self.losses)
        return Loss(_ratio(sum(row[2] for row in self.losses), norm), _ratio(sum(row[3] for row in self.losses), norm))

    @property
    def worst(self) -> Loss:
        """Of the parameter that lost most."""
        name, norm, error, tail = max(self.losses, key=lambda row: _ratio(row[2], row[1]))
        return Loss(_ratio(error, norm), _ratio(tail, norm), name)


def _ratio(square: float, norm: float) -> float:
    return float((square / norm) ** 0.5) if norm else 0.0


def _metadata(made: Extracted, family: str) -> dict[str, str]:
    """What other tools read: kohya's ss_ fields and modelspec; and our own, with the sources and the loss."""
    names = list(dict.fromkeys(one.tag.name for one in made.networks))
    words = dict.fromkeys(word for one in made.networks for word in one.file.trigger_words)
    rank = str(made.ranks[0]) if len(set(made.ranks)) == 1 else "Dynamic"
    stem = made.out.stem if made.out else ""
    sources = [
        {"name": one.tag.name, "strengths": {key: curve[0] for key, curve in one.tag.strengths.items()}}
        | ({"autov3": one.file.autov3} if one.file.autov3 else {})
        for one in made.networks
    ]
    told = {
        "format": "pt",
        "ss_network_module": "networks.lora",
        "ss_network_dim": rank,
        "ss_network_alpha": rank,
        "ss_output_name": stem,
        "modelspec.sai_model_spec": "1.0.0",
        "modelspec.title": stem,
        "modelspec.merged_from": ", ".join(names),
        "modelspec.trigger_phrase": ", ".join(words),
        SOURCES: json.dumps(sources),
        "patchbay.error": repr(made.loss.error),
        "patchbay.optimum": repr(made.loss.optimum),
    }
    if family in VERSIONS:
        version, architecture = VERSIONS[family]
        told |= {"ss_base_model_version": version, "ss_v2": str(family == "sd2")}
        told |= {"modelspec.architecture": f"{architecture}/lora"}
    return {key: value for key, value in told.items() if value}


def _check_place(out: Path) -> None:
    """Refuse to write over what may be someone's work."""
    if out.suffix.lower() != ".safetensors":
        raise StorageError("The file's name does not end in .safetensors.", where=str(out))
    if out.is_dir():
        raise StorageError("This is a folder.", where=str(out))
    if out.exists() and SOURCES not in _written_metadata(out):
        raise StorageError("There is a file that was not extracted here.", where=str(out), hint="Choose another name.")


def _written_metadata(path: Path) -> Mapping[str, str]:
    try:
        return read_header(path).metadata
    except NetworkError:  # whatever it is, it is not ours
        return {}


def _write(out: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    try:
        write_atomically(out, save(tensors, metadata))
    except OSError as error:
        raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(out)) from error
