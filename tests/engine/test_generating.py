"""What a generation promises, from the request to the pixels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from app.engine.engine import Engine
from app.errors import CheckpointError, PromptError
from app.generation.infotext import parse_infotext
from app.generation.png import read_infotext
from app.generation.request import GenerationRequest
from app.generation.result import GenerationResult, Progress
from app.settings import SettingsStore

CAT = GenerationRequest(prompt="a cat", seed=5, steps=4, width=64, height=64, sampler="Euler", cfg_scale=3.0)
Pixels = NDArray[np.uint8]


def made(engine: Engine, request: GenerationRequest) -> GenerationResult:
    *_, result = engine.generate(request)
    assert isinstance(result, GenerationResult)
    return result


def pixels(engine: Engine, request: GenerationRequest) -> Pixels:
    return np.asarray(made(engine, request).images[0].image)


def prompted(prompt: str, **changes: object) -> GenerationRequest:
    return replace(CAT, prompt=prompt, **changes)  # type: ignore[arg-type]


def test_a_network_changes_the_picture_and_leaves_no_trace(engine: Engine) -> None:
    base = pixels(engine, CAT)
    inked = pixels(engine, prompted("a cat <lora:ink:1>"))
    assert (inked != base).any()
    assert (pixels(engine, prompted("a cat <lora:ink:0>")) == base).all()
    assert (pixels(engine, CAT) == base).all()
    assert (pixels(engine, prompted("a cat <lora:ink:1>")) == inked).all()


def test_networks_commute_and_two_tags_of_one_add_up(engine: Engine) -> None:
    both = pixels(engine, prompted("a cat <lora:ink:0.5> <lora:hat:0.5>"))
    assert (pixels(engine, prompted("a cat <lora:hat:0.5> <lora:ink:0.5>")) == both).all()
    doubled = pixels(engine, prompted("a cat <lora:ink:0.25> <lora:ink:0.75>"))
    assert (doubled == pixels(engine, prompted("a cat <lora:ink:1>"))).all()


@pytest.mark.parametrize("sampler", ["Euler", "Heun", "DPM++ 2M", "Euler a"])
def test_a_strength_that_is_zero_at_every_step_but_the_last_differs_from_none_only_there(
    engine: Engine, sampler: str
) -> None:
    base = pixels(engine, prompted("a cat", sampler=sampler))
    late = pixels(engine, prompted("a cat <lora:ink:0@1,1@4>", sampler=sampler))
    early = pixels(engine, prompted("a cat <lora:ink:1@1,0@2>", sampler=sampler))
    never = pixels(engine, prompted("a cat <lora:ink:0@1,0@4>", sampler=sampler))
    assert (never == base).all()
    assert (late != base).any() and (early != base).any() and (late != early).any()


def test_a_text_encoder_s_schedule_is_a_change_of_the_conditioning_at_its_step(engine: Engine) -> None:
    base = pixels(engine, CAT)
    late = pixels(engine, prompted("a cat <lora:words:te=0@1,1@3>"))
    whole = pixels(engine, prompted("a cat <lora:words:te=1>"))
    assert (late != base).any() and (late != whole).any()


@pytest.mark.parametrize("steps", [1, 2])
def test_one_and_two_steps_take_every_schedule(engine: Engine, steps: int) -> None:
    result = made(engine, prompted("a [cat:dog:0.5] <lora:ink:0@0~1@1> [<lora:hat>:0.5]", steps=steps))
    assert len(result.images) == 1


def test_a_batch_is_its_single_images(engine: Engine) -> None:
    batch = made(engine, prompted("a cat <lora:ink:0.5>", batch_size=2, batch_count=2))
    assert [image.request.seed for image in batch.images] == [5, 6, 7, 8]
    for image in batch.images:
        alone = pixels(engine, image.request)
        assert (np.asarray(image.image) == alone).all()


def test_an_image_s_text_makes_the_image_again(engine: Engine, tmp_path: Path) -> None:
    job = engine.submit(prompted("a cat, <lora:ink:unet=0@0~1@1> (dog:1.2)", seed=-1), folder=tmp_path)
    assert job.wait(120) and job.result
    image = job.result.images[0]
    assert image.path is not None
    parsed = parse_infotext(read_infotext(image.path))
    assert parsed.request == image.request
    assert parsed.extras["Lora hashes"].startswith("ink: ")
    assert (pixels(engine, parsed.request) == np.asarray(image.image)).all()


def test_what_cannot_be_used_stops_the_generation_with_its_place(engine: Engine, settings: SettingsStore) -> None:
    prompt = "a cat <lora:imk:1> <lora:hat:0. 6>"
    with pytest.raises(PromptError, match="Did you mean ink") as error:
        made(engine, prompted(prompt))
    spans = [prompt[problem.span[0] : problem.span[1]] for problem in error.value.problems if problem.span]
    assert spans == ["<lora:imk:1>", "<lora:hat:0. 6>"]
    settings.change({"networks.missing_network": "warn"})
    result = made(engine, prompted(f"{prompt} <lora:ink:1>"))
    assert {problem.level for problem in result.problems} == {"warning"}
    assert (np.asarray(result.images[0].image) == pixels(engine, prompted("a cat <lora:ink:1>"))).all()


def test_trigger_words_that_are_applied_are_what_is_encoded(
    engine: Engine, settings: SettingsStore, models: Path
) -> None:
    sidecar = models / "loras" / "ink.json"
    sidecar.write_text('{"activation text": "ink drawing"}')
    try:
        engine.library.networks.refresh()
        settings.change({"networks.auto_apply": "all"})
        result = made(engine, prompted("a cat <lora:ink:1>"))
        settings.change({"networks.auto_apply": "off"})
        assert result.images[0].request.prompt == "a cat <lora:ink:1>, ink drawing"
        spelt_out = pixels(engine, prompted("a cat <lora:ink:1>, ink drawing"))
        assert (np.asarray(result.images[0].image) == spelt_out).all()
    finally:
        sidecar.unlink()


def test_an_interrupted_generation_keeps_its_partial_image_and_the_model_is_as_it_was(engine: Engine) -> None:
    base = pixels(engine, CAT)
    job = engine.submit(prompted("a cat <lora:ink:0@0~1@1>", steps=400))
    seen = engine.wait_for_change(-1, 60)
    while not (job.progress.state == "sampling" and job.progress.step >= 2):
        assert job.state in ("queued", "running"), job.error
        seen = engine.wait_for_change(seen, 60)
    engine.interrupt()
    assert job.wait(60) and job.state == "interrupted"
    assert job.result and len(job.result.images) == 1
    assert "Interrupted after step" in job.result.images[0].infotext
    assert (pixels(engine, CAT) == base).all()


def test_progress_counts_every_step_of_every_image_and_shows_previews(engine: Engine) -> None:
    news = list(engine.generate(replace(CAT, batch_count=2)))
    progress = [item for item in news if isinstance(item, Progress)]
    assert progress[-1].step == progress[-1].steps == 8
    assert any(item.preview for item in progress)
    assert {item.image for item in progress} == {0, 1} and {item.images for item in progress} == {1, 2}


def test_a_missing_checkpoint_or_vae_is_named(engine: Engine) -> None:
    with pytest.raises(CheckpointError, match="Did you mean small"):
        made(engine, replace(CAT, checkpoint="smal"))
    with pytest.raises(CheckpointError, match="VAE"):
        made(engine, replace(CAT, vae="nothing"))
    assert made(engine, CAT).images


def test_what_networks_keep_in_memory_is_told_and_bounded(engine: Engine) -> None:
    assert made(engine, CAT).kept_bytes == 0
    kept = made(engine, prompted("a cat <lora:ink:1>")).kept_bytes
    assert kept > 0
    for _ in range(3):
        assert made(engine, prompted("a cat <lora:ink:0@0~1@1>")).kept_bytes == kept
