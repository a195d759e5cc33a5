"""A request's prompts, read without a model: what they say at each step, and the files of the networks they name.

The page shows this while one types, and a generation begins with it: what cannot be found stops it before a
checkpoint is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from app.engine.library import Library
from app.engine.triggers import Applied, TriggerOptions, apply_triggers
from app.errors import NetworkError, Problem, PromptError
from app.generation.passes import Pass, first_pass, second_pass
from app.generation.request import GenerationRequest
from app.networks.record import NetworkFile
from app.prompt.edit import tags
from app.prompt.schedule import PromptSchedule, ScheduledNetwork, ScheduleOptions, negative_problems, schedule
from app.settings.model import NetworkSettings

HYPERNET = "hypernet"


@dataclass(frozen=True, slots=True)
class Reading:
    """Both prompts over the steps, with trigger words applied; the tags whose network was found, and what is wrong.

    `request` is the one that was read, made to say all that was decided: its prompt holds the trigger words.
    `files` are the prompt's, `against` the negative prompt's. `hires` is the same for the second pass, where there is
    one; `problems` are those of both.
    """

    request: GenerationRequest
    over: Pass
    positive: PromptSchedule
    negative: PromptSchedule
    files: tuple[tuple[ScheduledNetwork, NetworkFile], ...]
    against: tuple[tuple[ScheduledNetwork, NetworkFile], ...]
    applied: Applied
    problems: tuple[Problem, ...]
    hires: Reading | None = None

    @property
    def steps(self) -> int:
        """The steps of all passes."""
        return self.over.steps + (self.hires.steps if self.hires else 0)


def read_prompts(request: GenerationRequest, library: Library, settings: NetworkSettings) -> Reading:
    """Read both prompts of a request, for each of its passes. Never raises on their text."""
    options = ScheduleOptions(
        settings.default_strength if request.default_strength is None else request.default_strength,
        request.schedule_separator or settings.schedule_separator,
        library.tags,
    )
    applied = triggered(request.prompt, library, settings)
    request = replace(request, prompt=applied.prompt)
    first, second = first_pass(request), second_pass(request)
    if tags(applied.prompt, library.tags) or tags(request.negative_prompt, library.tags):
        request = replace(request, default_strength=options.default_strength, schedule_separator=options.separator)

    def read(over: Pass) -> Reading:
        positive, negative = (
            schedule(prompt, over.planned, options, hires=over is second, base_steps=first.planned)
            for prompt in (request.prompt, request.negative_prompt)
        )
        files, missing = _files(positive.networks, library)
        ordered = sorted((*positive.problems, *missing), key=lambda problem: problem.span or (0, 0))
        against, lost = _files((one for one in negative.networks if one.kind != HYPERNET), library)
        problems = (*ordered, *negative_problems(negative), *told_of_negative(lost))
        return Reading(request, over, positive, negative, files, against, applied, allowed(problems, settings))

    reading = read(first)
    if second is None:
        return reading
    hires = read(second)
    return replace(reading, hires=hires, problems=tuple(dict.fromkeys((*reading.problems, *hires.problems))))


def told_of_negative(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Problems of tags, as of those of the negative prompt."""
    return tuple(replace(problem, source="negative_prompt") for problem in problems)


def allowed(problems: Iterable[Problem], settings: NetworkSettings) -> tuple[Problem, ...]:
    """The problems as the settings see them: where what cannot be used may be left out, errors are warnings."""
    if settings.missing_network == "warn":
        return tuple(replace(problem, level="warning") for problem in problems)
    return tuple(problems)


def refuse(problems: Iterable[Problem]) -> None:
    """Let nothing be made from something other than what the prompts say.

    Raises:
        PromptError: there is an error among the problems; it carries them all.
    """
    problems = tuple(problems)
    errors = [problem for problem in problems if problem.level == "error"]
    if errors:
        more = f" ({len(errors) - 1} more)" if len(errors) > 1 else ""
        raise PromptError(f"{errors[0]}{more}", problems=problems)


def triggered(prompt: str, library: Library, settings: NetworkSettings) -> Applied:
    """The prompt with the trigger words of its networks, as the settings apply them."""
    options = TriggerOptions(settings.auto_apply, settings.auto_apply_count, settings.auto_apply_place)
    words: list[tuple[str, ...]] = []
    for tag in tags(prompt, library.tags) if options.apply != "off" else ():
        try:
            file = library.catalog(tag.kind).find(tag.name)
        except NetworkError:
            continue  # It is told where the tag's file is looked for.
        words.append(file.trigger_words if file.auto_apply else ())
    return apply_triggers(prompt, words, options)


def _files(
    networks: Iterable[ScheduledNetwork], library: Library
) -> tuple[tuple[tuple[ScheduledNetwork, NetworkFile], ...], tuple[Problem, ...]]:
    found: list[tuple[ScheduledNetwork, NetworkFile]] = []
    missing: list[Problem] = []
    for tag in networks:
        try:
            found.append((tag, library.catalog(tag.kind).find(tag.name)))
        except NetworkError as error:
            missing.append(Problem("error", f"{tag.name}: {error.message}", tag.span, error.hint))
    return tuple(found), tuple(missing)
