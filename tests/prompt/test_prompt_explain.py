"""What a prompt means, as JSON and as a table; and that saying so is light."""

import json
import subprocess
import sys

import pytest

from app.errors import RequestError
from app.prompt.explain import explain, explain_batch, render

PROMPT = "a [cat:dog:0.5] <lora:x:te=0.1@1,0.6@6:in4=0> <lora:bad:ALL>"


def test_the_record_has_stages_networks_and_problems() -> None:
    answer = explain(PROMPT, "ugly <lora:y> <hypernet:z>", 20)
    assert list(answer) == ["steps", "prompt", "negative", "networks", "negative_networks", "problems"]
    assert answer["steps"] == 20
    assert answer["prompt"] == [{"from": 1, "to": 10, "text": "a cat"}, {"from": 11, "to": 20, "text": "a dog"}]
    assert answer["negative"] == [{"from": 1, "to": 20, "text": "ugly"}]
    (entry,) = answer["networks"]
    strengths = entry.pop("strengths")
    assert entry == {"kind": "lora", "name": "x", "span": [16, 45], "dyn": None}
    assert list(strengths) == ["te", "unet", "in", "mid", "out", "vae", "in4"]
    assert all(len(values) == 20 for values in strengths.values())
    assert strengths["te"] == [0.1] * 5 + [0.6] * 15
    (opposed,) = answer["negative_networks"]
    assert (opposed["name"], opposed["span"]) == ("y", [5, 13])
    told = [(problem["level"], problem["span"], problem["source"]) for problem in answer["problems"]]
    assert told == [("error", [46, 60], "prompt"), ("error", [14, 26], "negative_prompt")]


def test_the_record_is_json_that_reads_back_as_itself() -> None:
    answer = explain("<lora:x:lbw=ALL:module=unet:dyn=4> (a", "", 3)
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer


def test_block_weights_and_modules_are_shown_where_a_tag_has_them() -> None:
    (plain,) = explain("<lora:x>", "", 1)["networks"]
    (full,) = explain("<lora:x:lbw=NONE:module=te:dyn=4>", "", 1)["networks"]
    assert not {"lbw", "module"} & plain.keys()
    assert (full["lbw"], full["module"], full["dyn"]) == ([0.0] * 17, "te", 4)


def test_a_batch_is_a_list_of_answers_in_order() -> None:
    entries = [{"prompt": "a"}, {"prompt": "b [c:1]", "negative": "d", "steps": 2}]
    assert explain_batch(entries) == [explain("a", "", 20), explain("b [c:1]", "d", 2)]


@pytest.mark.parametrize(
    ("batch", "where"),
    [
        ({}, "batch"),
        ("a", "batch"),
        (["a"], "batch[0]"),
        ([{"prompt": "a"}, {}], "batch[1]"),
        ([{"prompt": 1}], "batch[0]"),
        ([{"prompt": "a", "negative": None}], "batch[0].negative"),
        ([{"prompt": "a", "steps": 0}], "batch[0].steps"),
        ([{"prompt": "a", "steps": "20"}], "batch[0].steps"),
        ([{"prompt": "a", "seed": 1}], "batch[0]"),
    ],
)
def test_a_batch_of_something_else_says_which_entry(batch: object, where: str) -> None:
    with pytest.raises(RequestError) as caught:
        explain_batch(batch)
    assert caught.value.where == where


def test_the_table_shows_every_stage_strength_and_problem() -> None:
    table = render(explain(PROMPT, "ugly", 20))
    for shown in (
        "a cat",
        "a dog",
        "11–20",
        "ugly",
        "lora x",
        "1–5: 0.1, 6–20: 0.6",
        "in4",
        "<lora:bad:ALL>",
        "lbw=ALL",
    ):
        assert shown in table


def test_explaining_imports_no_torch() -> None:
    code = "import sys, app.prompt.explain as e; e.explain('(a)<lora:x:1@1>'); print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"
