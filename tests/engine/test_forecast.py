"""What is told beforehand of a network on a checkpoint is what generating finds."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.diffusion.outline import outline
from app.engine.forecast import Answer, Forecast, Forecasts, Unknown
from app.engine.library import Library
from app.engine.networks import NetworkBinder
from app.networks.keys import names
from app.settings import SettingsStore
from tests.diffusion import original
from tests.diffusion.test_flow_files import CLIP_L, sd3_texts, small_vae

DOWN = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


@pytest.fixture
def library(tmp_path: Path) -> Library:
    """A library of four checkpoints and some networks."""
    models = tmp_path / "models"
    for folder in ("checkpoints", "loras", "hypernetworks"):
        (models / folder).mkdir(parents=True)
    original.write(original.reduced("sd15"), models / "checkpoints" / "one.safetensors")
    original.write(original.reduced("sdxl"), models / "checkpoints" / "xl.safetensors")
    (models / "checkpoints" / "broken.safetensors").write_bytes(b"nothing of the kind")
    torch.save({"state_dict": {}}, models / "checkpoints" / "pickled.ckpt")
    loaded = load_checkpoint(models / "checkpoints" / "one.safetensors", CPU)
    width = dict(loaded.components["unet"].named_parameters())[
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight"
    ]
    good = {
        f"{DOWN}.lora_down.weight": torch.zeros(2, width.shape[1]),
        f"{DOWN}.lora_up.weight": torch.zeros(width.shape[0], 2),
    }
    save_file(good, models / "loras" / "good.safetensors")
    stray = {name.replace(DOWN, "lora_unet_nowhere"): tensor.clone() for name, tensor in good.items()}
    save_file(good | stray, models / "loras" / "half.safetensors")
    (models / "loras" / "empty.safetensors").write_bytes(b"")
    return Library.of(SettingsStore(tmp_path, {"paths.models": models}).folders)


def told(forecasts: Forecasts, library: Library, checkpoint: str, name: str, kind: str = "lora") -> Answer:
    """The answer, once it is there."""
    file, model = library.networks.find(name), library.checkpoints.find(checkpoint)
    end = time.monotonic() + 300
    while (answer := forecasts.of(model, kind, file)) is None:
        assert time.monotonic() < end
        time.sleep(0.01)
    return answer


@pytest.fixture
def forecasts(library: Library) -> Forecasts:
    """Answers over the library."""
    return Forecasts(library, lambda: "native")


@pytest.mark.parametrize("checkpoint", ["one", "xl"])
@pytest.mark.parametrize("name", ["good", "half"])
def test_it_is_what_the_loaded_model_says(library: Library, forecasts: Forecasts, checkpoint: str, name: str) -> None:
    loaded = load_checkpoint(library.checkpoints.find(checkpoint).path, CPU)
    binder = NetworkBinder(library.networks, loaded.components, loaded.family)
    match = binder.match(library.networks.find(name))
    expected = Forecast(
        loaded.family, match.matched, match.unmatched, match.mismatched, (*match.problems, *match.network.problems)
    )
    assert told(forecasts, library, checkpoint, name) == expected


def test_the_first_question_is_not_waited_for_and_the_next_ones_are_answered_at_once(
    library: Library, forecasts: Forecasts
) -> None:
    file, model = library.networks.find("good"), library.checkpoints.find("one")
    assert forecasts.of(model, "lora", file) is None
    told(forecasts, library, "one", "good")
    assert forecasts.of(model, "lora", file) is not None


def test_a_checkpoint_that_does_not_say_is_not_known(library: Library, forecasts: Forecasts) -> None:
    for name in ("broken", "pickled"):
        assert isinstance(told(forecasts, library, name, "good"), Unknown)


def test_a_network_that_cannot_be_read_has_no_place_and_says_why(library: Library, forecasts: Forecasts) -> None:
    answer = told(forecasts, library, "one", "empty")
    assert isinstance(answer, Forecast) and answer.matched == 0
    assert answer.problems[0].level == "error"


def test_a_file_that_changes_is_looked_at_again(library: Library, forecasts: Forecasts) -> None:
    first = told(forecasts, library, "one", "half")
    path = library.networks.find("half").path
    path.write_bytes((path.parent / "good.safetensors").read_bytes())
    assert told(forecasts, library, "one", "half") != first


@pytest.mark.parametrize("family", ["sd15", "sd2", "sdxl", "sdxl-refiner"])
def test_an_outline_has_the_modules_of_the_model_and_none_of_its_weights(tmp_path: Path, family: str) -> None:
    path = original.write(original.reduced(family), tmp_path / "model.safetensors")
    seen, loaded = outline(path), load_checkpoint(path, CPU)
    assert seen.family == loaded.family
    assert names(seen.modules) == names(loaded.components)
    assert all(weight.is_meta for module in seen.modules.values() for weight in module.parameters())


def test_files_of_sd3_and_flux_have_outlines_too(tmp_path: Path) -> None:
    sd3 = original.sd3(64, 192, 192) | sd3_texts() | small_vae("first_stage_model.")
    flux = original.flux(64, 64, True) | original.openai_clip(CLIP_L, 2, 64) | original.t5(30, 64) | small_vae("vae.")
    for family, shapes, parts in (("sd3", sd3, 4), ("flux", flux, 4)):
        path = original.write(shapes, tmp_path / f"{family}.safetensors")
        seen = outline(path)
        assert seen.family == family
        assert len(seen.modules) == parts and "transformer" in seen.modules
        assert all(weight.is_meta for module in seen.modules.values() for weight in module.parameters())
