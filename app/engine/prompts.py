"""A reading on the loaded model: where its networks act, at which strengths, and which words it uses."""

from __future__ import annotations

from dataclasses import dataclass

from app.diffusion.checkpoint import DENOISERS
from app.diffusion.conditioning import uses_clip_skip
from app.engine.encodings import Texts
from app.engine.hypernets import BoundHypernetworks
from app.engine.model import LoadedModel
from app.engine.networks import Bound
from app.engine.reading import HYPERNET, Reading, allowed, refuse, told_of_negative
from app.errors import Problem, RequestError
from app.generation.passes import Pass
from app.generation.request import GenerationRequest
from app.generation.result import NetworkUse
from app.patching.hypernet import Influences, influences
from app.patching.plan import PatchPlan, plan
from app.settings.model import NetworkSettings


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request whose prompts can be generated as written, over one of its passes.

    `opposed` are the networks of the negative prompt; where they act on the denoiser, `negative_plan` is what it is
    evaluated under: they and those of the prompt. `hires` is the same for the second pass, where there is one;
    `problems` are warnings alone, of both.
    """

    request: GenerationRequest
    over: Pass
    texts: Texts
    bound: Bound
    opposed: Bound
    plan: PatchPlan
    negative_plan: PatchPlan | None
    hypernetworks: BoundHypernetworks
    influences: Influences
    word_hashes: tuple[tuple[str, str], ...]
    problems: tuple[Problem, ...]
    hires: Prepared | None = None

    @property
    def uses(self) -> tuple[NetworkUse, ...]:
        """Every network that is used, of all kinds."""
        merged = (network.use for side in (self.opposed, self.bound) for network in side.networks)
        return (*merged, *self.hypernetworks.uses)


def prepare(reading: Reading, model: LoadedModel, settings: NetworkSettings) -> Prepared:
    """Match a reading's networks and words with the model, and plan every strength.

    Raises:
        RequestError: the model does not make pictures of the size of one of the passes.
        PromptError: the prompts cannot be generated as written on this model; it carries every problem. With the
            setting `networks.missing_network = "warn"`, what cannot be used is left out and said instead.
    """
    request = reading.request
    _check_size(reading.over, request, model)
    components, steps = model.checkpoint.components, reading.over.planned
    bound = model.binder.bind([pair for pair in reading.files if pair[0].kind != HYPERNET], settings.loader)
    planned = plan(bound.pairs, components, steps)
    opposed = model.binder.bind(reading.against, settings.loader)
    contrary = plan(opposed.pairs, components, steps)
    both = plan((*bound.pairs, *opposed.pairs), components, steps) if contrary.patches else planned
    apart = any(name.split(".")[0] in DENOISERS for name in contrary.patches)
    hypernetworks = model.hypernetworks.bind([pair for pair in reading.files if pair[0].kind == HYPERNET])
    influence = influences(hypernetworks.pairs, components, steps)
    texts = {"prompt": request.prompt, "negative_prompt": request.negative_prompt}
    words = model.words.find(texts, [match for _, match in (*bound.pairs, *opposed.pairs)])
    of_negative = told_of_negative((*opposed.problems, *contrary.problems))
    found = (bound.problems, planned.problems, hypernetworks.problems, influence.problems, words.problems, of_negative)
    told = allowed([problem for problems in found for problem in problems], settings)
    problems = (*reading.problems, *told, *_unheeded(request, model, contrary))
    refuse(problems)
    networks = tuple((one.use.sha256, one.use.name) for side in (bound, opposed) for one in side.networks)
    hashes = tuple(sorted(words.hashes.items()))
    said = Texts(reading.positive, reading.negative, words.vocabulary, (planned, both), networks, (hashes, networks))
    hires = prepare(reading.hires, model, settings) if reading.hires else None
    problems = tuple(dict.fromkeys((*problems, *(hires.problems if hires else ()))))
    side = both if apart else None
    return Prepared(
        request, reading.over, said, bound, opposed, planned, side, hypernetworks, influence, hashes, problems, hires
    )


def _check_size(over: Pass, request: GenerationRequest, model: LoadedModel) -> None:
    """Refuse a size before anything runs, the second pass's too."""
    try:
        model.checkpoint.check_size(over.width, over.height)
    except RequestError as error:
        if (over.width, over.height) == (request.width, request.height):
            raise
        message = f"The second pass would be {over.width} × {over.height}: {error.message}"
        raise RequestError(message, where="hires_scale") from error


def _unheeded(request: GenerationRequest, model: LoadedModel, contrary: PatchPlan) -> tuple[Problem, ...]:
    """What the request asks for in vain; `contrary` is what the negative prompt's networks do."""
    checkpoint, said = model.checkpoint, []
    if request.clip_skip != 1 and not uses_clip_skip(checkpoint):
        said.append(Problem("warning", f"Clip skip does nothing on {checkpoint.family} models.", source="clip_skip"))
    if contrary.patches and (request.cfg_scale == 1 or checkpoint.family == "flux"):
        where = "at CFG scale 1" if request.cfg_scale == 1 else "on Flux"
        message = f"The negative prompt is not evaluated {where}: its networks do nothing."
        said.append(Problem("warning", message, source="negative_prompt"))
    if contrary.component("vae").patches:
        message = "Networks of the negative prompt do nothing to the VAE: an image is decoded once, for both prompts."
        said.append(Problem("warning", message, source="negative_prompt"))
    return tuple(said)
