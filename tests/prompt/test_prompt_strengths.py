"""Network tags over the steps: every argument, every way of writing a schedule, every way of getting one wrong."""

import pytest

from app.prompt.arguments import LBW_PRESETS
from app.prompt.schedule import ScheduledNetwork, ScheduleOptions, schedule
from app.prompt.strength import DEFAULTS

RAMP = ScheduleOptions(separator="ramp")


def network(text: str, steps: int = 5, options: ScheduleOptions = DEFAULTS, hires: bool = False) -> ScheduledNetwork:
    scheduled = schedule(text, steps, options, hires=hires)
    assert not [problem for problem in scheduled.problems if problem.level == "error"]
    (found,) = scheduled.networks
    return found


def constants(text: str, hires: bool = False) -> dict[str, float]:
    strengths = network(text, 4, hires=hires).strengths
    assert all(len(set(values)) == 1 for values in strengths.values())
    return {name: values[0] for name, values in strengths.items()}


def everything(**strengths: float) -> dict[str, float]:
    """te, unet and vae, with the blocks following unet; then whatever else is named."""
    unet = strengths["unet"]
    return {"in": unet, "mid": unet, "out": unet} | strengths


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<lora:x>", everything(te=1, unet=1, vae=1)),
        ("<lora:x:0.8>", everything(te=0.8, unet=0.8, vae=0.8)),
        ("<lora:x:-0.5>", everything(te=-0.5, unet=-0.5, vae=-0.5)),
        ("<lora:x: +.5 >", everything(te=0.5, unet=0.5, vae=0.5)),
        ("<lora:x:0:1>", everything(te=0, unet=1, vae=0)),
        ("<lora:x:te=0.3>", everything(te=0.3, unet=0.3, vae=1)),
        ("<lora:x:unet=0.5>", everything(te=1, unet=0.5, vae=1)),
        ("<lora:x:0.7:te=0>", everything(te=0, unet=0.7, vae=0.7)),
        ("<lora:x:0.7:unet=0>", everything(te=0.7, unet=0, vae=0.7)),
        ("<lora:x:dit=0.5>", everything(te=1, unet=0.5, vae=1)),
        ("<lora:x:transformer=0.5>", everything(te=1, unet=0.5, vae=1)),
        ("<lora:x:vae=0>", everything(te=1, unet=1, vae=0)),
        ("<lora:x:0.5:te2=0.2>", everything(te=0.5, unet=0.5, vae=0.5, te2=0.2)),
        ("<lora:x:1:in=0:mid=0.5>", everything(te=1, unet=1, vae=1) | {"in": 0, "mid": 0.5}),
        (
            "<lora:x:1:in4=0:out7=2:block3=0.1>",
            everything(te=1, unet=1, vae=1) | {"in4": 0, "out7": 2, "block3": 0.1},
        ),
        ("<lora:x:1:UNET=0.5>", everything(te=1, unet=0.5, vae=1)),
        ("<lora:x:0.6:module=unet>", everything(te=0, unet=0.6, vae=0)),
        ("<lora:x:0.6:module=te>", everything(te=0.6, unet=0, vae=0)),
        ("<lora:x:0.6:module=low>", everything(te=0, unet=0.6, vae=0)),
        ("<lora:x:0.6:module=vae>", everything(te=0, unet=0, vae=0.6)),
    ],
)
def test_what_is_not_named_takes_the_first_number(text: str, expected: dict[str, float]) -> None:
    assert constants(text) == expected


def test_a_tag_without_a_number_has_the_default_strength() -> None:
    strengths = network("<lora:x:te=0.2>", 1, ScheduleOptions(default_strength=0.6)).strengths
    assert (strengths["te"], strengths["unet"], strengths["vae"]) == ((0.2,), (0.2,), (0.6,))


@pytest.mark.parametrize(
    ("text", "te", "unet", "vae"),
    [
        ("<lora:x:0.8>", 0.8, 0.8, 0.8),
        ("<lora:x:0.8:hr=0>", 0, 0, 0),
        ("<lora:x:0.5:hr=0.6>", 0.6, 0.6, 0.6),
        ("<lora:x:1:hr=0.6:hrte=0.5>", 0.5, 0.6, 0.6),
        ("<lora:x:1:te=0.4:hrunet=0.2>", 0.4, 0.2, 1),
        ("<lora:x:1:in=0.3:hrunet=0.2>", 1, 0.2, 1),
    ],
)
def test_the_hires_pass_has_its_own_strengths(text: str, te: float, unet: float, vae: float) -> None:
    assert constants(text, hires=True) == everything(te=te, unet=unet, vae=vae)
    assert all(not name.startswith("hr") for name in constants(text))


