"""The text at each step: the published cases of the original web UI, and what differs from it by intent."""

from itertools import cycle, islice

import pytest

from app.errors import RequestError
from app.prompt.schedule import PromptSchedule, negative_problems, schedule

ALTERNATING = [[step, "a" if step % 2 else "(b:1.1)"] for step in range(1, 11)]
FEMALE_OR_MALE = [[step, "female" if step % 2 else "male"] for step in range(1, 11)]
FEMALE_THEN_MALE = [[step, text] for step, text in enumerate(islice(cycle(["female", "male", "male", "male"]), 10), 1)]

PUBLISHED = [
    ("test", [[10, "test"]]),
    ("a [b:3]", [[3, "a "], [10, "a b"]]),
    ("a [b: 3]", [[3, "a "], [10, "a b"]]),
    ("a [[[b]]:2]", [[2, "a "], [10, "a [[b]]"]]),
    ("[(a:2):3]", [[3, ""], [10, "(a:2)"]]),
    ("a [b : c : 1] d", [[1, "a b  d"], [10, "a  c  d"]]),
    ("a[b:[c:d:2]:1]e", [[1, "abe"], [2, "ace"], [10, "ade"]]),
    ("a [unbalanced", [[10, "a [unbalanced"]]),
    ("a [b:.5] c", [[5, "a  c"], [10, "a b c"]]),
    ("a [{b|d{:.5] c", [[5, "a  c"], [10, "a {b|d{ c"]]),
    ("((a][:b:c [d:3]", [[3, "((a][:b:c "], [10, "((a][:b:c d"]]),
    ("[a|(b:1.1)]", ALTERNATING),
    ("[fe|]male", FEMALE_OR_MALE),
    ("[fe|||]male", FEMALE_THEN_MALE),
]


def stages(scheduled: PromptSchedule) -> list[list[object]]:
    return [[stage.last, stage.text] for stage in scheduled.stages]


def at_each_step(text: str, steps: int) -> list[str]:
    return [stage.text for stage in schedule(text, steps).stages for _ in range(stage.first, stage.last + 1)]


@pytest.mark.parametrize(("text", "expected"), PUBLISHED)
def test_the_published_cases_hold(text: str, expected: list[list[object]]) -> None:
    assert stages(schedule(text, 10)) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [("a [b:.5] c", [[10, "a b c"]]), ("a [b:1.5] c", [[5, "a  c"], [10, "a b c"]])]
)
def test_the_published_cases_of_a_hires_pass_hold(text: str, expected: list[list[object]]) -> None:
    assert stages(schedule(text, 10, hires=True, base_steps=10)) == expected


def test_whole_numbers_count_on_in_a_hires_pass() -> None:
    assert stages(schedule("[a:b:23]", 10, hires=True, base_steps=20)) == [[3, "a"], [10, "b"]]


def test_the_published_example_switches_where_it_says() -> None:
    text = (
        "fantasy landscape with a [mountain:lake:0.25] and [an oak:a christmas tree:0.75]"
        "[ in foreground::0.6][: in background:0.25] [shoddy:masterful:0.5]"
    )
    assert stages(schedule(text, 100)) == [
        [25, "fantasy landscape with a mountain and an oak in foreground shoddy"],
        [50, "fantasy landscape with a lake and an oak in foreground in background shoddy"],
        [60, "fantasy landscape with a lake and an oak in foreground in background masterful"],
        [75, "fantasy landscape with a lake and an oak in background masterful"],
        [100, "fantasy landscape with a lake and a christmas tree in background masterful"],
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[:a:5]", ["", "a"]),
        ("[a::5]", ["a", ""]),
        ("[a:b:5]", ["a", "b"]),
        ("[a:b:0.5]", ["a", "b"]),
        ("[a:b:+5]", ["a", "b"]),
        ("[a:b:5e0]", ["a", "b"]),
        ("[a\nb:c:5]", ["a\nb", "c"]),
        ("[a:b:-3]", ["b", "b"]),
        ("[a:b:0]", ["b", "b"]),
        ("[a:b:1.0]", ["a", "a"]),
        ("[a:b:15]", ["a", "a"]),
        ("[a:b:1e400]", ["a", "a"]),
        ("\\[a:b:5\\]", ["\\[a:b:5\\]"] * 2),
        ("[a:b]", ["[a:b]"] * 2),
        ("[a:b:c]", ["[a:b:c]"] * 2),
        ("[a:b:c:5]", ["[a:b:c:5]"] * 2),
        ("(a [b) c:d:5]", ["(a [b) c:d:5]"] * 2),
    ],
)
def test_the_first_and_second_half_of_ten_steps(text: str, expected: list[str]) -> None:
    each = at_each_step(text, 10)
    assert [each[0], each[4]] == [expected[0]] * 2
    assert [each[5], each[9]] == [expected[1]] * 2


