"""The laws of the prompt language, over any text and over text made of its own shapes."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st

from app.prompt.ast import Node, Prompt
from app.prompt.edit import format_tag, remove_tag, set_argument, tags
from app.prompt.emphasis import Break, branches, fragments
from app.prompt.explain import explain, render
from app.prompt.parser import parse
from app.prompt.schedule import ScheduleOptions, negative_problems, schedule

SHAPES = [
    *"()[]:|<>\\@~,;%=\"' \n",
    *(
        "BREAK",
        "AND",
        "<lora:",
        "<lora:x>",
        "<lyco:y:0.5>",
        "<foo:bar>",
        "<lora:x:te=0@0~1@1>",
        ":0.5]",
        ":3]",
        ":1.2)",
        "[a|b]",
    ),
    *(
        "[<lora:x>:<lora:y>:2]",
        "te=",
        "unet=",
        "in4=",
        "lbw=ALL",
        "start=2",
        "stop=50%",
        "dyn=4",
        "1@3",
        "nan",
        "1e9",
        "-3",
        "cat",
    ),
]
prompts = st.text(max_size=80) | st.lists(st.sampled_from(SHAPES) | st.text(max_size=4), max_size=40).map("".join)
steps = st.sampled_from([1, 2, 3, 5, 20, 33])
options = st.builds(ScheduleOptions, st.floats(-2, 2), st.sampled_from(["switch", "ramp"]))
keys = st.sampled_from(["", "te=", "unet=", "in=", "in3=", "vae=", "hr=", "start=", "stop="])
arguments = st.lists(st.tuples(keys, st.text("0123456789.@~,;% +-e", max_size=12)), max_size=4)


@given(prompts)
def test_any_text_parses_and_prints_as_itself(text: str) -> None:
    assert str(parse(text)) == text


@given(prompts)
def test_the_spans_of_the_tree_tile_the_text(text: str) -> None:
    prompt = parse(text)
    assert tiled(prompt.items, 0, prompt) == len(text)


def tiled(parts: tuple[str | Node, ...], start: int, prompt: Prompt) -> int:
    """Where the parts end, if they follow one another from `start` without a gap."""
    for part in parts:
        if isinstance(part, str):
            assert prompt.text.startswith(part, start)
            start += len(part)
        else:
            assert part.span[0] == start
            start = tiled(part.parts(), start, prompt)
            assert part.span[1] == start
    return start


@given(prompts, steps, options, st.booleans())
@settings(max_examples=200)
def test_a_schedule_tiles_the_steps_with_finite_strengths_and_spans_in_the_text(
    text: str, count: int, chosen: ScheduleOptions, hires: bool
) -> None:
    scheduled = schedule(text, count, chosen, hires=hires)
    assert [step for stage in scheduled.stages for step in range(stage.first, stage.last + 1)] == list(
        range(1, count + 1)
    )
    for network in scheduled.networks:
        assert {"te", "unet", "in", "mid", "out", "vae"} <= network.strengths.keys()
        assert all(len(values) == count and all(map(math.isfinite, values)) for values in network.strengths.values())
        assert text[network.span[0]] == "<" and text[network.span[1] - 1] == ">"
    for problem in scheduled.problems:
        assert problem.span is not None
        assert 0 <= problem.span[0] < problem.span[1] <= len(text)
        assert problem.message


@given(arguments, steps)
@settings(max_examples=300)
def test_a_tag_is_used_or_an_error_says_why_not(pairs: list[tuple[str, str]], count: int) -> None:
    text = "<lora:x" + "".join(f":{key}{value}" for key, value in pairs) + ">"
    scheduled = schedule(text, count)
    errors = [problem for problem in scheduled.problems if problem.level == "error"]
    assert bool(scheduled.networks) != bool(errors)
    assert all(error.span == (0, len(text)) and error.hint for error in errors)


@given(prompts.map(lambda text: text.replace("[", "").replace("<", "")), steps)
def test_a_text_without_square_brackets_and_tags_is_one_stage_as_typed(text: str, count: int) -> None:
    assert [(stage.first, stage.last, stage.text) for stage in schedule(text, count).stages] == [(1, count, text)]


@given(prompts)
def test_weights_are_finite_and_no_fragment_is_empty_but_the_only_one(text: str) -> None:
    parts = fragments(text)
    assert parts
    for part in parts:
        if not isinstance(part, Break):
            assert math.isfinite(part.weight)
            assert part.text or len(parts) == 1
    assert branches(text)
    assert all(math.isfinite(branch.weight) for branch in branches(text))


@given(prompts, prompts, steps)
def test_any_two_prompts_can_be_explained_and_shown(prompt: str, negative: str, count: int) -> None:
    answer = explain(prompt, negative, count)
    assert answer["prompt"][-1]["to"] == answer["negative"][-1]["to"] == count
    assert render(answer)
    assert {problem.source for problem in negative_problems(schedule(negative, count))} <= {"negative_prompt"}


@given(st.text(min_size=1, max_size=20), prompts.map(lambda text: text.replace("<", "").replace("\\", "")))
def test_any_name_can_be_written_and_read_back(name: str, before: str) -> None:
    text = f"{before} {format_tag(name, 0.5)} after"
    (tag,) = tags(text)
    assert tag.name == name
    assert [argument.value for argument in tag.arguments] == ["0.5"]
    assert tags(set_argument(text, tag, "te", 1.0))[0].name == name
    assert tags(remove_tag(text, tag)) == ()
