"""What does not fit is counted, said, and not applied; what was made for another base changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from app.networks.resolve import Match, resolve

from . import trees
from .files_made import network


def lora(name: str, out: int, inner: int) -> dict[str, Tensor]:
    return {f"{name}.lora_up.weight": torch.zeros(out, 1), f"{name}.lora_down.weight": torch.zeros(1, inner)}


def unet() -> nn.ModuleDict:
    return nn.ModuleDict({name: nn.Linear(6, 8) for name in "abc"} | {"bare": nn.Linear(6, 8, bias=False)})


def matched(tensors: dict[str, Tensor], folder: Path, family: str = "unknown", **metadata: str) -> Match:
    return resolve(network(folder / "style.safetensors", tensors, metadata), {"unet": unet()}, family)


def test_a_module_of_another_shape_is_told_and_left_out(tmp_path: Path) -> None:
    tensors = {**lora("unet.a", 8, 6), **lora("unet.b", 8, 6), **lora("unet.c", 8, 7)}
    match = matched(tensors, tmp_path)
    assert (match.matched, match.mismatched, match.unmatched) == (2, ("unet.c",), ())
    assert set(match.patches) == {"unet.a.weight", "unet.b.weight"}
    (problem,) = match.problems
    assert problem.level == "warning"
    assert "unet.c" in problem.message
    assert "8 × 7" in problem.message
    assert "8 × 6" in problem.message


@pytest.mark.parametrize(("out", "inner"), [(1, 6), (8, 1), (1, 1)])
def test_nothing_is_broadcast(out: int, inner: int, tmp_path: Path) -> None:
    match = matched({**lora("unet.a", out, inner), **lora("unet.b", 8, 6)}, tmp_path)
    assert match.mismatched == ("unet.a",)
    match = matched({"unet.a.diff": torch.ones(out, inner)}, tmp_path)
    assert match.patches == {}


def test_a_kernel_is_not_columns() -> None:
    """A 3×3 factor for 6 channels does not fit a Linear of 54, though the numbers would."""
    from app.networks.adapters import LoRA

    adapter = LoRA(torch.zeros(8, 1, 1, 1), torch.zeros(1, 6, 3, 3))
    assert adapter.fits((8, 6, 3, 3))
    assert not adapter.fits((8, 54))
    assert not adapter.fits((8, 54, 1, 1))
    assert not adapter.fits((8, 54, 3, 3))


def test_a_name_that_is_nowhere_is_told(tmp_path: Path) -> None:
    match = matched({**lora("unet.a", 8, 6), **lora("unet.z", 8, 6)}, tmp_path)
    assert (match.matched, match.unmatched) == (1, ("unet.z",))
    assert "unet.z" in match.problems[0].message


def test_a_bias_for_a_layer_without_one_counts_from_zeros(tmp_path: Path) -> None:
    biased = {"unet.bare.diff": torch.ones(8, 6), "unet.bare.diff_b": torch.ones(8)}
    match = matched(biased, tmp_path)
    assert (match.matched, match.problems) == (1, ())
    (patch,) = match.patches["unet.bare.bias"]
    torch.testing.assert_close(patch.delta(lambda _: torch.zeros(8)), torch.ones(8))


def test_a_file_for_fewer_input_channels_leaves_the_others_as_they_are(tmp_path: Path) -> None:
    """A base model's file on its inpainting or control model: whatever the algorithm, the delta of the base's part."""
    torch.manual_seed(0)
    layers = {"unet.conv_in": nn.Conv2d(9, 8, 3), "transformer.x_embedder": nn.Linear(12, 8)}
    for name, layer in layers.items():
        component, leaf = name.split(".")
        own = 4
        taps = layer.weight.shape[2:]
        up, down = torch.randn(8, 2, *[1] * len(taps)), torch.randn(2, own, *taps)
        product = (up.flatten(1) @ down.flatten(1)).reshape(8, own, *taps)
        narrow = layer.weight.detach()[:, :own]
        norm = (narrow + product).flatten(1).norm(dim=1).reshape(8, *[1] * (1 + len(taps)))
        lowrank = {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        for tensors, wanted in (
            (lowrank, product),
            ({f"{name}.diff": product}, product),
            ({**lowrank, f"{name}.dora_scale": 2 * norm}, 2 * product + narrow),
        ):
            match = resolve(
                network(tmp_path / "x.safetensors", tensors), {component: nn.ModuleDict({leaf: layer})}, "?"
            )
            assert (match.matched, match.problems) == (1, ())
            ((patch,),) = match.patches.values()
            delta = patch.delta({f"{name}.weight": layer.weight.detach()}.__getitem__)
            torch.testing.assert_close(delta[:, :own], wanted, atol=1e-5, rtol=1e-5)
            assert not delta[:, own:].any()
            factors = patch.factors()
            if factors is not None:
                torch.testing.assert_close((factors[0] @ factors[1]).reshape(delta.shape), delta, atol=1e-5, rtol=1e-5)


def test_only_where_latents_enter_are_channels_added(tmp_path: Path) -> None:
    match = matched({**lora("unet.a", 8, 5), **lora("unet.b", 8, 6)}, tmp_path)
    assert match.mismatched == ("unet.a",)


def test_an_inpainting_files_input_layer_is_told_on_its_base(tmp_path: Path) -> None:
    model = nn.ModuleDict({"conv_in": nn.Conv2d(4, 8, 3), "a": nn.Linear(6, 8)})
    tensors = {**lora("unet.a", 8, 6), "unet.conv_in.diff": torch.ones(8, 9, 3, 3)}
    match = resolve(network(tmp_path / "x.safetensors", tensors), {"unet": model}, "unknown")
    assert (match.mismatched, list(match.patches)) == (("unet.conv_in",), ["unet.a.weight"])
    assert "more channels" in match.problems[0].message


def test_a_reshaped_weight_fits_a_model_of_its_size_and_changes_no_other(tmp_path: Path) -> None:
    """ComfyUI's control files say how wide their layer is; a live weight keeps the shape it has."""
    tensors = {**lora("transformer.img_in", 8, 12), "transformer.img_in.reshape_weight": torch.tensor([8, 12])}
    tensors |= lora("transformer.a", 8, 6)
    for width, mismatched in ((12, ()), (6, ("transformer.img_in",))):
        model = nn.ModuleDict({"img_in": nn.Linear(width, 8), "a": nn.Linear(6, 8)})
        match = resolve(network(tmp_path / "x.safetensors", tensors), {"transformer": model}, "unknown")
        assert match.mismatched == mismatched
        assert match.network.problems == ()
        assert ["8 × 12" in problem.message for problem in match.problems] == [True] * len(mismatched)