def test_a_schedule_of_the_hires_pass_runs_over_its_own_steps() -> None:
    assert network("<lora:x:0@0~1@1>", 3, hires=True).strengths["te"] == (0, 0.5, 1)
    assert network("<lora:x:1:hr=0@0~1@1>", 3, hires=True).strengths["te"] == (0, 0.5, 1)


SCHEDULES = [
    ("0@0~1@1", 5, [0, 0.25, 0.5, 0.75, 1]),
    ("0.1@1,0.6@6", 8, [0.1] * 5 + [0.6] * 3),
    ("0.1@1;0.6@6", 8, [0.1] * 5 + [0.6] * 3),
    ("1@3,0@5", 6, [1, 1, 1, 1, 0, 0]),
    ("0@1~1@5", 5, [0, 0.25, 0.5, 0.75, 1]),
    ("0@2~1@4", 5, [0, 0, 0.5, 1, 1]),
    ("0@0~1@50%", 5, [0, 0.5, 1, 1, 1]),
    ("0@0~1@0.5", 5, [0, 0.5, 1, 1, 1]),
    ("0@0%~1@100%,0.3@100%", 3, [0, 0.5, 0.3]),
    ("0@0,1@50%", 4, [0, 0, 1, 1]),
    ("0@0~1@50%~0@1", 5, [0, 0.5, 1, 0.5, 0]),
    ("0@1~1@3,0.5@100%", 5, [0, 0.5, 1, 1, 0.5]),
    ("0@2,1@50%,0.5@0.75", 5, [0, 0, 1, 0.5, 0.5]),
    ("1@4,0@2", 5, [0, 0, 0, 1, 1]),
    ("1@1~0@0", 3, [0, 0.5, 1]),
    ("0@2,0.5@2,1@2", 3, [0, 1, 1]),
    ("0@0~1@9", 5, [1 / 9, 2 / 9, 3 / 9, 4 / 9, 5 / 9]),
    ("0@-1~1@3", 4, [0.5, 0.75, 1, 1]),
    ("0.7@3", 4, [0.7] * 4),
    ("-1@0~1@1", 3, [-1, 0, 1]),
    (" 0 @ 0 ~ 1 @ 50 % ", 3, [0, 1, 1]),
    ("0@0~1@1", 1, [1]),
    ("0@0~1@1", 2, [0, 1]),
    ("0@0,1@0.5", 2, [0, 1]),
    ("0.1@1,0.6@6", 1, [0.1]),
    ("0@7%,1@7%", 101, [0] * 7 + [1] * 94),
    ("1e-1@0,2.5E-1@1", 2, [0.1, 0.25]),
]


@pytest.mark.parametrize(("text", "steps", "expected"), SCHEDULES)
def test_a_schedule_says_the_strength_of_each_step(text: str, steps: int, expected: list[float]) -> None:
    strengths = network(f"<lora:x:te={text}:unet=1>", steps).strengths
    assert strengths["te"] == pytest.approx(expected)
    assert strengths["unet"] == (1.0,) * steps


def test_any_strength_may_be_a_schedule() -> None:
    found = network("<lora:x:1@0,0@1:te2=0@0,1@1:mid=1@2,2@3:in4=0@0~2@1:vae=0@3,1@4>", 5).strengths
    assert found["te"] == found["unet"] == found["out"] == (1, 1, 1, 1, 0)
    assert found["te2"] == (0, 0, 0, 0, 1)
    assert found["mid"] == (1, 1, 2, 2, 2)
    assert found["in4"] == (0, 0.5, 1, 1.5, 2)
    assert found["vae"] == (0, 0, 0, 1, 1)


def test_the_separator_setting_makes_a_comma_ramp_and_leaves_the_semicolon_switching() -> None:
    assert network("<lora:x:0@0,1@1>", 3, RAMP).strengths["te"] == (0, 0.5, 1)
    assert network("<lora:x:0@0;1@1>", 3, RAMP).strengths["te"] == (0, 0, 1)
    assert network("<lora:x:0@0,1@1>", 3).strengths["te"] == (0, 0, 1)


@pytest.mark.parametrize(
    ("text", "steps", "inside"),
    [
        ("start=3", 5, [3, 4, 5]),
        ("stop=3", 5, [1, 2, 3]),
        ("start=2:stop=4", 5, [2, 3, 4]),
        ("start=1", 5, [1, 2, 3, 4, 5]),
        ("stop=1", 5, [1]),
        ("start=0:stop=1", 5, [1, 2, 3, 4, 5]),
        ("start=0.5", 5, [3, 4, 5]),
        ("start=25%:stop=75%", 5, [2, 3, 4]),
        ("start=0.5:stop=1", 5, [3, 4, 5]),
        ("start=4:stop=2", 5, []),
        ("start=9", 5, []),
        ("stop=0.5", 1, [1]),
    ],
)
def test_outside_start_and_stop_the_strength_is_nothing(text: str, steps: int, inside: list[int]) -> None:
    for values in network(f"<lora:x:0.5:{text}>", steps).strengths.values():
        assert values == tuple(0.5 if step in inside else 0.0 for step in range(1, steps + 1))


