"""What a tag in the negative prompt promises: it acts where that prompt is evaluated, and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from app.diffusion import denoiser
from app.diffusion.device import CPU
from app.diffusion.sampling import sample
from app.engine.engine import Engine
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.engine.prompts import Prepared, prepare
from app.engine.reading import read_prompts, refuse
from app.errors import PromptError
from app.generation.infotext import parse_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.settings import SettingsStore

CAT = GenerationRequest(
    prompt="a cat", negative_prompt="a dog", seed=3, steps=4, width=32, height=32, sampler="Euler", cfg_scale=3.0
)
Predicted = list[tuple[bool, Tensor]]
"""Whether it was for the negative prompt, and what the model said, of every row of every evaluation."""


@pytest.fixture
def model(library: Library) -> LoadedModel:
    return ModelHolder(library).model("small", "Automatic", CPU)


class Runs:
    """Runs requests on one model, and keeps what the model predicts for each side."""

    def __init__(
        self, model: LoadedModel, library: Library, settings: SettingsStore, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._model, self._library, self._settings, self._patch = model, library, settings, monkeypatch

    def prepared(self, request: GenerationRequest) -> Prepared:
        reading = read_prompts(request, self._library, self._settings.current.networks)
        refuse(reading.problems)
        return prepare(reading, self._model, self._settings.current.networks)

    def __call__(self, prompt: str, negative: str = "a dog", **changes: object) -> tuple[Predicted, list[Tensor]]:
        """What is predicted for each side, and the latents after each step."""
        ready = self.prepared(replace(CAT, prompt=prompt, negative_prompt=negative, **changes))  # type: ignore[arg-type]
        conditionings = self._model.encoder.conditionings(ready.request, ready.texts)
        seen: Predicted = []
        latents: list[Tensor] = []
        plain = denoiser.guided

        def watched(found: list[Tensor], rows: list[denoiser.Row]) -> Tensor:
            seen.extend((row.negative, one.clone()) for row, one in zip(rows, found, strict=True))
            return plain(found, rows)

        self._patch.setattr(denoiser, "guided", watched)
        with self._model.networked(ready.plan, ready.influences, ready.negative_plan) as at:
            sample(
                self._model.checkpoint,
                ready.request,
                lambda step: conditionings[step - 1],
                before_step=at,
                after_step=lambda step, now, denoised: latents.append(now.clone()),
            )
        self._patch.undo()
        return seen, latents


@pytest.fixture
def runs(model: LoadedModel, library: Library, settings: SettingsStore, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(model, library, settings, monkeypatch)


def near(one: Tensor, other: Tensor) -> bool:
    """Equal up to how a processor rounds a batch of two and two batches of one."""
    return torch.allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("tag", ["<lora:ink:1>", "<lora:words:1>"])
def test_it_acts_on_the_negative_prompt_alone(runs: Runs, tag: str) -> None:
    base, both = runs("a cat")[0][:2], runs(f"a cat {tag}")[0][:2]
    apart = runs("a cat", f"a dog {tag}")[0][:2]
    assert [negative for negative, _ in apart] == [True, False]
    assert near(apart[1][1], base[1][1]), "the prompt is evaluated as without it"
    assert not near(apart[0][1], base[0][1])
    assert near(apart[0][1], both[0][1]) or tag == "<lora:words:1>", (
        "the negative prompt as under the tag in the prompt"
    )


def test_the_prompt_s_networks_act_on_both_and_the_negative_prompt_s_are_added(runs: Runs) -> None:
    added = runs("a cat <lora:ink:1>", "a dog <lora:hat:0.5>")[0][:2]
    one, two = runs("a cat <lora:ink:1>")[0][:2], runs("a cat <lora:ink:1> <lora:hat:0.5>")[0][:2]
    assert near(added[1][1], one[1][1]) and near(added[0][1], two[0][1])
    cancelled = runs("a cat <lora:ink:1>", "a dog <lora:ink:-1>")[0][:2]
    assert near(cancelled[0][1], runs("a cat")[0][0][1]) and near(cancelled[1][1], one[1][1])


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ SDE"])
def test_its_strength_follows_the_steps(runs: Runs, sampler: str) -> None:
    _, base = runs("a cat", "a dog <lora:ink:0@1,0.0001@4>", sampler=sampler)
    _, late = runs("a cat", "a dog <lora:ink:0@1,1@3>", sampler=sampler)
    same = [torch.equal(one, other) for one, other in zip(base, late, strict=True)]
    assert same == [True, True, False, False]


def test_the_text_encoder_reads_the_negative_prompt_under_it_at_its_step(runs: Runs) -> None:
    ready = runs.prepared(replace(CAT, negative_prompt="a dog <lora:words:te=0@1,1@3>"))
    made = runs._model.encoder.conditionings(ready.request, ready.texts)
    plain = runs._model.encoder.conditionings(CAT, runs.prepared(CAT).texts)
    assert [torch.equal(one.negative.hidden, plain[0].negative.hidden) for one in made] == [True, True, False, False]
    assert all(torch.equal(one.positive[0][0].hidden, plain[0].positive[0][0].hidden) for one in made)


def test_both_prompts_share_an_evaluation_unless_the_denoiser_differs(runs: Runs) -> None:
    for negative, apart in (
        ("a dog", False),
        ("a dog <lora:words:1>", False),
        ("<lora:ink:0>", False),
        ("<lora:ink>", True),
    ):
        assert (runs.prepared(replace(CAT, negative_prompt=negative)).negative_plan is not None) == apart


def made(engine: Engine, request: GenerationRequest) -> GenerationResult:
    *_, result = engine.generate(request)
    assert isinstance(result, GenerationResult)
    return result


def test_an_image_remembers_it_and_the_next_is_as_before(engine: Engine) -> None:
    base = np.asarray(made(engine, CAT).images[0].image)
    result = made(engine, replace(CAT, negative_prompt="a dog <lora:ink>", batch_size=2))
    assert {use.name for use in result.networks} == {"ink"}
    image = result.images[1]
    assert 'Lora hashes: "ink: ' in image.infotext
    again = made(engine, parse_infotext(image.infotext).request).images[0].image
    assert (np.asarray(again) == np.asarray(image.image)).all()
    assert (np.asarray(image.image) != base).any()
    assert (np.asarray(made(engine, CAT).images[0].image) == base).all()


def test_what_is_wrong_with_it_is_said_of_the_negative_prompt(engine: Engine) -> None:
    with pytest.raises(PromptError) as caught:
        made(engine, replace(CAT, negative_prompt="a dog <lora:imk:1> <hypernet:x:1>"))
    sources = [(problem.source, problem.span) for problem in caught.value.problems]
    assert sorted(sources) == [("negative_prompt", (6, 18)), ("negative_prompt", (19, 33))]
    (problem,) = made(engine, replace(CAT, negative_prompt="a dog <lora:ink:1>", cfg_scale=1.0)).problems
    assert problem.level == "warning" and "CFG scale 1" in problem.message
