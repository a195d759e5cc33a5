"""Laws of the text that an image carries."""

import dataclasses
import string
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.generation.infotext import (
    ORDER,
    format_hashes,
    format_infotext,
    parse_hashes,
    parse_infotext,
    split_sampler,
)
from app.generation.request import BOUNDS, EMPHASIS_MODES, UPSCALERS, WHOLE_NUMBERS, GenerationRequest

AWKWARD = st.lists(
    st.sampled_from(
        ["Negative prompt:", "Negative prompt: ", "Steps: 20, Sampler: Euler, Seed: 1", "\n", "\r\n", " ", '"', "\\",
         "<lora:a:te=0@0~1@50%>", "\u2028", "\ud800", "\0", "猫", ",", ":", "Exact prompt: x", "[a:b:0.5]", "cat"]
    ),
    max_size=8,
).map("".join)  # fmt: skip
PICTURE = Image.new("RGB", (8, 8))
TEXT = st.one_of(st.text(), AWKWARD, st.text(st.characters()))
NUMBERS = {name: st.integers(int(low), int(high)) for name, low, high in BOUNDS if name in WHOLE_NUMBERS}


def requests() -> st.SearchStrategy[GenerationRequest]:
    sizes = st.integers(2, 1024).map(lambda n: 8 * n)
    fields = dict.fromkeys(("prompt", "negative_prompt", "sampler", "schedule_type", "checkpoint", "vae"), TEXT)
    fields |= NUMBERS | {"width": sizes, "height": sizes, "cfg_scale": st.floats(0, 100)}
    fields |= {"emphasis": st.sampled_from(EMPHASIS_MODES), "default_strength": st.none() | st.floats(-10, 10)}
    fields |= {"schedule_separator": st.sampled_from([None, "switch", "ramp"])}
    fields |= {"hires_scale": st.floats(1, 8), "hires_upscaler": st.sampled_from(UPSCALERS)}
    fields |= {"init_image": st.none() | st.just(PICTURE), "denoising_strength": st.floats(0, 1)}
    assert fields.keys() == {field.name for field in dataclasses.fields(GenerationRequest)}
    return st.builds(GenerationRequest, **fields)


KEYS = st.text(string.ascii_letters + string.digits + " -/", min_size=1, max_size=20).map(
    lambda key: f"X{key.strip()}x"
)


@given(requests())
def test_an_image_remembers_its_request(request: GenerationRequest) -> None:
    assert parse_infotext(format_infotext(request)).request == request


@given(requests(), st.dictionaries(KEYS, st.one_of(TEXT, st.integers())))
def test_an_image_remembers_its_other_keys(request: GenerationRequest, extras: dict[str, str | int]) -> None:
    assert parse_infotext(format_infotext(request, extras)).extras == {key: str(value) for key, value in extras.items()}


@given(TEXT)
def test_every_text_can_be_read(text: str) -> None:
    parsed = parse_infotext(text)
    assert parsed.request.checked() == parsed.request


@given(requests())
def test_the_text_can_be_written_to_any_file(request: GenerationRequest) -> None:
    format_infotext(request).encode("utf-8")


def test_the_text_has_the_form_and_order_that_other_tools_write() -> None:
    request = GenerationRequest(prompt="a cat", negative_prompt="blurry", seed=1, checkpoint="demo", clip_skip=2)
    extras = {"Lora hashes": format_hashes([("a:b", "0123456789abcdef"), ("c", "f" * 64)]), "Model hash": "0123456789"}
    assert format_infotext(replace(request, emphasis="No norm"), extras) == (
        "a cat\nNegative prompt: blurry\n"
        "Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 512x512, "
        "Model hash: 0123456789, Model: demo, Clip skip: 2, "
        'Lora hashes: "ab: 0123456789ab, c: ffffffffffff", Emphasis: No norm, Version: Patchbay 0.1.0'
    )


def test_defaults_that_other_tools_leave_out_are_left_out() -> None:
    text = format_infotext(GenerationRequest(prompt="x"))
    assert all(f"{key}: " not in text for key in ("Clip skip", "Emphasis", "VAE", "Model", "Batch size"))
    assert "Negative prompt" not in text


def test_the_order_names_no_key_twice() -> None:
    assert len(set(ORDER)) == len(ORDER)


OLDER = """\
masterpiece, <lora:ink:0.8>
second line: with, colons: and commas
Negative prompt: bad, worse
and more
Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 5.5, Seed: 4294967295, Size: 640x960, Model hash: 6ce0161689, \
Model: v1-5, Denoising strength: 0.7, Clip skip: 2, ENSD: 31337, Hires upscale: 2, \
Lora hashes: "ink: 123abcdef456, b c: 789abcdef012", Version: v1.10.1"""


def test_the_text_of_another_tool_is_read() -> None:
    parsed = parse_infotext(OLDER)
    assert parsed.request == GenerationRequest(
        prompt="masterpiece, <lora:ink:0.8>\nsecond line: with, colons: and commas",
        negative_prompt="bad, worse\nand more",
        steps=28, sampler="DPM++ 2M", schedule_type="Karras", cfg_scale=5.5, seed=2**32 - 1, width=640, height=960,
        checkpoint="v1-5", clip_skip=2, hires_scale=2, denoising_strength=0.7,
    )  # fmt: skip
    assert parsed.extras["ENSD"] == "31337"
    assert parse_hashes(parsed.extras["Lora hashes"]) == {"ink": "123abcdef456", "b c": "789abcdef012"}
    assert not parsed.problems
    assert "emphasis" not in parsed.present and "schedule_type" in parsed.present


@pytest.mark.parametrize("text", ["time: 10, place: home, mood: dark", "just words", "a: 1, b: 2"])
def test_a_prompt_that_looks_like_settings_is_a_prompt(text: str) -> None:
    assert parse_infotext(text).request == GenerationRequest(prompt=text)


@pytest.mark.parametrize("line", ["Steps: NaN", "Steps: 1e99", "CFG scale: inf", "Size: 513x512", "Emphasis: loud"])
def test_a_value_that_cannot_be_used_is_left_out_and_reported(line: str) -> None:
    parsed = parse_infotext(f"x\nSeed: 3, Sampler: Heun, {line}")
    assert parsed.request == GenerationRequest(
        prompt="x", seed=3, sampler="Heun", schedule_type="Automatic",
        height=512, width=512,
    )  # fmt: skip
    assert len(parsed.problems) == 1


def test_a_text_made_to_be_slow_is_read_at_once() -> None:
    for line in ("a" * 200_000, " " * 200_000, 'ab:"' * 50_000, 'ab:"\\"' * 30_000, "ab: " + "," * 200_000):
        parse_infotext(f"Seed: 1, Steps: 2, Size: 8x8,{line}")


@pytest.mark.parametrize(
    ("joined", "halves"),
    [
        ("DPM++ 2M Karras", ("DPM++ 2M", "Karras")),
        ("DPM++ 2M SDE Exponential", ("DPM++ 2M SDE", "Exponential")),
        ("DPM++ 2M sgm uniform", ("DPM++ 2M", "SGM Uniform")),
        ("Euler a", ("Euler a", "Automatic")),
        ("Karras", ("Karras", "Automatic")),
    ],
)
def test_a_joined_sampler_name_is_its_two_halves(joined: str, halves: tuple[str, str]) -> None:
    assert split_sampler(joined) == halves
