"""What happens at which step: latents compared bit for bit, between runs that differ from one step on."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from app.diffusion.conditioning import Conditioning
from app.diffusion.device import CPU
from app.diffusion.samplers import SAMPLERS
from app.diffusion.sampling import sample
from app.engine.engine import Engine
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.engine.prompts import Prepared, prepare
from app.engine.reading import read_prompts, refuse
from app.errors import PatchbayError
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.settings import SettingsStore
from tests.engine.conftest import write_lora

CAT = GenerationRequest(prompt="a cat", seed=3, steps=6, width=32, height=32, sampler="Euler", cfg_scale=3.0)


@pytest.fixture
def model(library: Library) -> LoadedModel:
    return ModelHolder(library).model("small", "Automatic", CPU)


def prepared(model: LoadedModel, library: Library, settings: SettingsStore, request: GenerationRequest) -> Prepared:
    reading = read_prompts(request, library, settings.current.networks)
    refuse(reading.problems)
    return prepare(reading, model, settings.current.networks)


class Runs:
    """Runs requests on one model, and keeps the latents after each step."""

    def __init__(self, model: LoadedModel, library: Library, settings: SettingsStore) -> None:
        self.model, self.library, self.settings = model, library, settings

    def conditionings(self, request: GenerationRequest) -> tuple[Conditioning, ...]:
        ready = prepared(self.model, self.library, self.settings, request)
        return self.model.encoder.conditionings(ready.request, ready.texts)

    def latents(self, prompt: str, **changes: object) -> list[Tensor]:
        request = replace(CAT, prompt=prompt, **changes)  # type: ignore[arg-type]
        ready = prepared(self.model, self.library, self.settings, request)
        conditionings = self.model.encoder.conditionings(ready.request, ready.texts)
        kept: list[Tensor] = []
        with self.model.patcher.patched(ready.plan.component("unet")) as at:
            sample(
                self.model.checkpoint,
                request,
                lambda step: conditionings[step - 1],
                before_step=at,
                after_step=lambda step, latents, denoised: kept.append(latents.clone()),
            )
        return kept


@pytest.fixture
def runs(model: LoadedModel, library: Library, settings: SettingsStore) -> Runs:
    return Runs(model, library, settings)


def first_difference(one: list[Tensor], other: list[Tensor]) -> int | None:
    """The first step after which the latents differ in any bit."""
    steps = zip(one, other, strict=True)
    return next((step for step, (a, b) in enumerate(steps, 1) if not torch.equal(a, b)), None)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_strength_changes_the_latents_from_its_step_on_for_every_sampler(runs: Runs, sampler: str) -> None:
    base = runs.latents("a cat", sampler=sampler)
    assert first_difference(base, runs.latents("a cat <lora:ink:0@0,1@0.5>", sampler=sampler)) == 4
    assert first_difference(base, runs.latents("a cat <lora:ink:0@1,1@6>", sampler=sampler)) == 6
    assert first_difference(base, runs.latents("a cat <lora:ink:0@0~0@1>", sampler=sampler)) is None


@pytest.mark.parametrize("sampler", ["Euler", "Heun"])
def test_a_prompt_that_changes_at_a_step_is_the_first_prompt_until_then(runs: Runs, sampler: str) -> None:
    edited = runs.latents("a [cat:dog:3]", sampler=sampler)
    assert first_difference(edited, runs.latents("a cat", sampler=sampler)) == 4
    assert first_difference(edited, runs.latents("a dog", sampler=sampler)) == 1
    assert first_difference(runs.latents("a [cat|dog]", sampler=sampler), runs.latents("a cat", sampler=sampler)) == 2


def test_tags_in_editing_and_alternation_act_where_they_stand(runs: Runs) -> None:
    base, ink = runs.latents("a cat"), runs.latents("a cat <lora:ink>")
    assert first_difference(runs.latents("a cat [<lora:ink>:<lora:hat>:4]"), ink) == 5
    assert first_difference(runs.latents("a cat [:<lora:ink>:2]"), base) == 3
    assert first_difference(runs.latents("a cat [<lora:ink>|<lora:hat>]"), ink) == 2


def test_block_strengths_act_on_their_blocks_alone(runs: Runs) -> None:
    whole = runs.latents("a cat <lora:ink:1>")
    parts = runs.latents("a cat <lora:ink:0:in=1:mid=1:out=1>")
    assert first_difference(whole, parts) is None
    assert first_difference(whole, runs.latents("a cat <lora:ink:1:mid=0>")) == 1


def test_the_text_encoder_is_read_once_per_state_and_switches_at_its_step(runs: Runs) -> None:
    scheduled = runs.conditionings(replace(CAT, prompt="a cat <lora:words:te=0@1,1@4>"))
    base = runs.conditionings(CAT)
    assert len({id(conditioning) for conditioning in scheduled}) == 2
    for step, conditioning in enumerate(scheduled, 1):
        same = torch.equal(conditioning.positive[0][0].hidden, base[0].positive[0][0].hidden)
        assert same == (step < 4)


def test_equal_generations_read_match_and_encode_nothing_again(runs: Runs) -> None:
    request = replace(CAT, prompt="a cat <lora:words> <lora:ink>")
    first = prepared(runs.model, runs.library, runs.settings, request)
    again = prepared(runs.model, runs.library, runs.settings, request)
    assert [a.match is b.match for a, b in zip(first.bound.networks, again.bound.networks, strict=True)] == [True] * 2
    one, two = (runs.model.encoder.conditionings(request, ready.texts) for ready in (first, again))
    assert one[0].negative is two[0].negative and one[0].positive[0][0] is two[0].positive[0][0]


def test_a_network_file_that_changes_is_another_network(runs: Runs, models: Path) -> None:
    path = models / "loras" / "changing.safetensors"
    unet = runs.model.checkpoint.components["unet"]
    write_lora(path, unet, "lora_unet", seed=11)
    before = runs.latents("a cat <lora:changing>")
    write_lora(path, unet, "lora_unet", seed=12)
    after = runs.latents("a cat <lora:changing>")
    path.unlink()
    assert first_difference(before, after) == 1


def test_two_hundred_random_generations_leave_the_model_as_it_was(engine: Engine) -> None:
    chance = random.Random(7)
    plain = replace(CAT, steps=2)

    def image(request: GenerationRequest) -> np.ndarray:
        *_, result = engine.generate(request)
        assert isinstance(result, GenerationResult)
        return np.asarray(result.images[0].image)

    base = image(plain)
    for _ in range(200):
        names = chance.sample(["ink", "hat", "words", "missing"], chance.randint(0, 3))
        values = [chance.choice(["1", "-0.7", "0@0~1@1", "1@1,0.2@2", "te=0.5:unet=0", "0. 6"]) for _ in names]
        prompt = "a cat " + " ".join(f"<lora:{name}:{value}>" for name, value in zip(names, values, strict=True))
        job = engine.submit(replace(plain, prompt=prompt, seed=chance.randrange(100)))
        if chance.random() < 0.3:
            engine.interrupt()
        assert job.wait(60)
        assert job.error is None or isinstance(job.error, PatchbayError)
    assert (image(plain) == base).all()
