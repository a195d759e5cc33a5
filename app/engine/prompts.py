"""A reading on the loaded model: where its networks act, at which strengths, and which words it uses."""

from __future__ import annotations

from dataclasses import dataclass

from app.engine.encodings import Texts
from app.engine.model import LoadedModel
from app.engine.networks import Bound
from app.engine.reading import Reading, allowed, refuse
from app.errors import Problem
from app.generation.passes import Pass
from app.generation.request import GenerationRequest
from app.patching.plan import PatchPlan, plan
from app.settings.model import NetworkSettings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request whose prompts can be generated as written, over one of its passes.

    `hires` is the same for the second pass, where there is one; `problems` are warnings alone, of both.
    """

    request: GenerationRequest
    over: Pass
    texts: Texts
    bound: Bound
    plan: PatchPlan
    word_hashes: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    hires: Prepared | None = None


def prepare(reading: Reading, model: LoadedModel, settings: NetworkSettings) -> Prepared:
    """Match a reading's networks and words with the model, and plan every strength.

    Raises:
        PromptError: the prompts cannot be generated as written on this model; it carries every problem. With the
            setting `networks.missing_network = "warn"`, what cannot be used is left out and said instead.
    """
    request = reading.request
    bound = model.binder.bind(reading.files, settings.loader)
    planned = plan(bound.pairs, model.checkpoint.components, reading.over.planned)
    texts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    words = model.words.find(texts, [match for _, match in bound.pairs])
    told = allowed((*bound.problems, *planned.problems, *words.problems), settings)
    problems = (*reading.problems, *told)
    refuse(problems)
    networks = tuple((network.use.sha256, network.use.name) for network in bound.networks)
    hashes = tuple(sorted(words.hashes.items()))
    said = Texts(reading.positive, reading.negative, words.vocabulary, planned, networks, (hashes, networks))
    hires = prepare(reading.hires, model, settings) if reading.hires else None
    problems = tuple(dict.fromkeys((*problems, *(hires.problems if hires else ()))))
    return Prepared(request, reading.over, said, bound, planned, hashes, problems, hires)
