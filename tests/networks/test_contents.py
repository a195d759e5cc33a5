"""Laws of contents: what the names tell is what reading the tensors tells."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from app.networks.catalog import Catalog
from app.networks.contents import contents, read_scalars
from app.networks.details import details, record_at
from app.networks.families import checkpoint_family, embedding_family, folder_family, kind_of, vae_family
from app.networks.files import read_network
from app.networks.header import read_header
from tests.networks.library import MODULE, lora, note

r = torch.rand
LORA = {"lora_up.weight": r(8, 2), "lora_down.weight": r(2, 6), "alpha": torch.tensor(1.0)}
MODULES: Mapping[str, Mapping[str, Tensor]] = {
    "lora": LORA,
    "loha": {"hada_w1_a": r(8, 2), "hada_w1_b": r(2, 6), "hada_w2_a": r(8, 2), "hada_w2_b": r(2, 6)},
    "lokr": {"lokr_w1": r(2, 2), "lokr_w2_a": r(4, 2), "lokr_w2_b": r(2, 3)},
    "glora": {"a1.weight": r(6, 2), "a2.weight": r(2, 6), "b1.weight": r(8, 2), "b2.weight": r(2, 6)},
    "ia3": {"weight": r(8), "on_input": torch.tensor(0)},
    "full": {"diff": r(8, 6), "diff_b": r(8)},
    "norm": {"w_norm": r(8), "b_norm": r(8)},
    "oft": {"oft_blocks": r(2, 4, 4), "alpha": torch.tensor(0.0)},
    "boft": {"oft_blocks": r(2, 2, 4, 4), "alpha": torch.tensor(0.0)},
    "tlora": {"q_layer.weight": r(2, 6), "p_layer.weight": r(8, 2), "lambda_layer": r(1, 2)},
    "dora": LORA | {"dora_scale": r(8, 1)},
}

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2]
DTYPES += [torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8]


def written(path: Path, modules: Mapping[str, Mapping[str, Tensor]]) -> Path:
    tensors = {f"{name}.{leaf}": tensor.clone() for name, leaves in modules.items() for leaf, tensor in leaves.items()}
    save_file(tensors, path)
    return path


@pytest.mark.parametrize("algorithm", MODULES)
def test_an_algorithm_is_told_from_the_names_as_from_the_tensors(tmp_path: Path, algorithm: str) -> None:
    path = written(tmp_path / "a.safetensors", {MODULE: MODULES[algorithm]})
    held = contents(read_header(path))
    (adapter,) = read_network(path).adapters.values()
    assert (held.algorithms, held.rank, held.unknown) == ({adapter.algorithm: 1}, adapter.rank, ())


def test_a_mixed_file_counts_each_algorithm(tmp_path: Path) -> None:
    modules = {f"lora_unet_{index}_{name}": MODULES[name] for name in MODULES for index in range(2)}
    path = written(tmp_path / "a.safetensors", modules)
    held = contents(read_header(path))
    assert held.algorithms == Counter(adapter.algorithm for adapter in read_network(path).adapters.values())


@pytest.mark.parametrize(
    ("module", "family", "component"),
    [
        ("lora_unet_down_blocks_0", "sd15", "unet"),
        ("lora_unet_double_blocks_0", "flux", "transformer"),
        ("lora_te_text_model_encoder_layers_0", "sd15", "text_encoder"),
        ("lora_te1_text_model_encoder_layers_0", "sdxl", "text_encoder"),
        ("lora_te2_text_model_encoder_layers_0", "sdxl", "text_encoder_2"),
        ("lora_te3_encoder_block_0", "sd3", "text_encoder_3"),
        ("unet.down_blocks.0", "sd15", "unet"),
        ("text_encoder_2.text_model.encoder.layers.0", "sdxl", "text_encoder_2"),
        ("transformer.transformer_blocks.0", "flux", "transformer"),
        ("diffusion_model.double_blocks.0", "flux", "transformer"),
        ("base_model.model.down_blocks.0", "unknown", "unet"),
        ("base_model.model.text_model.encoder.layers.0", "unknown", "text_encoder"),
        ("lora_vae_decoder_mid", "unknown", "vae"),
        ("decoder.mid_block.attentions.0", "unknown", "vae"),
    ],
)
def test_a_component_is_told_from_the_names(tmp_path: Path, module: str, family: str, component: str) -> None:
    path = written(tmp_path / "a.safetensors", {module: LORA})
    assert contents(read_header(path), family).components == (component,)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value", [0.0, 0.001953125, 1.0, 1.5, 8.0, 12.0, 448.0, -2.0])
def test_a_scalar_is_read_as_torch_reads_it(tmp_path: Path, dtype: torch.dtype, value: float) -> None:
    tensor = torch.tensor([abs(value) if dtype == torch.uint8 else value], dtype=torch.float32).clamp(-127, 448)
    tensor = tensor.clamp(max=127).to(dtype) if not dtype.is_floating_point else tensor.to(dtype)
    save_file({"a": tensor}, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert list(read_scalars(tmp_path / "a.safetensors", header, ["a"])) == [float(tensor.double())]


def test_an_empty_alpha_is_no_number(tmp_path: Path) -> None:
    save_file({"a": torch.zeros(0)}, tmp_path / "a.safetensors")
    header = read_header(tmp_path / "a.safetensors")
    assert list(read_scalars(tmp_path / "a.safetensors", header, ["a"])) == []


def test_an_alpha_of_nan_does_not_break_the_card(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {MODULE: LORA | {"alpha": torch.tensor(float("nan"))}})
    json.dumps(record_at(path).as_card(), allow_nan=False)
    assert record_at(path).alpha is None


def test_alpha_is_the_tensors_own_before_what_is_declared(tmp_path: Path) -> None:
    bare = {name: tensor for name, tensor in LORA.items() if name != "alpha"}
    told = {"ss_network_alpha": "7"}
    save_file({f"{MODULE}.{leaf}": tensor for leaf, tensor in LORA.items()}, tmp_path / "own.safetensors", told)
    save_file({f"{MODULE}.{leaf}": tensor for leaf, tensor in bare.items()}, tmp_path / "said.safetensors", told)
    adapter = {"lora_adapter_metadata": json.dumps({"unet.lora_alpha": 5, "unet.r": 2})}
    save_file({f"{MODULE}.{leaf}": tensor for leaf, tensor in bare.items()}, tmp_path / "diff.safetensors", adapter)
    (tmp_path / "peft").mkdir()
    written(tmp_path / "peft" / "adapter_model.safetensors", {MODULE: bare})
    note(tmp_path / "peft" / "adapter_config.json", {"lora_alpha": 3})
    files = {file.name: file.alpha for file in Catalog([tmp_path], "lora", tmp_path / "index").entries()}
    assert files == {"own": 1.0, "said": 7.0, "diff": 5.0, "peft": 3.0}


def test_a_checkpoint_among_the_networks_is_told(tmp_path: Path) -> None:
    save_file({"model.diffusion_model.out.2.weight": torch.zeros(1)}, tmp_path / "a.safetensors")
    (problem,) = Catalog([tmp_path], "lora", tmp_path / "index").entries()[0].problems
    assert "models/checkpoints" in str(problem)


def test_tensors_of_no_known_kind_are_counted(tmp_path: Path) -> None:
    path = written(tmp_path / "a.safetensors", {MODULE: LORA, "x": {"strange": r(1), "alpha": r(1)}})
    (problem,) = record_at(path).problems
    assert (problem.level, problem.message[:1]) == ("warning", "2")


@pytest.mark.parametrize(
    ("shapes", "family"),
    [
        ({"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 768)}, "sd15"),
        ({"model.diffusion_model.input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (320, 1024)}, "sd2"),
        ({"model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight": (640, 2048)}, "sdxl"),
        ({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (9216, 3072)}, "flux"),
        ({"model.diffusion_model.joint_blocks.0.x_block.attn.qkv.weight": (1, 1)}, "sd3"),
        ({"something": (1,)}, "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_checkpoint_is_told_by_what_only_its_family_has(shapes: dict[str, tuple[int, ...]], family: str) -> None:
    assert checkpoint_family(shapes).family == family


def test_embeddings_and_vaes_are_told_by_their_widths() -> None:
    assert embedding_family({"emb_params": (2, 768)}).family == "sd15"
    assert embedding_family({"<x>": (1024,)}).family == "sd2"
    assert embedding_family({"clip_l": (2, 768), "clip_g": (2, 1280)}).family == "sdxl"
    assert embedding_family({"x": ()}).family == "unknown"
    assert "4 channels" in vae_family({"decoder.conv_in.weight": (512, 4, 3, 3)}).reason


def test_a_diffusers_folder_is_one_checkpoint(tmp_path: Path) -> None:
    folder = tmp_path / "sd" / "mine"
    (folder / "unet").mkdir(parents=True)
    note(folder / "model_index.json", {"_class_name": "StableDiffusionPipeline"})
    note(folder / "unet" / "config.json", {"cross_attention_dim": 1024})
    (folder / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"")
    catalog = Catalog([tmp_path], "checkpoint", tmp_path / "index")
    assert catalog.find("mine").base_model == folder_family(folder / "model_index.json").family == "sd2"


def test_the_kind_of_a_file_is_told_from_its_tensors(tmp_path: Path) -> None:
    assert kind_of(read_header(lora(tmp_path / "a.safetensors")).shapes) == "lora"
    assert kind_of({"bundle_emb.x.clip_l": (1, 768)}) == "lora"
    assert kind_of({"model.diffusion_model.double_blocks.0.img_attn.qkv.weight": (1, 1)}) == "checkpoint"
    assert kind_of({"decoder.conv_in.weight": (512, 4, 3, 3)}) == "vae"
    assert kind_of({"emb_params": (1, 768)}) == "embedding"


def test_details_hold_every_tag_the_training_and_the_metadata_but_no_pictures(tmp_path: Path) -> None:
    tags = {f"tag {number}": 1000 - number for number in range(100)}
    metadata = {"ss_tag_frequency": json.dumps({"d": tags}), "ss_network_dim": "2", "ssmd_cover_images": '["AAAA"]'}
    path = lora(tmp_path / "a.safetensors", metadata)
    told = details(record_at(path))
    assert told["tag_frequency"] == tags
    assert told["training"] == {"rank": 2}
    assert told["metadata"] == {key: value for key, value in metadata.items() if key != "ssmd_cover_images"}
    assert (told["ranks"], told["alphas"], told["base_model"]) == ({"2": 1}, {"1.5": 1}, "sd15")
