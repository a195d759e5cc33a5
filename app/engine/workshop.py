"""Models on disk and the networks that a prompt names for them: what baking and extracting begin with."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import prod
from pathlib import Path

from app.diffusion.stored import StoredModel
from app.diffusion.stored_file import open_model
from app.engine.matching import Loader
from app.engine.networks import NetworkBinder
from app.errors import NetworkError, Problem
from app.networks.catalog import Catalog, NetworkFile
from app.networks.resolve import Match
from app.patching.kernels import Dense, Formed, LowRank
from app.patching.plan import PlannedPatch
from app.prompt.schedule import PromptSchedule, ScheduledNetwork


@dataclass(frozen=True, slots=True)
class MatchedTag:
    """A tag, and what the network it names is on the model. One that does not fit has no patches."""

    tag: ScheduledNetwork
    file: NetworkFile
    match: Match

    def as_json(self) -> dict[str, object]:
        """The network as the commands print it; `unmatched` and `mismatched` are the file's modules."""
        return {
            "name": self.tag.name,
            "matched": self.match.matched,
            "unmatched": list(self.match.unmatched),
            "mismatched": list(self.match.mismatched),
            "base_model": self.match.network.base.family,
        }


@dataclass(frozen=True, slots=True)
class MatchedPrompt:
    """The networks of a prompt that were found, and what there is to tell of all of them."""

    tags: tuple[MatchedTag, ...]
    problems: tuple[Problem, ...]

    @property
    def pairs(self) -> tuple[tuple[ScheduledNetwork, Match], ...]:
        """What a plan is made of."""
        return tuple((one.tag, one.match) for one in self.tags)


def formed(planned: PlannedPatch, name: str, model: StoredModel) -> Formed:
    """The delta of a patch for the parameter `name`, in float32: factored where it is of low rank.

    Raises:
        NetworkError: the delta has not the shape of the parameter.
        CheckpointError: a weight that the delta depends on is not in the model's files.
    """
    patch = planned.patch if planned.ranks is None else planned.patch.truncated(planned.ranks)
    shape = model.shape(name)
    factors = patch.factors()
    if factors is None:
        delta = patch.delta(model.pristine)
        if tuple(delta.shape) != shape:
            raise NetworkError(f"a delta of {tuple(delta.shape)} cannot be added to one of {shape}.", where=name)
        return Dense(delta)
    up, down = factors
    if up.shape[0] != shape[0] or shape[0] * down.shape[1] != prod(shape):
        message = f"a delta of {tuple(up.shape)} times {tuple(down.shape)} cannot be added to one of {shape}."
        raise NetworkError(message, where=name)
    return LowRank(up, down)


class Workshop:
    """Keeps the models it has opened, and what was matched with them, while their files are the same."""

    def __init__(self, loader: Loader = "native") -> None:
        self._loader: Loader = loader
        self._models: dict[Path, StoredModel] = {}
        self._binders: dict[tuple[int, Catalog], NetworkBinder] = {}

    def model(self, path: Path) -> StoredModel:
        """The model of a folder or a file.

        Raises:
            CheckpointError: naming what is missing or is not what it should be.
        """
        model = self._models.get(path)
        if model is None or model.changed:
            model = self._models[path] = open_model(path)
            self._binders.clear()
        return model

    def matched(self, model: StoredModel, catalog: Catalog, prompt: PromptSchedule) -> MatchedPrompt:
        """Every network of the prompt on the model. What is missing, unreadable or for another base is an error."""
        binder = self._binders.get((id(model), catalog))
        if binder is None:
            binder = NetworkBinder(catalog, model.modules, model.family)
            self._binders[id(model), catalog] = binder
        tags: list[MatchedTag] = []
        problems = list(prompt.problems)
        for tag in prompt.networks:
            if tag.kind != "lora":
                problems.append(Problem("error", f"{tag.name}: a {tag.kind} cannot become part of a model.", tag.span))
                continue
            try:
                file = catalog.find(tag.name)
                match = binder.match(file, self._loader)
            except NetworkError as error:
                problems.append(Problem("error", f"{tag.name}: {error.message}", tag.span, error.hint))
                continue
            tags.append(MatchedTag(tag, file, match))
            problems += [replace(one, span=tag.span, source="prompt") for one in match.problems]
            problems += [replace(one, span=tag.span, source="prompt") for one in match.network.problems]
        return MatchedPrompt(tuple(tags), tuple(problems))