def test_a_reshaped_weight_that_is_not_its_tensors_is_told(tmp_path: Path) -> None:
    tensors = {**lora("unet.a", 8, 6), **lora("unet.b", 8, 6), "unet.a.reshape_weight": torch.tensor([8, 12])}
    match = matched(tensors, tmp_path)
    assert match.unmatched == ("unet.a",)
    assert "reshape_weight" in match.network.problems[0].message


def test_a_bias_for_a_norm_that_can_have_none_is_a_mismatch(tmp_path: Path) -> None:
    model = nn.ModuleDict({"a": nn.Linear(6, 8), "norm": nn.RMSNorm(8)})
    tensors = {**lora("unet.a", 8, 6), "unet.norm.w_norm": torch.ones(8), "unet.norm.b_norm": torch.ones(8)}
    match = resolve(network(tmp_path / "x.safetensors", tensors), {"unet": model}, "unknown")
    assert match.mismatched == ("unet.norm",)
    assert "bias" in match.problems[0].message


def test_a_gain_of_no_bias_is_nothing(tmp_path: Path) -> None:
    match = matched({"base_model.model.bare.ia3_l": torch.full((8, 1), 2.0)}, tmp_path)
    assert (match.matched, list(match.patches)) == (1, ["unet.bare.weight"])


def test_a_file_that_fits_nowhere_is_an_error_with_counts(tmp_path: Path) -> None:
    match = matched({**lora("unet.y", 8, 6), **lora("unet.z", 8, 6)}, tmp_path)
    (problem,) = match.problems
    assert problem.level == "error"
    assert "0 of 2 modules fit" in problem.message
    assert match.patches == {}


def test_a_file_of_which_most_does_not_fit_changes_nothing(tmp_path: Path) -> None:
    match = matched({**lora("unet.a", 8, 6), **lora("unet.b", 8, 7), **lora("unet.c", 9, 6)}, tmp_path)
    assert match.patches == {}
    assert match.problems[0].level == "error"


def test_a_file_for_another_family_changes_nothing_though_it_fits(tmp_path: Path) -> None:
    tensors = {**lora("unet.a", 8, 6), **lora("unet.b", 8, 6)}
    match = matched(tensors, tmp_path, family="sd15", ss_base_model_version="sdxl_base_v1-0")
    assert match.patches == {}
    (problem,) = match.problems
    assert problem.level == "error"
    assert "sdxl" in problem.message
    assert "sd15" in problem.message
    assert matched(tensors, tmp_path, family="unknown", ss_base_model_version="sdxl_base_v1-0").problems == ()


