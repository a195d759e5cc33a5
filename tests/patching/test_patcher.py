"""The laws of patched weights, on tiny real models."""

from __future__ import annotations

import pytest
import torch

from app.errors import NetworkError
from app.patching.patcher import Patcher, patched
from app.patching.plan import PatchPlan, PlannedPatch, plan
from tests.patching.tiny import (
    DTYPES,
    LAYERS,
    FullPatch,
    LowRankPatch,
    bits,
    constant,
    low_rank,
    model,
    network,
    pointers,
    tag,
)

INK = network("ink", 1)
OIL = network("oil", 2)
dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


def fresh(dtype: torch.dtype, wanted: PatchPlan, step: int = 1) -> dict[str, bytes]:
    """The bits of a model that was never touched before."""
    live = model(dtype)
    with patched(live, wanted) as at:
        at(step)
        return bits(live)


@dtypes
def test_strength_zero_is_the_base_bit_for_bit(dtype: torch.dtype) -> None:
    live = model(dtype)
    base = bits(live)
    with patched(live, plan([(tag(0.0, 0.0), INK)], live, 2)) as at:
        for step in (1, 2):
            at(step)
            assert bits(live) == base


@dtypes
def test_strengths_in_turn_equal_fresh_merges_bit_for_bit(dtype: torch.dtype) -> None:
    live = model(dtype)
    patcher = Patcher(live)
    for strength in (1.0, 0.5, 0.2, 0.0, 0.7):
        with patcher.patched(constant(INK, strength)) as at:
            at(1)
            assert bits(live) == fresh(dtype, constant(INK, strength))


@dtypes
def test_no_networks_is_the_base_after_a_clean_generation(dtype: torch.dtype) -> None:
    live = model(dtype)
    base = bits(live)
    patcher = Patcher(live)
    with patcher.patched(constant(INK, 1.0)):
        assert bits(live) != base
    with patcher.patched(PatchPlan(1)):
        assert bits(live) == base


@dtypes
def test_networks_commute(dtype: torch.dtype) -> None:
    live = model(dtype)
    tags = [(tag(0.7, te=0.3), INK), (tag(0.4), OIL), (tag(-0.9), INK)]
    assert fresh(dtype, plan(tags, live, 1)) == fresh(dtype, plan(tags[::-1], live, 1))


@dtypes
def test_the_error_is_one_rounding_of_the_stored_dtype(dtype: torch.dtype) -> None:
    live = model(dtype)
    exact = {}
    for name in LAYERS:
        component, _, leaf = name.partition(".")
        base = live[component].get_parameter(leaf).detach()
        exact[name] = base.double()
        for found, strength in ((INK, 0.7), (OIL, -1.3)):
            for patch in found.patches[name]:
                delta = patch.delta(lambda _, base=base: base.float()).double()
                if isinstance(patch, LowRankPatch):
                    delta = (patch.up.double() @ patch.down.double()).reshape(base.shape)
                exact[name] += strength * delta
    with patched(live, plan([(tag(0.7), INK), (tag(-1.3), OIL)], live, 1)) as at:
        at(1)
        for name, expected in exact.items():
            component, _, leaf = name.partition(".")
            got = live[component].get_parameter(leaf).detach().double()
            half = expected.abs() * torch.finfo(dtype).eps / 2 + torch.finfo(dtype).smallest_normal
            summing = 8 * torch.finfo(torch.float32).eps * (expected.abs() + 1)
            assert ((got - expected).abs() <= half + summing).all(), name


@dtypes
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, MemoryError, SystemExit])
def test_leaving_by_an_error_restores_every_bit(dtype: torch.dtype, error: type[BaseException]) -> None:
    live = model(dtype)
    base = bits(live)
    patcher = Patcher(live)
    with pytest.raises(error), patcher.patched(constant(INK, 1.0, 3)) as at:
        at(2)
        raise error
    assert bits(live) == base


def test_an_abandoned_generation_restores_every_bit() -> None:
    live = model()
    base = bits(live)

    def steps() -> object:
        with Patcher(live).patched(constant(INK, 1.0, 3)) as at:
            for step in (1, 2, 3):
                at(step)
                yield step

    generation = steps()
    next(generation)
    assert bits(live) != base
    generation.close()
    assert bits(live) == base