@pytest.mark.parametrize(
    ("text", "steps", "expected"),
    [
        ("[<lora:a>:<lora:b>:0.5]", 4, [(1, 1, 0, 0), (0, 0, 1, 1)]),
        ("[<lora:a>|<lora:b>]", 4, [(1, 0, 1, 0), (0, 1, 0, 1)]),
        ("[<lora:a:0.5>::2]", 4, [(0.5, 0.5, 0, 0)]),
        ("[cat <lora:a:0@0~1@1>:3]", 5, [(0, 0, 0, 0.75, 1)]),
        ("[[<lora:a>|<lora:b>]:<lora:c>:2]", 4, [(1, 0, 0, 0), (0, 1, 0, 0), (0, 0, 1, 1)]),
        ("([<lora:a>:1]:1.2)", 2, [(0, 1)]),
        ("<lora:a:0.5> <lora:a:0.25>", 2, [(0.5, 0.5), (0.25, 0.25)]),
    ],
)
def test_editing_and_alternation_schedule_the_networks_in_them(
    text: str, steps: int, expected: list[tuple[float, ...]]
) -> None:
    scheduled = schedule(text, steps)
    assert [found.strengths["unet"] for found in scheduled.networks] == expected
    assert [found.strengths["te"] for found in scheduled.networks] == expected


def test_lyco_is_lora_and_extensions_may_add_kinds() -> None:
    assert network("<lyco:x>").kind == "lora"
    assert network("<hypernet:x:0.5>").kind == "hypernet"
    assert network("<mine:x>", options=ScheduleOptions(kinds=frozenset({"mine"}))).kind == "mine"


@pytest.mark.parametrize(
    ("text", "dyn", "unet"), [("<lora:x:1:0.5:8>", 8, 0.5), ("<lora:x:dyn=8>", 8, 1), ("<lora:x:1:1:4:dyn=8>", 8, 1)]
)
def test_dyn_keeps_the_first_ranks(text: str, dyn: int, unet: float) -> None:
    found = network(text)
    assert (found.dyn, found.strengths["unet"][0]) == (dyn, unet)


@pytest.mark.parametrize("name", LBW_PRESETS)
def test_a_preset_is_a_number_for_each_block(name: str) -> None:
    preset = network(f"<lora:x:1:lbw={name}>").lbw
    assert preset is not None
    assert len(preset) == (61 if name.startswith("FLUX") else 17)
    assert preset == network(f"<lora:x:1:lbw={','.join(map(str, preset))}>").lbw


def test_the_presets_are_those_published() -> None:
    shown = {
        name: "".join("1" if value == 1 else "h" if value else "0" for value in row)
        for name, row in LBW_PRESETS.items()
    }
    assert shown == {
        "NONE": "0" * 17,
        "ALL": "1" * 17,
        "INS": "1111" + "0" * 13,
        "IND": "1000111" + "0" * 10,
        "INALL": "1" * 7 + "0" * 10,
        "MIDD": "1000" + "1" * 8 + "0" * 5,
        "OUTD": "1" + "0" * 7 + "1111" + "0" * 5,
        "OUTS": "1" + "0" * 11 + "11111",
        "OUTALL": "1" + "0" * 7 + "1" * 9,
        "ALL0.5": "h" * 17,
        "FLUXALL": "1" * 61,
    }


@pytest.mark.parametrize("count", [12, 17, 20, 26, 61])
def test_block_weights_multiply_and_come_in_five_lengths(count: int) -> None:
    assert network(f"<lora:x:lbw={', '.join(['0.5'] * count)}>").lbw == (0.5,) * count


@pytest.mark.parametrize("text", ["high", "HIGH", "transformer"])
def test_the_high_noise_model_is_the_first_transformer(text: str) -> None:
    assert network(f"<lora:x:module={text}>").module == "transformer"


