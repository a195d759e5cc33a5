"""Hypernetworks: one is trained, saved as trainers save it, and follows its schedule at every step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.diffusion.sampling import sample
from app.engine.engine import Engine
from app.engine.generator import StudioGenerator
from app.engine.library import Library
from app.engine.model import LoadedModel, ModelHolder
from app.engine.prompts import Prepared, prepare
from app.engine.reading import read_prompts, refuse
from app.errors import PromptError
from app.generation.infotext import parse_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult
from app.networks.hypernetworks import Hypernetwork, Layer, Pair, Perceptron, read_hypernetwork
from app.patching.hypernet import Influence, Influences, acting, attended, hypernetted
from app.plugins import Extensions
from app.settings import SettingsStore
from tests.diffusion.models import saved, sd15_pipeline
from tests.engine.conftest import write_lora

torch.set_num_threads(1)

CAT = GenerationRequest(prompt="a cat", seed=3, steps=6, width=32, height=32, sampler="Euler", cfg_scale=3.0)
WIDTH = 16
"""Of the small model's cross-attention, and of its self-attention too."""


def perceptron(state: dict[str, Tensor]) -> Perceptron:
    layers = [(state[f"linear.{n}.weight"], state[f"linear.{n}.bias"]) for n in (0, 2)]
    return Perceptron((Layer(*layers[0], "relu"), Layer(*layers[1], "linear")))


def begun(generator: torch.Generator) -> dict[str, Tensor]:
    """As trainers begin: weights small, biases nothing."""

    def normal(*shape: int) -> Tensor:
        return (torch.randn(shape, generator=generator) * 0.05).requires_grad_()

    return {
        "linear.0.weight": normal(2 * WIDTH, WIDTH),
        "linear.0.bias": torch.zeros(2 * WIDTH, requires_grad=True),
        "linear.2.weight": normal(WIDTH, 2 * WIDTH),
        "linear.2.bias": torch.zeros(WIDTH, requires_grad=True),
    }


def trained(unet: nn.Module) -> tuple[tuple[dict[str, Tensor], dict[str, Tensor]], list[float]]:
    """Both sides of a hypernetwork after some steps of Adam towards what the UNet says of another text; the losses."""
    generator = torch.Generator().manual_seed(0)
    states = begun(generator), begun(generator)
    hypernetwork = Hypernetwork(Path("tiny"), {WIDTH: Pair(perceptron(states[0]), perceptron(states[1]))})
    noisy, text, other = (torch.randn(shape, generator=generator) for shape in ((2, 4, 8, 8), (2, 7, 16), (2, 7, 16)))
    with torch.no_grad():
        target = unet(noisy, 500, encoder_hidden_states=3 * other).sample
    layers = {name: (Influence(pair, (1.0,)),) for name, pair in acting(hypernetwork, {"unet": unet}).items()}
    optimizer = torch.optim.Adam([tensor for state in states for tensor in state.values()], lr=0.03)
    losses: list[float] = []
    with hypernetted({"unet": unet}, Influences(1, layers)):
        for _ in range(12):
            loss = nn.functional.mse_loss(unet(noisy, 500, encoder_hidden_states=text).sample, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    finished = [{name: tensor.detach() for name, tensor in state.items()} for state in states]
    return (finished[0], finished[1]), losses


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[float]]:
    """A models folder with the checkpoint `small`, the LoRA `ink`, and the trained `tiny` in both layouts; its losses.

    `wide` is made for vectors that this model does not have.
    """
    folder = tmp_path_factory.mktemp("models")
    pipeline = sd15_pipeline()
    saved(pipeline, folder / "checkpoints" / "small")
    write_lora(folder / "loras" / "ink.safetensors", pipeline.unet, "lora_unet", seed=1)
    sides, losses = trained(pipeline.unet)
    target = folder / "hypernetworks"
    target.mkdir()
    told = {"step": 12, "name": "tiny", "layer_structure": [1, 2, 1], "activation_func": "relu", "is_layer_norm": False}
    torch.save({WIDTH: sides, **told, "activate_output": False, "sd_checkpoint": None}, target / "tiny.pt")
    for name, width in (("tiny-safe", WIDTH), ("wide", 24)):
        keys = "kv" if width == WIDTH else ""
        tensors = {
            f"{width}.{side}.{key}": value
            for side, state in zip(keys, sides, strict=False)
            for key, value in state.items()
        }
        eye = {f"24.{side}.linear.0.weight": torch.eye(24) for side in "kv"}
        flat = {f"24.{side}.linear.0.bias": torch.zeros(24) for side in "kv"}
        metadata = {"activation_func": "relu", "activate_output": "false"}
        save_file(tensors or eye | flat, target / f"{name}.safetensors", metadata)
    return folder, losses


