"""What tags mean on a model: which parameter gets which strength at which step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from app.patching.blocks import blocks
from app.patching.plan import PatchPlan, plan
from tests.patching.tiny import FullPatch, Network, network, tag

IN_AND_OUT = ("te", "unet", "in", "mid", "out", "vae")


class Stage(nn.Module):
    def __init__(self, resnets: int, attentions: bool, sampler: str | None) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(nn.Linear(1, 1) for _ in range(resnets))
        if attentions:
            self.attentions = nn.ModuleList(nn.Linear(1, 1) for _ in range(resnets))
        if sampler:
            setattr(self, sampler, nn.ModuleList([nn.Linear(1, 1)]))


class UNet(nn.Module):
    """The module tree of a UNet with as many stages as it says, attention where it says."""

    def __init__(self, attentions: tuple[bool, ...]) -> None:
        super().__init__()
        last = len(attentions) - 1
        self.conv_in = nn.Linear(1, 1)
        self.time_embedding = nn.Linear(1, 1)
        self.down_blocks = nn.ModuleList(
            Stage(2, has, "downsamplers" if place < last else None) for place, has in enumerate(attentions)
        )
        self.mid_block = Stage(2, True, None)
        self.up_blocks = nn.ModuleList(
            Stage(3, has, "upsamplers" if place < last else None) for place, has in enumerate(attentions[::-1])
        )
        self.conv_out = nn.Linear(1, 1)


class Transformer(nn.Module):
    def __init__(self, double: int = 2, single: int = 4) -> None:
        super().__init__()
        self.x_embedder = nn.Linear(1, 1)
        self.transformer_blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(double))
        self.single_transformer_blocks = nn.ModuleList(nn.Linear(1, 1) for _ in range(single))
        self.proj_out = nn.Linear(1, 1)


def sd1() -> UNet:
    return UNet((True, True, True, False))


def sdxl() -> UNet:
    return UNet((False, True, True))


def whole(model: Mapping[str, nn.Module]) -> Network:
    """A network that changes every parameter."""
    patches = {
        f"{component}.{name}": (FullPatch(torch.ones_like(parameter)),)
        for component, module in model.items()
        for name, parameter in module.named_parameters()
    }
    return Network(Path("whole.safetensors"), patches)


def strength(planned: PatchPlan, name: str) -> tuple[float, ...]:
    """The strength of the only patch of a layer; zeros where it is not in the plan."""
    found = planned.patches.get(f"{name}.weight")
    return found[0].strengths if found else (0.0,) * planned.steps


SD1_BLOCKS = {
    "conv_in": "in0",
    "down_blocks.0.resnets.0": "in1",
    "down_blocks.0.attentions.1": "in2",
    "down_blocks.0.downsamplers.0": "in3",
    "down_blocks.1.attentions.0": "in4",
    "down_blocks.2.attentions.1": "in8",
    "down_blocks.2.downsamplers.0": "in9",
    "down_blocks.3.resnets.0": "in10",
    "down_blocks.3.resnets.1": "in11",
    "mid_block.attentions.0": "mid0",
    "up_blocks.0.resnets.0": "out0",
    "up_blocks.0.upsamplers.0": "out2",
    "up_blocks.1.attentions.0": "out3",
    "up_blocks.2.attentions.2": "out8",
    "up_blocks.3.attentions.0": "out9",
    "up_blocks.3.resnets.2": "out11",
}
SDXL_BLOCKS = {
    "down_blocks.0.resnets.1": "in2",
    "down_blocks.1.attentions.0": "in4",
    "down_blocks.1.attentions.1": "in5",
    "down_blocks.2.attentions.0": "in7",
    "down_blocks.2.attentions.1": "in8",
    "up_blocks.0.attentions.0": "out0",
    "up_blocks.1.attentions.2": "out5",
    "up_blocks.2.resnets.2": "out8",
}


@pytest.mark.parametrize(("make", "table"), [(sd1, SD1_BLOCKS), (sdxl, SDXL_BLOCKS)], ids=["sd1", "sdxl"])
def test_blocks_are_counted_as_the_original_web_ui_counts_them(make: object, table: Mapping[str, str]) -> None:
    found = blocks(make())
    assert {name: found.of(f"{name}.weight").name for name in table} == table


def test_sd1_has_26_blocks_with_base_and_sdxl_has_20() -> None:
    assert len(blocks(sd1()).names) == 25
    assert len(blocks(sdxl()).names) == 19


def test_groups_are_down_middle_and_up_and_the_rest_takes_the_unets_strength() -> None:
    model = {"unet": sd1()}
    planned = plan([(tag(1.0, **{"in": 0.1, "mid": 0.2, "out": 0.3, "unet": 0.4}), whole(model))], model, 1)
    for name, expected in {
        "down_blocks.3.resnets.0": 0.1,
        "down_blocks.0.downsamplers.0": 0.1,
        "mid_block.resnets.1": 0.2,
        "up_blocks.0.resnets.0": 0.3,
        "conv_in": 0.4,
        "conv_out": 0.4,
        "time_embedding": 0.4,
    }.items():
        assert strength(planned, f"unet.{name}") == (expected,), name


def test_a_single_block_replaces_its_group() -> None:
    model = {"unet": sd1()}
    planned = plan([(tag(1.0, in4=0.25, in0=0.5, mid0=0.0), whole(model))], model, 1)
    assert strength(planned, "unet.down_blocks.1.attentions.0") == (0.25,)
    assert strength(planned, "unet.down_blocks.1.attentions.1") == (1.0,)
    assert strength(planned, "unet.conv_in") == (0.5,)
    assert "unet.mid_block.resnets.0.weight" not in planned.patches
    assert not planned.problems


def test_transformers_are_cut_in_thirds_over_all_their_lists() -> None:
    model = {"transformer": Transformer()}
    planned = plan([(tag(1.0, **{"in": 0.1, "mid": 0.2, "out": 0.3, "block3": 0.9}), whole(model))], model, 1)
    got = [strength(planned, f"transformer.transformer_blocks.{n}") for n in range(2)]
    got += [strength(planned, f"transformer.single_transformer_blocks.{n}") for n in range(4)]
    assert got == [(0.1,), (0.1,), (0.2,), (0.9,), (0.3,), (0.3,)]
    assert strength(planned, "transformer.x_embedder") == (1.0,)


@pytest.mark.parametrize("key", ["in12", "out12", "mid1", "block0"])
def test_a_block_the_model_does_not_have_is_a_problem_with_its_span(key: str) -> None:
    model = {"unet": sd1()}
    (problem,) = plan([(tag(1.0, **{key: 0.5}), whole(model))], model, 1).problems
    assert problem.level == "error"
    assert key in problem.message
    assert "in0 to in11" in problem.hint
    assert problem.span == (0, 5)


def test_each_text_encoder_may_have_its_own_strength() -> None:
    model = {"text_encoder": nn.ModuleList([nn.Linear(1, 1)]), "text_encoder_2": nn.ModuleList([nn.Linear(1, 1)])}
    planned = plan([(tag(1.0, te=0.5, te2=0.25), whole(model))], model, 1)
    assert strength(planned, "text_encoder.0") == (0.5,)
    assert strength(planned, "text_encoder_2.0") == (0.25,)
    (problem,) = plan([(tag(1.0, te3=0.5), whole(model))], model, 1).problems
    assert "te3" in problem.message


@pytest.mark.parametrize(
    ("module", "kept"),
    [("unet", {"unet"}), ("te", {"text_encoder"}), ("vae", {"vae"}), ("transformer", {"unet"}), (None, set("abc"))],
)
def test_module_restricts_to_one_component(module: str | None, kept: set[str]) -> None:
    model = {name: nn.ModuleList([nn.Linear(1, 1)]) for name in ("unet", "text_encoder", "vae")}
    planned = plan([(replace(tag(1.0), module=module), whole(model))], model, 1)
    assert {name.split(".")[0] for name in planned.patches} == (kept if module else set(model))
    assert not planned.problems


def test_a_module_the_model_does_not_have_is_a_problem() -> None:
    model = {"unet": sd1()}
    planned = plan([(replace(tag(1.0), module="low"), whole(model))], model, 1)
    assert [problem.level for problem in planned.problems] == ["error"]
    assert not planned.patches


def test_block_weights_multiply_and_base_is_the_text_encoders() -> None:
    model = {"unet": sd1(), "text_encoder": nn.ModuleList([nn.Linear(1, 1)])}
    vector = tuple(float(number) for number in range(2, 19))
    planned = plan([(replace(tag(0.5), lbw=vector), whole(model))], model, 1)
    assert not planned.problems
    for name, number in {
        "text_encoder.0": 2,
        "unet.down_blocks.0.attentions.0": 3,
        "unet.down_blocks.2.attentions.1": 8,
        "unet.mid_block.attentions.0": 9,
        "unet.up_blocks.1.attentions.0": 10,
        "unet.up_blocks.3.attentions.2": 18,
        "unet.conv_in": 0,
        "unet.down_blocks.3.resnets.0": 0,
        "unet.conv_out": 1,
    }.items():
        assert strength(planned, name) == (0.5 * number,), name


@pytest.mark.parametrize(("make", "length"), [(sd1, 26), (sd1, 17), (sdxl, 12), (sdxl, 20)])
def test_the_vectors_of_a_family_name_blocks_it_has(make: object, length: int) -> None:
    model = {"unet": make()}
    assert not plan([(replace(tag(1.0), lbw=(1.0,) * length), whole(model))], model, 1).problems


def test_the_block_weights_of_flux_name_each_of_its_encoders_and_blocks() -> None:
    encoders = {"text_encoder": nn.Sequential(nn.Linear(1, 1)), "text_encoder_2": nn.Sequential(nn.Linear(1, 1))}
    model = {"transformer": Transformer(19, 38), **encoders}
    planned = plan([(replace(tag(0.5), lbw=tuple(map(float, range(1, 62)))), whole(model))], model, 1)
    assert not planned.problems
    for name, number in {
        "text_encoder.0": 1,
        "text_encoder_2.0": 2,
        "transformer.x_embedder": 3,
        "transformer.transformer_blocks.0": 4,
        "transformer.transformer_blocks.18": 22,
        "transformer.single_transformer_blocks.0": 23,
        "transformer.single_transformer_blocks.37": 60,
        "transformer.proj_out": 61,
    }.items():
        assert strength(planned, name) == (0.5 * number,), name


@pytest.mark.parametrize("length", [12, 17, 20, 26])
def test_block_weights_of_another_kind_of_model_are_an_error_and_weigh_nothing(length: int) -> None:
    unet, flux = {"unet": sd1()}, {"transformer": Transformer(19, 38)}
    for model, count, name in ((unet, 61, "unet.mid_block.resnets.0"), (flux, length, "transformer.proj_out")):
        planned = plan([(replace(tag(0.5), lbw=(0.25,) * count), whole(model))], model, 1)
        assert [problem.level for problem in planned.problems] == ["error"]
        assert strength(planned, name) == (0.5,)


def test_block_weights_of_blocks_the_model_lacks_are_said() -> None:
    (problem,) = plan([(replace(tag(1.0), lbw=(1.0,) * 17), whole(model := {"unet": sdxl()}))], model, 1).problems
    assert problem.level == "warning"
    assert "out9" in problem.message
    (problem,) = plan(
        [(replace(tag(1.0), lbw=(1.0,) * 17), whole(model := {"transformer": Transformer()}))], model, 1
    ).problems
    assert problem.level == "error"


def test_two_tags_of_one_network_add_up() -> None:
    model = {"unet": sd1()}
    found = whole(model)
    planned = plan([(tag(0.5, 0.0), found), (tag(0.25, -0.5), found)], model, 2)
    assert strength(planned, "unet.conv_in") == (0.75, -0.5)
    assert all(len(patches) == 1 for patches in planned.patches.values())


def test_tags_that_cancel_out_touch_nothing() -> None:
    model = {"unet": sd1()}
    found = whole(model)
    assert not plan([(tag(0.1), found), (tag(0.2), found), (tag(-0.1), found), (tag(-0.2), found)], model, 1).patches


def test_static_and_scheduled_parameters_are_told_apart() -> None:
    model = {"unet": sd1()}
    planned = plan([(tag(1.0, 1.0, out=(0.0, 1.0)), whole(model))], model, 2)
    assert all(".up_blocks." in name for name in planned.scheduled)
    assert planned.static | planned.scheduled == set(planned.patches)
    assert "unet.up_blocks.0.resnets.0.weight" in planned.scheduled
    assert "unet.conv_in.weight" in planned.static


def test_states_are_equal_exactly_where_the_strengths_are() -> None:
    model = {"unet": sd1(), "text_encoder": nn.ModuleList([nn.Linear(1, 1)])}
    planned = plan([(tag(0.0, 0.1, 0.2, 0.1, te=(0.5, 0.5, 1.0, 0.5)), whole(model))], model, 4)
    encoder = planned.component("text_encoder")
    assert list(encoder.moments.values()) == [(1, 2, 4), (3,)]
    assert list(planned.component("unet").moments.values()) == [(1,), (2, 4), (3,)]
    assert planned.component("vae").state(1) == ()


def test_states_of_two_plans_differ_where_the_strengths_stand_elsewhere() -> None:
    model = {"unet": sd1()}
    found = whole(model)
    one = plan([(tag(1.0, **{"in": 0.3, "out": 0.5}), found)], model, 1)
    other = plan([(tag(1.0, **{"in": 0.5, "out": 0.3}), found)], model, 1)
    again = plan([(tag(1.0, **{"in": 0.3, "out": 0.5}), found)], model, 1)
    assert one.state(1) == again.state(1) != other.state(1)


def test_dyn_keeps_the_patch_and_the_number_of_its_ranks() -> None:
    model = {"unet": sd1()}
    planned = plan([(replace(tag(1.0), dyn=4), whole(model)), (tag(1.0), whole(model))], model, 1)
    assert [one.ranks for one in planned.patches["unet.conv_in.weight"]] == [None, 4]


def test_another_number_of_steps_is_refused() -> None:
    model = {"unet": sd1()}
    with pytest.raises(ValueError, match="steps"):
        plan([(tag(1.0, 1.0), network("ink", 0))], model, 3)