def test_the_rules_of_editing_in_one_example_each() -> None:
    assert at_each_step("[a:b:5]", 20) == ["a"] * 5 + ["b"] * 15
    assert at_each_step("[a:b:0.5]", 20) == ["a"] * 10 + ["b"] * 10
    assert at_each_step("[a:5]", 20) == [""] * 5 + ["a"] * 15
    assert at_each_step("[a::5]", 20) == ["a"] * 5 + [""] * 15
    assert at_each_step("[a|b|c]", 5) == ["a", "b", "c", "a", "b"]


def test_a_space_that_comes_and_goes_is_text() -> None:
    assert stages(schedule("a[ :2]b", 4)) == [[2, "ab"], [4, "a b"]]
    assert stages(schedule("a[ |_]b", 2)) == [[1, "a b"], [2, "a_b"]]


def test_a_ratio_in_square_brackets_is_an_editing() -> None:
    assert at_each_step("[16:9]", 10) == [""] * 9 + ["16"]


@pytest.mark.parametrize(("when", "steps", "last"), [("0.29", 100, 29), ("0.07", 100, 7), (".5", 5, 2), ("0.1", 30, 3)])
def test_a_fraction_is_of_the_steps_and_rounds_down_without_rounding_errors(when: str, steps: int, last: int) -> None:
    assert schedule(f"[a:b:{when}]", steps).stages[0].last == last


def test_editing_round_alternation_and_alternation_round_editing() -> None:
    assert at_each_step("[[a|b]:c:3]", 5) == ["a", "b", "a", "c", "c"]
    assert at_each_step("[[a:b:2]|c]", 5) == ["a", "c", "b", "c", "b"]


@pytest.mark.parametrize("text", ["a | [b:c:2] | d", "|", "a|b [c|d] e|f"])
def test_a_bar_outside_brackets_is_text_and_stops_nothing(text: str) -> None:
    first = schedule(text, 4).stages[0].text
    assert first == text.replace("[b:c:2]", "b").replace("[c|d]", "c")


def test_emphasis_break_and_compositions_stay_in_the_text() -> None:
    text = "(a:1.2) [b] \\(c\\) BREAK d AND e :0.7, ratio 16:9"
    assert stages(schedule(text, 4)) == [[4, text]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a <lora:x> cat", "a cat"),
        ("<lora:x> a cat", "a cat"),
        ("a cat <lora:x>", "a cat"),
        ("a cat <lora:x> <lora:y:0.5> ", "a cat"),
        ("a <lora:x> <lora:y> cat", "a cat"),
        ("a <lora:x>\n<lora:y> cat", "a cat"),
        ("a<lora:x>cat", "acat"),
        ("a  cat <lora:x>, b", "a  cat , b"),
        ("(a <lora:x> cat:1.2)", "(a cat:1.2)"),
        ("<lora:x>", ""),
        (" a ", " a "),
    ],
)
def test_a_removed_tag_takes_the_spaces_round_it(text: str, expected: str) -> None:
    assert stages(schedule(text, 3)) == [[3, expected]]


def test_tags_alone_do_not_cut_the_text_into_stages() -> None:
    assert stages(schedule("a [<lora:x>:<lora:y>:0.5] [<lora:x>|<lora:y>] b", 10)) == [[10, "a b"]]
    assert stages(schedule("a [<lora:x> : <lora:y> :0.5] [ <lora:x> | <lora:y> ] b", 10)) == [[10, "a b"]]


@pytest.mark.parametrize("steps", [1, 2, 1000])
def test_any_number_of_steps_is_tiled(steps: int) -> None:
    scheduled = schedule("[a:b:0.5] [c|d|e] [f:g:1]", steps)
    assert [step for stage in scheduled.stages for step in range(stage.first, stage.last + 1)] == list(
        range(1, steps + 1)
    )


@pytest.mark.parametrize("steps", [0, -1, 1001, True, 2.5, None])
def test_steps_are_whole_numbers_within_bounds(steps: object) -> None:
    with pytest.raises(RequestError) as caught:
        schedule("a", steps)  # type: ignore[arg-type]
    assert caught.value.where == "steps"


def test_a_prompt_ten_thousand_brackets_deep_is_scheduled_like_any() -> None:
    depth = 10_000
    assert stages(schedule("[" * depth + "a" + ":b:0.5]" * depth, 10)) == [[5, "a"], [10, "b"]]
    text = "(" * depth + "a" + ")" * depth
    assert stages(schedule(text, 10)) == [[10, text]]


def test_a_hypernetwork_in_the_negative_prompt_is_an_error_with_its_span() -> None:
    assert not negative_problems(schedule("ugly <lora:x:0.5>", 5))
    (problem,) = negative_problems(schedule("ugly <hypernet:x:0.5>", 5))
    assert (problem.level, problem.span, problem.source) == ("error", (5, 21), "negative_prompt")
    assert problem.hint


def test_the_problems_of_a_negative_prompt_say_that_they_are_of_it() -> None:
    problems = negative_problems(schedule("(a <lora:x:zero>", 5))
    assert [problem.source for problem in problems] == ["negative_prompt"] * 2