@pytest.fixture
def settings(tiny: tuple[Path, list[float]], tmp_path: Path) -> SettingsStore:
    return SettingsStore(tmp_path / "data", {"paths.models": tiny[0], "device.device": "cpu"})


@pytest.fixture
def library(settings: SettingsStore) -> Iterator[Library]:
    library = Library.of(settings.folders)
    yield library
    library.close()


@pytest.fixture
def engine(settings: SettingsStore, library: Library) -> Iterator[Engine]:
    with Engine(lambda: StudioGenerator(settings, library, Extensions()), library) as engine:
        yield engine


class Runs:
    """Runs prompts on one model, and keeps the latents after each step."""

    def __init__(self, library: Library, settings: SettingsStore) -> None:
        self.model: LoadedModel = ModelHolder(library).model("small", "Automatic", CPU)
        self.library, self.settings = library, settings

    def prepared(self, request: GenerationRequest) -> Prepared:
        reading = read_prompts(request, self.library, self.settings.current.networks)
        refuse(reading.problems)
        return prepare(reading, self.model, self.settings.current.networks)

    def latents(self, prompt: str, sampler: str = "Euler") -> list[Tensor]:
        request = replace(CAT, prompt=prompt, sampler=sampler)
        ready = self.prepared(request)
        conditionings = self.model.encoder.conditionings(request, ready.texts)
        kept: list[Tensor] = []
        with self.model.networked(ready.plan.component("unet"), ready.influences) as at:
            sample(
                self.model.checkpoint,
                request,
                lambda step: conditionings[step - 1],
                before_step=at,
                after_step=lambda step, latents, denoised: kept.append(latents.clone()),
            )
        return kept


@pytest.fixture
def runs(library: Library, settings: SettingsStore) -> Runs:
    return Runs(library, settings)


def first_difference(one: list[Tensor], other: list[Tensor]) -> int | None:
    steps = zip(one, other, strict=True)
    return next((step for step, (a, b) in enumerate(steps, 1) if not torch.equal(a, b)), None)


def pixels(engine: Engine, prompt: str, **changes: object) -> np.ndarray:
    return np.asarray(made(engine, prompt, **changes).images[0].image)


def made(engine: Engine, prompt: str, **changes: object) -> GenerationResult:
    *_, result = engine.generate(replace(CAT, prompt=prompt, **changes))  # type: ignore[arg-type]
    assert isinstance(result, GenerationResult)
    return result


def test_training_one_moves_the_output_towards_its_target_and_leaves_no_hook(tiny: tuple[Path, list[float]]) -> None:
    _, losses = tiny
    assert losses[-1] < 0.9 * losses[0]
    unet = load_checkpoint(tiny[0] / "checkpoints" / "small", CPU).components["unet"]
    hypernetwork = read_hypernetwork(tiny[0] / "hypernetworks" / "tiny.pt")
    layers = {name: (Influence(pair, (1.0,)),) for name, pair in acting(hypernetwork, {"unet": unet}).items()}
    with pytest.raises(KeyboardInterrupt), hypernetted({"unet": unet}, Influences(1, layers)):
        assert any(module._forward_pre_hooks for module in unet.modules())
        raise KeyboardInterrupt
    assert not any(module._forward_pre_hooks for module in unet.modules())


