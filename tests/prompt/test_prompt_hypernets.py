"""Tags of hypernetworks, which act on the UNet alone: what they say of anything else is told, where they say it."""

import pytest

from app.prompt.schedule import schedule


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<hypernet:x:te=0.5>", "te=0.5"),
        ("<hypernet:x:1:te=0.5>", "te=0.5"),
        ("<hypernet:x:unet=1:TE=0.5>", "TE=0.5"),
        ("<hypernet:x:te2=0@0~1@1>", "te2=0@0~1@1"),
        ("<hypernet:x:1:vae=0>", "vae=0"),
        ("<hypernet:x:1:hrte=0>", "hrte=0"),
        ("<hypernet:x:1:module=te>", "module=te"),
        ("<hypernet:x:1:dyn=4>", "dyn=4"),
        ("<hypernet:x:1:1:4>", "4"),
        ("[a <hypernet:x:te=0.5>:b:0.5]", "te=0.5"),
    ],
)
def test_what_a_hypernetwork_has_no_use_for_is_a_warning_at_its_place(text: str, said: str) -> None:
    (problem,) = schedule(text, 5).problems
    assert problem.level == "warning" and problem.span
    assert text[slice(*problem.span)] == said


@pytest.mark.parametrize(
    "text",
    ["<hypernet:x>", "<hypernet:x:0.6>", "<hypernet:x:unet=0.5:in=0>", "<hypernet:x:0.5:0.7:module=unet:hr=0.2>"],
)
def test_what_acts_on_the_unet_is_no_problem(text: str) -> None:
    assert schedule(text, 5).problems == ()


def test_a_strength_of_the_text_encoder_alone_is_the_hypernetworks() -> None:
    (network,) = schedule("<hypernet:x:te=0.5>", 2).networks
    assert network.strengths["unet"] == (0.5, 0.5)


def test_a_lora_may_say_all_of_it() -> None:
    assert schedule("<lora:x:te=0.5:te2=1:vae=0:dyn=4:hrte=0>", 5).problems == ()
