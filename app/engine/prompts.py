"""A request's prompts on the loaded model: what is said, by which networks, at which strengths, and what is wrong."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.engine.encodings import Texts
from app.engine.model import LoadedModel
from app.engine.networks import Bound
from app.errors import Problem, PromptError
from app.generation.request import GenerationRequest
from app.patching.plan import PatchPlan, plan
from app.prompt.schedule import ScheduleOptions, negative_problems, schedule
from app.settings import Settings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request whose prompts can be generated as written. `problems` are warnings alone."""

    request: GenerationRequest
    texts: Texts
    bound: Bound
    plan: PatchPlan
    word_hashes: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]


def prepare(request: GenerationRequest, model: LoadedModel, settings: Settings) -> Prepared:
    """Parse both prompts, find and match their networks and words, and plan every strength.

    Raises:
        PromptError: the prompts cannot be generated as written; it carries every problem. With the setting
            `networks.missing_network = "warn"`, what cannot be used is left out and said instead.
    """
    options = ScheduleOptions(
        settings.networks.default_strength if request.default_strength is None else request.default_strength,
        request.schedule_separator or settings.networks.schedule_separator,
    )
    positive = schedule(request.prompt, request.steps, options)
    negative = schedule(request.negative_prompt, request.steps, options)
    bound = model.binder.bind(positive.networks)
    planned = plan(bound.pairs, model.checkpoint.components, request.steps)
    words = model.words.find(
        {"prompt": request.prompt, "negative_prompt": request.negative_prompt}, [match for _, match in bound.pairs]
    )
    problems = (*positive.problems, *negative_problems(negative), *bound.problems, *planned.problems, *words.problems)
    if settings.networks.missing_network == "warn":
        problems = tuple(replace(problem, level="warning") for problem in problems)
    refuse(problems)
    if positive.networks:
        request = replace(request, default_strength=options.default_strength, schedule_separator=options.separator)
    networks = tuple((use.sha256, use.name) for use in (network.use for network in bound.networks))
    hashes = tuple(sorted(words.hashes.items()))
    texts = Texts(positive, negative, words.vocabulary, planned, networks, (hashes, networks))
    return Prepared(request, texts, bound, planned, hashes, problems)


def refuse(problems: Iterable[Problem]) -> None:
    """Raise what stands in the way.

    Raises:
        PromptError: with every problem, if any is an error.
    """
    problems = tuple(problems)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise PromptError(f"{errors[0]}{more}", problems=problems)