def test_what_acts_is_x_plus_strength_times_the_perceptron_one_tag_after_another(runs: Runs) -> None:
    """Against the formula, on the layer itself."""
    model = runs.model.checkpoint.components
    name, attention = next((n, model["unet"].get_submodule(n)) for n in attended(model) if n.endswith("attn2"))
    ready = runs.prepared(replace(CAT, prompt="a <hypernet:tiny:0.5> <hypernet:tiny-safe:-2>"))
    x = torch.randn(1, 5, WIDTH)
    pair = read_hypernetwork(runs.library.catalog("hypernet").find("tiny").path).pairs[WIDTH]
    once = x + 0.5 * pair.key(x)
    expected = attention.to_k(once - 2 * pair.key(once))
    values = x + 0.5 * pair.value(x)
    wanted = attention.to_v(values - 2 * pair.value(values))
    with hypernetted(model, ready.influences):
        torch.testing.assert_close(attention.to_k(x), expected)
        torch.testing.assert_close(attention.to_v(x), wanted)
    assert name in ready.influences.layers


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ 2M SDE"])
def test_its_strength_changes_the_latents_from_its_step_on_and_leaves_the_model_as_it_was(
    runs: Runs, sampler: str
) -> None:
    base = runs.latents("a cat", sampler)
    scheduled = runs.latents("a cat <hypernet:tiny:0@0,1@0.5>", sampler)
    assert first_difference(base, scheduled) == 4
    assert first_difference(base, runs.latents("a cat <hypernet:tiny:0>", sampler)) is None
    assert first_difference(base, runs.latents("a cat [:<hypernet:tiny>:2]", sampler)) == 3
    assert first_difference(scheduled, runs.latents("a cat <hypernet:tiny-safe:0@0,1@0.5>", sampler)) is None
    assert first_difference(base, runs.latents("a cat", sampler)) is None


def test_blocks_follow_their_own_strengths_and_tags_of_one_hypernetwork_add_up(runs: Runs) -> None:
    whole = runs.latents("a cat <hypernet:tiny:1>")
    assert first_difference(whole, runs.latents("a cat <hypernet:tiny:0:in=1:mid=1:out=1>")) is None
    assert first_difference(whole, runs.latents("a cat <hypernet:tiny:1:mid=0>")) == 1
    assert first_difference(whole, runs.latents("a cat <hypernet:tiny:0.5> <hypernet:tiny:0.5>")) is None


def test_it_acts_beside_a_lora(runs: Runs) -> None:
    lora, both = runs.latents("a cat <lora:ink>"), runs.latents("a cat <lora:ink> <hypernet:tiny:0@1,1@3>")
    assert first_difference(lora, both) == 3
    assert first_difference(runs.latents("a cat <hypernet:tiny:0@1,1@3>"), both) == 1


@pytest.mark.parametrize("sampler", ["Euler", "Heun"])
def test_an_image_made_with_one_remembers_it_and_the_next_is_as_before(engine: Engine, sampler: str) -> None:
    base = pixels(engine, "a cat", sampler=sampler)
    result = made(engine, "a cat <hypernet:tiny:0@0,1@0.5>", sampler=sampler)
    assert (np.asarray(result.images[0].image) != base).any()
    (use,) = result.networks
    assert (use.kind, use.name, use.strengths["unet"]) == ("hypernet", "tiny", (0.0,) * 3 + (1.0,) * 3)
    assert use.matched > 0 and (use.unmatched, use.mismatched) == (0, 0)
    parsed = parse_infotext(result.images[0].infotext)
    assert parsed.extras["Hypernet hashes"] == f"tiny: {use.sha256[:12]}"
    assert "Lora hashes" not in parsed.extras
    assert (pixels(engine, parsed.request.prompt, sampler=sampler) == np.asarray(result.images[0].image)).all()
    assert (pixels(engine, "a cat", sampler=sampler) == base).all()


def test_one_for_vectors_the_model_does_not_have_is_an_error_at_its_tag(engine: Engine) -> None:
    prompt = "a cat <hypernet:tiny:1> <hypernet:wide:1>"
    with pytest.raises(PromptError, match=r"vectors of 24 numbers; this model's text has 16") as error:
        made(engine, prompt)
    (problem,) = error.value.problems
    assert problem.span and prompt[slice(*problem.span)] == "<hypernet:wide:1>"
    assert made(engine, "a cat").images


def test_what_a_tag_says_in_vain_is_a_warning(engine: Engine) -> None:
    result = made(engine, "a cat <hypernet:tiny:1:te1=0.5:dyn=4>")
    assert [problem.level for problem in result.problems] == ["warning", "warning"]
