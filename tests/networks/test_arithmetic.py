"""What no library writes down: the odd spellings of alpha, dtype and layout, and the laws that all deltas obey."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.networks.resolve import resolve

from .files_made import deltas, network, on_layer, one_layer

Roles = dict[str, Tensor]


def lora(rank: int = 2, out: int = 8, inner: int = 6) -> Roles:
    torch.manual_seed(7)
    return {"lora_up.weight": torch.randn(out, rank), "lora_down.weight": torch.randn(rank, inner)}


def product(roles: Roles) -> Tensor:
    return roles["lora_up.weight"].flatten(1) @ roles["lora_down.weight"].flatten(1)


@pytest.fixture
def layer() -> nn.Linear:
    torch.manual_seed(8)
    return nn.Linear(6, 8)


@pytest.mark.parametrize(
    "alpha",
    [torch.tensor(1.0), torch.tensor([1.0]), torch.tensor(1), torch.tensor([1]), torch.tensor(1.0).half()]
    + [torch.tensor(1.0).to(kind) for kind in (torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float64)],
    ids=lambda alpha: f"{alpha.dtype}{list(alpha.shape)}",
)
def test_alpha_is_one_number_however_it_is_stored(alpha: Tensor, layer: nn.Linear, tmp_path: Path) -> None:
    made = deltas(on_layer(tmp_path, layer, {**lora(), "alpha": alpha}), layer)["weight"]
    torch.testing.assert_close(made, product(lora()) / 2)


def test_no_alpha_is_a_scale_of_one(layer: nn.Linear, tmp_path: Path) -> None:
    torch.testing.assert_close(deltas(on_layer(tmp_path, layer, lora()), layer)["weight"], product(lora()))


def test_an_alpha_of_zero_is_the_rank_and_is_told(layer: nn.Linear, tmp_path: Path) -> None:
    keyed = {f"lora_unet_layer.{role}": value for role, value in {**lora(), "alpha": torch.tensor(0.0)}.items()}
    found = network(tmp_path / "x.safetensors", keyed)
    assert ["alpha of 0" in problem.message for problem in found.problems] == [True]
    match = resolve(found, {"unet": one_layer(layer)}, "unknown")
    torch.testing.assert_close(deltas(match, layer)["weight"], product(lora()))


def test_a_scale_stands_in_for_alpha_over_rank(layer: nn.Linear, tmp_path: Path) -> None:
    roles = {**lora(), "alpha": torch.tensor(1.0), "scale": torch.tensor(3.0)}
    torch.testing.assert_close(deltas(on_layer(tmp_path, layer, roles), layer)["weight"], 3 * product(lora()))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2])
def test_stored_numbers_are_multiplied_in_float32(dtype: torch.dtype, layer: nn.Linear, tmp_path: Path) -> None:
    stored = {role: (value * 100 if dtype == torch.float16 else value).to(dtype) for role, value in lora().items()}
    made = deltas(on_layer(tmp_path, layer, stored), layer)["weight"]
    torch.testing.assert_close(made, product({role: value.float() for role, value in stored.items()}))


def test_four_axes_on_a_linear_and_two_on_a_point_convolution(layer: nn.Linear, tmp_path: Path) -> None:
    conv = nn.Conv2d(6, 8, 1)
    squared = {role: value[..., None, None] for role, value in lora().items()}
    for target, roles in ((layer, squared), (conv, lora()), (conv, squared)):
        made = deltas(on_layer(tmp_path, target, roles), target)["weight"]
        torch.testing.assert_close(made.flatten(1), product(lora()))


def test_a_lora_of_a_bias_is_scaled_and_a_difference_is_not(layer: nn.Linear, tmp_path: Path) -> None:
    roles = {**lora(), "alpha": torch.tensor(1.0), "lora_B.bias": torch.ones(8), "diff_b": torch.ones(8)}
    torch.testing.assert_close(deltas(on_layer(tmp_path, layer, roles), layer)["bias"], torch.full((8,), 1.5))


def test_glora_of_the_old_layout(layer: nn.Linear, tmp_path: Path) -> None:
    torch.manual_seed(1)
    a1, a2, b1, b2 = torch.randn(6, 2), torch.randn(2, 6), torch.randn(8, 2), torch.randn(2, 6)
    new = {"a1.weight": a1, "a2.weight": a2, "b1.weight": b1, "b2.weight": b2}
    old = {"a1.weight": a2, "a2.weight": a1, "b1.weight": b2, "b2.weight": b1}
    wanted = layer.weight.detach() @ a1 @ a2 + b1 @ b2
    for roles in (new, old):
        torch.testing.assert_close(deltas(on_layer(tmp_path, layer, roles), layer)["weight"], wanted)


@pytest.mark.parametrize("key", ["dora_scale", "magnitude", "lora_magnitude_vector", "lora_magnitude_vector.weight"])
def test_a_magnitude_of_one_axis_is_per_row_on_a_square_weight(key: str, tmp_path: Path) -> None:
    square = nn.Linear(6, 6)
    magnitude = torch.rand(6) + 1
    made = deltas(on_layer(tmp_path, square, {**lora(out=6), key: magnitude}), square)["weight"]
    merged = square.weight.detach() + product(lora(out=6))
    wanted = magnitude[:, None] * merged / merged.norm(dim=1, keepdim=True)
    torch.testing.assert_close(square.weight.detach() + made, wanted)


@pytest.mark.parametrize("shape", [(8, 1), (1, 6), (8, 1, 1, 1), (1, 6, 1, 1)])
def test_a_dora_with_its_own_norm_is_its_base(shape: tuple[int, ...], layer: nn.Linear, tmp_path: Path) -> None:
    merged = layer.weight.detach() + product(lora())
    norm = merged.norm(dim=1 if shape[0] == 8 else 0).reshape(shape)
    made = deltas(on_layer(tmp_path, layer, {**lora(), "dora_scale": norm}), layer)["weight"]
    torch.testing.assert_close(made, product(lora()), atol=1e-5, rtol=1e-5)


def test_peft_magnitude_of_a_convolution_is_per_row(tmp_path: Path) -> None:
    conv = nn.Conv2d(6, 6, 1)
    magnitude = torch.rand(6) + 1
    roles = {**lora(out=6), "lora_magnitude_vector": magnitude.reshape(1, 6, 1, 1)}
    made = deltas(on_layer(tmp_path, conv, roles), conv)["weight"]
    after = conv.weight.detach() + made
    torch.testing.assert_close(after.flatten(1).norm(dim=1), magnitude, atol=1e-5, rtol=1e-5)


def test_a_sparse_residual_is_of_the_weight(layer: nn.Linear, tmp_path: Path) -> None:
    roles = {
        **lora(),
        "bias_indices": torch.tensor([[0, 7], [5, 0]], dtype=torch.int16),
        "bias_values": torch.tensor([2.0, 3.0]).half(),
        "bias_size": torch.tensor([8, 6], dtype=torch.int16),
    }
    wanted = product(lora())
    wanted[0, 5] += 2
    wanted[7, 0] += 3
    made = deltas(on_layer(tmp_path, layer, roles), layer)
    assert list(made) == ["weight"]
    torch.testing.assert_close(made["weight"], wanted)


def test_set_weight_is_the_weight(layer: nn.Linear, tmp_path: Path) -> None:
    value = torch.randn(8, 6)
    made = deltas(on_layer(tmp_path, layer, {"set_weight": value}), layer)["weight"]
    torch.testing.assert_close(layer.weight.detach() + made, value)


def test_an_old_oft_holds_the_rotation_itself(layer: nn.Linear, tmp_path: Path) -> None:
    rotations = torch.linalg.qr(torch.randn(4, 2, 2)).Q
    made = deltas(on_layer(tmp_path, layer, {"oft_diag": rotations}), layer)["weight"]
    wanted = torch.block_diag(*rotations).T @ layer.weight.detach()
    torch.testing.assert_close(layer.weight.detach() + made, wanted)


def test_rotations_keep_lengths(layer: nn.Linear, tmp_path: Path) -> None:
    """Rows' rotations keep the columns' norms, and columns' rotations the rows'."""
    torch.manual_seed(2)
    weight = layer.weight.detach()
    for roles, axis in (
        ({"oft_blocks": torch.randn(2, 4, 4), "alpha": torch.tensor(0.0)}, 0),
        ({"oft_blocks": torch.randn(2, 2, 4, 4), "alpha": torch.tensor(0.0)}, 0),
        ({"boft_R": torch.randn(1, 3, 2, 2)}, 1),
    ):
        after = weight + deltas(on_layer(tmp_path, layer, roles), layer)["weight"]
        assert not torch.allclose(after, weight, atol=1e-2)
        torch.testing.assert_close(after.norm(dim=axis), weight.norm(dim=axis), atol=1e-5, rtol=1e-5)


def test_onetrainers_scaled_oft_divides_by_the_block(layer: nn.Linear, tmp_path: Path) -> None:
    vectors = torch.randn(2, 3)
    plain = deltas(on_layer(tmp_path, layer, {"oft_R.weight": vectors / (2 * 2**0.5)}), layer)["weight"]
    roles = {"oft_R.weight": vectors, "oft_R.scaled_oft": torch.tensor(True)}
    torch.testing.assert_close(deltas(on_layer(tmp_path, layer, roles), layer)["weight"], plain)


KINDS: dict[str, Roles] = {
    "lora": {**lora(), "alpha": torch.tensor(1.0)},
    "dora": {**lora(), "dora_scale": torch.rand(8, 1) + 1},
    "oft": {"oft_blocks": torch.randn(2, 4, 4), "alpha": torch.tensor(0.0)},
    "glora": {"a1.weight": lora()["lora_down.weight"].T, "a2.weight": lora()["lora_down.weight"]}
    | {"b1.weight": lora()["lora_up.weight"], "b2.weight": lora()["lora_down.weight"]},
    "ia3": {"weight": torch.randn(6), "on_input": torch.tensor(1)},
}


def test_stacked_files_commute(layer: nn.Linear, tmp_path: Path) -> None:
    """Every delta is made of the pristine weight, so no order of adding them is another result."""
    made = [deltas(on_layer(tmp_path, layer, roles), layer)["weight"] for roles in KINDS.values()]
    weight = layer.weight.detach()
    results = [sum((0.3 * made[i] for i in order), weight) for order in itertools.permutations(range(len(made)))]
    for result in results[1:]:
        torch.testing.assert_close(result, results[0], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("ranks", [1, 2, 5])
def test_the_first_ranks_alone(ranks: int, layer: nn.Linear, tmp_path: Path) -> None:
    """The scale stays what it was, as if the other ranks were zeros."""
    roles = {**lora(rank=3), "alpha": torch.tensor(6.0)}
    match = on_layer(tmp_path, layer, roles)
    ((patch,),) = match.patches.values()
    kept = patch.truncated(ranks)
    wanted = 2 * roles["lora_up.weight"][:, :ranks] @ roles["lora_down.weight"][:ranks]
    torch.testing.assert_close(kept.delta(lambda _: layer.weight.detach()), wanted)
    assert kept.rank == min(ranks, 3)


def test_each_layer_has_its_own_rank(tmp_path: Path) -> None:
    """As resizing tools and DyLoRA leave them."""
    tree = nn.ModuleDict({str(rank): nn.Linear(6, 8) for rank in (1, 2, 4)})
    tensors = {}
    for rank in (1, 2, 4):
        roles = {**lora(rank), "alpha": torch.tensor(float(rank))}
        tensors |= {f"lora_unet_{rank}.{role}": value for role, value in roles.items()}
    match = resolve(network(tmp_path / "x.safetensors", tensors), {"unet": tree}, "unknown")
    assert [patches[0].rank for patches in match.patches.values()] == [1, 2, 4]
