"""Laws of how many steps a request's passes take, and how large they are."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import RequestError
from app.generation.infotext import INIT_HASH, format_infotext, parse_infotext
from app.generation.passes import LONGEST_SCHEDULE, first_pass, second_pass, steps_per_image
from app.generation.request import GenerationRequest

PICTURE = Image.new("RGB", (8, 8))
STRENGTHS = st.floats(0, 1)
STEPS = st.integers(1, 1000)


@given(STEPS, STRENGTHS)
def test_image_to_image_takes_the_steps_that_the_web_ui_takes(steps: int, strength: float) -> None:
    over = first_pass(GenerationRequest(init_image=PICTURE, steps=steps, denoising_strength=strength))
    assert over.scheduled == steps and 0 <= over.steps <= steps
    assert (over.steps == 0) == (strength == 0)
    if strength:
        assert over.steps == int(min(strength, 0.999) * steps) + 1
    assert first_pass(GenerationRequest(steps=steps, denoising_strength=strength)).steps == steps


@given(STEPS, STRENGTHS, st.integers(0, 1000))
def test_a_second_pass_takes_all_its_steps_at_the_end_of_a_longer_schedule(
    steps: int, strength: float, own: int
) -> None:
    request = GenerationRequest(steps=steps, hires_scale=2, hires_steps=own, denoising_strength=strength)
    over = second_pass(request)
    assert over and over.steps == (0 if strength == 0 else own or steps)
    assert over.steps <= over.scheduled <= LONGEST_SCHEDULE and over.planned >= 1
    assert steps_per_image(request) == steps + over.steps


@given(st.integers(2, 200), st.integers(2, 200), st.floats(1, 4, exclude_min=True))
def test_the_second_pass_is_as_large_as_asked_for_in_whole_latents(across: int, down: int, scale: float) -> None:
    over = second_pass(GenerationRequest(width=8 * across, height=8 * down, hires_scale=scale))
    assert over and over.width % 8 == over.height % 8 == 0
    assert 0 <= 8 * across * scale - over.width < 9 and 0 <= 8 * down * scale - over.height < 9


def test_a_scale_of_one_is_no_second_pass() -> None:
    assert second_pass(GenerationRequest()) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"denoising_strength": -0.1}, {"denoising_strength": 1.1}, {"denoising_strength": float("nan")},
        {"hires_scale": 0.5}, {"hires_scale": float("inf")}, {"hires_steps": -1}, {"hires_steps": 2.5},
        {"hires_upscaler": "Magic"}, {"hires_scale": 8, "width": 2048},
    ],
)  # fmt: skip
def test_what_no_pass_can_have_is_refused_by_name(changes: dict[str, object]) -> None:
    with pytest.raises(RequestError) as caught:
        replace(GenerationRequest(), **changes).checked()  # type: ignore[arg-type]
    assert caught.value.where in changes


def test_a_second_pass_is_told_in_the_web_ui_s_words() -> None:
    text = format_infotext(GenerationRequest(prompt="x", hires_scale=2, hires_steps=7))
    assert "Denoising strength: 0.75" in text and "Hires upscale: 2, Hires steps: 7, Hires upscaler: Latent" in text
    assert "Hires" not in format_infotext(GenerationRequest(prompt="x"))
    assert "Denoising" not in format_infotext(GenerationRequest(prompt="x"))


def test_a_text_that_says_nothing_of_a_second_pass_turns_it_off() -> None:
    assert "hires_scale" in parse_infotext(format_infotext(GenerationRequest(prompt="x"))).present
    assert "hires_scale" not in parse_infotext("just words").present


def test_a_text_says_that_its_picture_is_not_in_it() -> None:
    parsed = parse_infotext(format_infotext(GenerationRequest(init_image=PICTURE), {INIT_HASH: "0123"}))
    assert [problem.source for problem in parsed.problems] == ["init_image"]
    assert parsed.extras[INIT_HASH] == "0123" and parsed.request.init_image is None