MALFORMED = [
    "0. 6",
    "1.1.",
    "ALL",
    "nan",
    "inf",
    "-inf",
    "1,0",
    "1.0.0",
    "0x1",
    "1_0",
    "١",
    "",
    " ",
    "0@",
    "@1",
    "0@0,1",
    "0,1@1",
    "1@x",
    "0@0~",
    "~1@1",
    "0@0~~1@1",
    "1@50%%",
    "1e400",
    "1001",
    "1@1e400",
    "0@1e9",
    "te",
    "te=",
    "te=0. 6",
    "te=nan",
    "in=x",
    "in4=x",
    "dyn=x",
    "dyn=0",
    "dyn=-1",
    "dyn=1.5",
    "1:1:x",
    "1:1:8:9",
    "lbw=MINE",
    "lbw=1,2,3",
    "lbw=",
    "lbw=" + "1," * 16 + "x",
    "lbw=" + "1," * 16 + "1@1",
    "start=",
    "start=x",
    "stop=nan",
    "module=",
    "module=clip",
    "foo=1",
    "tee=1",
    "te4=1",
    "te=1:te=1",
    "unet=1:dit=1",
    "hr=x",
]


@pytest.mark.parametrize("arguments", MALFORMED)
def test_a_malformed_tag_is_one_error_and_the_tag_beside_it_works(arguments: str) -> None:
    bad = f"<lora:bad:{arguments}>"
    text = f"a {bad} <lora:good:0.5> cat"
    scheduled = schedule(text, 3)
    errors = [problem for problem in scheduled.problems if problem.level == "error"]
    assert len(errors) == 1
    assert errors[0].span == (2, 2 + len(bad))
    assert bad in errors[0].message and errors[0].hint
    assert [(found.name, found.strengths["te"]) for found in scheduled.networks] == [("good", (0.5, 0.5, 0.5))]
    assert scheduled.stages[0].text == "a cat"


@pytest.mark.parametrize(
    ("arguments", "remedy"),
    [
        ("ALL", "lbw=ALL"),
        ("1,0", "1.0"),
        ("0. 6", "without spaces"),
        ("nan", "finite"),
        ("tee=1", "te="),
        ("0@0,1", "position"),
        ("lbw=1,2", "OUTALL"),
    ],
)
def test_the_remedy_fits_the_slip(arguments: str, remedy: str) -> None:
    (problem,) = schedule(f"<lora:x:{arguments}>", 3).problems
    assert remedy in problem.hint


def test_a_windows_path_is_told_to_stand_in_quotes_and_then_works() -> None:
    (problem,) = schedule("<lora:C:\\models\\x:0.5>", 3).problems
    assert problem.level == "error"
    assert '<lora:"C:\\models\\x":0.5>' in problem.hint
    assert network('<lora:"C:\\models\\x":0.5>').name == "C:\\models\\x"


@pytest.mark.parametrize(
    "text", ["<lora:>", "<lora::1>", '<lora:"">', "<lora:foo", "<lora:foo:1", '<lora:"foo:1>', "<LORA:foo"]
)
def test_what_is_no_whole_tag_is_text_and_an_error(text: str) -> None:
    scheduled = schedule(f"a {text}", 3)
    assert scheduled.stages[0].text == f"a {text}"
    assert scheduled.networks == ()
    errors = [problem for problem in scheduled.problems if problem.level == "error"]
    assert len(errors) == 1
    assert errors[0].span is not None and errors[0].span[0] == 2
    assert errors[0].hint


def test_an_unknown_kind_is_text_and_a_warning() -> None:
    scheduled = schedule("a <foo:bar> cat", 3)
    assert scheduled.stages[0].text == "a <foo:bar> cat"
    (problem,) = scheduled.problems
    assert (problem.level, problem.span) == ("warning", (2, 11))


@pytest.mark.parametrize("text", ["a < b: c", "<3 :", "a <b", "x<y:z", "\\<lora:x>", "<:>"])
def test_a_less_than_sign_alone_is_nothing_to_tell(text: str) -> None:
    scheduled = schedule(text, 3)
    assert (scheduled.problems, scheduled.networks, scheduled.stages[0].text) == ((), (), text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<lora:x:0@1,1@30>", "beyond"),
        ("<lora:x:0@1,1@1.5>", "beyond"),
        ("<lora:x:0@-2,1@3>", "before"),
        ("<lora:x:1@4,0@2>", "order of time"),
        ("<lora:x:0@2,0.5@2>", "twice"),
        ("<lora:x:1:start=9>", "not in force"),
        ("[a <lora:x>::0]", "not in force"),
    ],
)
def test_what_is_legal_but_hardly_meant_is_a_warning_and_still_works(text: str, said: str) -> None:
    scheduled = schedule(text, 5)
    assert [problem.level for problem in scheduled.problems] == ["warning"]
    assert said in scheduled.problems[0].message
    assert len(scheduled.networks) == 1


@pytest.mark.parametrize("text", ["<lora:x:0@0~1@50%,0@50%>", "<lora:x:0@0,1@5>", "<lora:x:0@0~1@1>", "<lora:x:1@1>"])
def test_what_is_meant_is_not_warned_of(text: str) -> None:
    assert schedule(text, 5).problems == ()
    assert schedule(text.replace("@5>", "@1>"), 1).problems == ()