def test_an_sdxl_file_on_sd15_changes_nothing_whatever_is_known_of_them(tmp_path: Path) -> None:
    tensors: dict[str, Tensor] = {}
    for name, layer in trees.sdxl()["unet"].named_modules():
        if isinstance(layer, nn.Linear) and ".attn" in name:
            tensors |= lora(f"unet.{name}", layer.out_features, layer.in_features)
    file = network(tmp_path / "xl.safetensors", tensors)
    assert file.base.family == "sdxl"
    for family in ("sd15", "unknown"):
        match = resolve(file, trees.sd15(), family)
        assert match.patches == {}
        assert match.problems[0].level == "error"


def test_a_module_that_cannot_be_read_is_unmatched_and_the_rest_is_applied(tmp_path: Path) -> None:
    tensors = {
        **lora("unet.a", 8, 6),
        "unet.b.lora_up.weight": torch.ones(8, 3),
        "unet.b.lora_down.weight": torch.ones(2, 6),
    }
    match = matched(tensors, tmp_path)
    assert (match.matched, match.unmatched) == (1, ("unet.b",))
    assert any("different ranks" in problem.message for problem in match.network.problems)


def test_a_bare_name_of_two_components_is_of_the_one_that_the_path_names(tmp_path: Path) -> None:
    encoders = {part: nn.ModuleDict({"a": nn.Linear(6, 8)}) for part in ("text_encoder", "text_encoder_2")}
    tensors = lora("base_model.model.a", 8, 6)
    for folder, wanted in (("text_encoder_2", "text_encoder_2.a.weight"), ("mine", "text_encoder.a.weight")):
        (tmp_path / folder).mkdir()
        match = resolve(network(tmp_path / folder / "adapter_model.safetensors", tensors), encoders, "unknown")
        assert list(match.patches) == [wanted]


def test_both_transformers_of_a_two_stage_model_are_patched(tmp_path: Path) -> None:
    stages = {part: nn.ModuleDict({"a": nn.Linear(6, 8)}) for part in ("transformer", "transformer_2")}
    general = resolve(network(tmp_path / "x.safetensors", lora("diffusion_model.a", 8, 6)), stages, "unknown")
    assert list(general.patches) == ["transformer.a.weight", "transformer_2.a.weight"]
    one = resolve(network(tmp_path / "x.safetensors", lora("transformer_2.a", 8, 6)), stages, "unknown")
    assert list(one.patches) == ["transformer_2.a.weight"]


def test_bundled_embeddings_are_kept_by_word(tmp_path: Path) -> None:
    tensors = {
        **lora("unet.a", 8, 6),
        "bundle_emb.my.word.string_to_param.*": torch.ones(2, 6),
        "bundle_emb.other.clip_l": torch.ones(1, 6),
        "bundle_emb.other.clip_g": torch.ones(1, 8),
        "bundle_emb.other.clip_g_out": torch.ones(1, 8),
    }
    found = network(tmp_path / "x.safetensors", tensors)
    words = {word: set(vectors) for word, vectors in found.embeddings.items()}
    assert words == {"my.word": {""}, "other": {"clip_l", "clip_g"}}
    assert found.problems == ()


def test_stray_tensors_are_told(tmp_path: Path) -> None:
    found = network(tmp_path / "x.safetensors", {**lora("unet.a", 8, 6), "something.else": torch.ones(1)})
    assert "something.else" in found.problems[0].message


def test_what_is_amiss_with_many_modules_is_told_once(tmp_path: Path) -> None:
    tensors = {}
    for index in range(300):
        tensors |= {**lora(f"unet.m{index}", 8, 6), f"unet.m{index}.alpha": torch.tensor(0.0)}
    (problem,) = network(tmp_path / "x.safetensors", tensors).problems
    assert "299 others" in problem.message


def test_a_file_that_is_amiss_in_every_way_is_told_in_a_page(tmp_path: Path) -> None:
    tensors = lora("unet.a", 8, 6)
    for index in range(1, 60):
        tensors |= {
            f"unet.m{index}.lora_up.weight": torch.ones(8, index + 1),
            f"unet.m{index}.lora_down.weight": torch.ones(1, 6),
        }
    assert len(network(tmp_path / "x.safetensors", tensors).problems) < 30