def test_a_one_shot_restores_every_bit_when_all_went_well() -> None:
    live = model()
    base = bits(live)
    with patched(live, constant(INK, 1.0)) as at:
        at(1)
        assert bits(live) != base
    assert bits(live) == base


@dtypes
def test_what_no_one_names_is_the_same_object_and_no_storage_moves(dtype: torch.dtype) -> None:
    live = model(dtype)
    before, where = bits(live), pointers(live)
    patcher = Patcher(live)
    for strength in (1.0, 0.3):
        with patcher.patched(constant(INK, strength)):
            assert pointers(live) == where
            after = bits(live)
            assert {name for name in after if after[name] != before[name]} == set(LAYERS)
    assert set(patcher.touched) == set(LAYERS)


def test_a_schedule_is_followed_at_every_step_in_any_order() -> None:
    live = model()
    scheduled = plan([(tag(0.0, 0.5, 1.0, te=(1.0, 1.0, 0.0)), INK), (tag(0.2, 0.0, 0.2), OIL)], live, 3)
    patcher = Patcher(live)
    with patcher.patched(scheduled) as at:
        for step in (1, 2, 3, 2, 1, 3):
            at(step)
            assert bits(live) == fresh(torch.float32, scheduled, step)


def test_a_step_outside_the_plan_is_refused() -> None:
    live = model()
    with patched(live, constant(INK, 1.0, 2)) as at, pytest.raises(ValueError, match="Step 3"):
        at(3)


def test_pristine_is_the_base_whatever_the_weight_holds() -> None:
    live = model(torch.float16)
    base = live["unet"].get_parameter("to_q.weight").detach().float()
    patcher = Patcher(live)
    with patcher.patched(constant(INK, 1.0)):
        assert torch.equal(patcher.pristine("unet.to_q.weight"), base)


def test_a_plan_for_one_component_leaves_the_others_as_they_are() -> None:
    live = model()
    patcher = Patcher(live)
    whole = constant(INK, 1.0)
    with patcher.patched(whole.component("unet")):
        pass
    held = bits(live)
    with patcher.patched(whole.component("text_encoder")):
        assert {name for name, value in bits(live).items() if value != held[name]} == {"text_encoder.0.weight"}
    with patcher.patched(PatchPlan(1).component("text_encoder")):
        assert bits(live) == held


def test_a_delta_of_another_shape_is_refused_by_name_and_nothing_stays_changed() -> None:
    live = model()
    base = bits(live)
    wrong = PatchPlan(
        1,
        {
            "text_encoder.0.weight": (PlannedPatch(low_rank((16, 16)), (1.0,)),),
            "unet.to_q.weight": (PlannedPatch(FullPatch(torch.zeros(3, 3)), (1.0,)),),
        },
    )
    with pytest.raises(NetworkError, match=r"unet\.to_q\.weight"), Patcher(live).patched(wrong):
        pass
    assert bits(live) == base


def test_layouts_other_than_contiguous_are_patched_alike() -> None:
    live, other = model(), model()
    other["unet"].to(memory_format=torch.channels_last)
    with patched(live, constant(INK, 0.6)), patched(other, constant(INK, 0.6)):
        for name in LAYERS:
            component, _, leaf = name.partition(".")
            torch.testing.assert_close(live[component].get_parameter(leaf), other[component].get_parameter(leaf))


def test_copies_of_pristine_weights_can_be_given_back() -> None:
    live = model()
    patcher = Patcher(live)
    with patcher.patched(constant(INK, 1.0)):
        patcher.trim()
        assert patcher.memory().pristine > 0
    with patcher.patched(PatchPlan(1)):
        patcher.trim()
        assert patcher.memory().kept == 0
    with patcher.patched(constant(INK, 1.0)):
        assert bits(live) == fresh(torch.float32, constant(INK, 1.0))


def test_where_the_pristine_weights_are_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO"), patched(model(), constant(INK, 1.0)):
        assert "pristine weights" in caplog.text


def test_without_room_for_copies_networks_run_beside_the_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.patching.memory.RESERVE", 1 << 60)
    live = model()
    base = bits(live)
    with patched(live, constant(INK, 1.0)):
        written = {name for name, value in bits(live).items() if value != base[name]}
        assert written == {name for name in LAYERS if name.endswith("bias") or "norm" in name}
