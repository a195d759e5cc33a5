"""Laws of `extract`: the file, read back and merged, is its sources' sum within the error it states."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import FluxTransformer2DModel
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from app.diffusion.lora_names import renamed
from app.diffusion.stored import StoredModel
from app.diffusion.stored_file import open_model
from app.engine.extract import Extracted, ExtractJob, extract
from app.engine.low_rank import Factored, nearest
from app.engine.workshop import Workshop
from app.errors import StorageError
from app.networks.catalog import Catalog
from app.patching.plan import plan
from app.prompt.schedule import schedule
from tests.cli.networks_made import lora, named, written
from tests.diffusion.models import saved, sd15_pipeline, sdxl_pipeline

TAGS = "<lora:one:0.8> <lora:two:te=0.3:unet=-0.6>"


class Place:
    """A model of one kind and two networks for it, each with linear layers and convolutions; `two` with biases too."""

    def __init__(self, folder: Path, model: Path, prefixes: dict[str, str]) -> None:
        self.folder, self.model = folder, model
        self.workshop = Workshop()
        parts = self.workshop.model(model).modules
        modules = [pair for part, prefix in prefixes.items() for pair in named(prefix, parts[part], *PARTS)]
        lora(folder / "one.safetensors", modules)
        lora(folder / "two.safetensors", modules[::2], rank=3, seed=1)
        self.catalog = Catalog((folder,), "lora", folder / "index.sqlite")

    def add(self, name: str, tensors: dict[str, Tensor]) -> None:
        written(self.folder / f"{name}.safetensors", tensors)

    def extract(self, tags: str, rank: int = 0, dtype: torch.dtype = torch.float32, name: str = "out") -> Extracted:
        out = self.folder / "made" / f"{name}.safetensors"
        made = extract(ExtractJob(self.model, tags, out, self.catalog, rank, dtype), self.workshop)
        self.catalog.refresh()
        return made

    def sums(self, tags: str) -> dict[str, Tensor]:
        """Σ sᵢΔᵢ of every parameter, by the sources' own deltas."""
        model = self.workshop.model(self.model)
        matched = self.workshop.matched(model, self.catalog, schedule(tags, 1))
        assert matched.problems == ()
        return {
            name: sum_of(model, [(one.patch.delta(model.pristine), one.strengths[0]) for one in patches])
            for name, patches in plan(matched.pairs, model.modules, 1).patches.items()
        }


PARTS = ("to_q", "conv1", "fc1", "proj_mlp", "downsamplers", "add_embedding.linear_1")


def sum_of(model: StoredModel, terms: list[tuple[Tensor, float]]) -> Tensor:
    return torch.stack([strength * delta for delta, strength in terms]).sum(0)


def norm(tensors: dict[str, Tensor]) -> float:
    return float(sum(tensor.double().square().sum() for tensor in tensors.values())) ** 0.5


@pytest.fixture(scope="module")
def sd15(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("sd15")
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te_text_model", "vae": "lora_vae"}
    return Place(folder / "networks", saved(sd15_pipeline(), folder / "model"), prefixes)


@pytest.fixture(scope="module")
def sdxl(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("sdxl")
    prefixes = {"unet": "lora_unet", "text_encoder": "lora_te1_text_model", "text_encoder_2": "lora_te2"}
    return Place(folder / "networks", saved(sdxl_pipeline(), folder / "model"), prefixes)


@pytest.fixture(scope="module")
def flux(tmp_path_factory: pytest.TempPathFactory) -> Place:
    folder = tmp_path_factory.mktemp("flux")
    model = FluxTransformer2DModel(
        in_channels=4,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=16,
        axes_dims_rope=(2, 2, 4),
    )
    model.save_pretrained(folder / "model" / "transformer")
    return Place(folder / "networks", folder / "model", {"transformer": "lora_transformer"})


@pytest.mark.parametrize("kind", ["sd15", "sdxl", "flux"])
@pytest.mark.parametrize("rank", [0, 2, 64])
def test_the_file_merges_as_its_sources_within_the_error_it_states(
    request: pytest.FixtureRequest, kind: str, rank: int
) -> None:
    place: Place = request.getfixturevalue(kind)
    made = place.extract(TAGS, rank)
    assert made.problems == () and made.out is not None
    wanted, found = place.sums(TAGS), place.sums("<lora:out:1>")
    assert wanted.keys() == found.keys() and made.modules == len(wanted)
    difference = norm({name: wanted[name] - found[name] for name in wanted}) / norm(wanted)
    assert difference == pytest.approx(made.loss.error, abs=2e-6)
    assert made.loss.error == pytest.approx(made.loss.optimum, abs=2e-6)
    assert max(made.ranks) <= (rank or 5)
    assert made.loss.error < 1e-6 or rank == 2


@given(
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    rank=st.integers(1, 10),
    true=st.integers(0, 9),
    seed=st.integers(0, 2**32),
)
@settings(deadline=None, max_examples=60)
def test_no_matrices_of_the_rank_are_nearer(rows: int, columns: int, rank: int, true: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(rows, true, generator=generator) @ torch.randn(true, columns, generator=generator)
    found = nearest(delta, rank)
    tail = torch.linalg.svdvals(delta.double())[rank:].square().sum()
    error = (delta - found.up @ found.down).double().square().sum()
    assert found.tail == pytest.approx(float(tail), abs=1e-5)
    assert float(error) == pytest.approx(float(tail), abs=1e-5)
    assert isinstance(found, Factored) and found.down.shape[0] <= max(1, min(rank, rows, columns))


def test_a_file_in_half_precision_states_the_error_of_what_it_stores(sd15: Place) -> None:
    made = sd15.extract(TAGS, dtype=torch.float16, name="half")
    wanted, found = sd15.sums(TAGS), sd15.sums("<lora:half:1>")
    difference = norm({name: wanted[name] - found[name] for name in wanted}) / norm(wanted)
    assert 0 < difference == pytest.approx(made.loss.error, rel=1e-2)
    assert made.out is not None
    assert {value.dtype for name, value in load_file(made.out).items() if "lora" in name} <= {
        torch.float16,
        torch.float32,
    }


@pytest.mark.parametrize("rank", [0, 4])
def test_biases_norms_and_whole_differences_are_kept(sd15: Place, rank: int) -> None:
    unet = sd15.workshop.model(sd15.model).modules["unet"]
    kept = {
        "lora_unet_conv_in.diff": torch.randn(unet.get_parameter("conv_in.weight").shape),
        "lora_unet_conv_in.diff_b": torch.randn(unet.get_parameter("conv_in.bias").shape),
        "lora_unet_conv_norm_out.w_norm": torch.randn(unet.get_parameter("conv_norm_out.weight").shape),
        "lora_unet_conv_norm_out.b_norm": torch.randn(unet.get_parameter("conv_norm_out.bias").shape),
    }
    sd15.add("direct", kept)
    sd15.catalog.refresh()
    made = sd15.extract("<lora:direct:0.5>", rank, name="direct-out")
    assert made.problems == ()
    wanted, found = sd15.sums("<lora:direct:0.5>"), sd15.sums("<lora:direct-out:1>")
    assert wanted.keys() == found.keys() and len(wanted) == 4
    for name in wanted:
        if name != "unet.conv_in.weight" or not rank:
            torch.testing.assert_close(found[name], wanted[name], atol=1e-6, rtol=1e-6)


def test_a_bias_for_a_layer_without_one_is_kept(sd15: Place) -> None:
    """A file can hold what a model's folder cannot."""
    unet = sd15.workshop.model(sd15.model).modules["unet"]
    layers = ((name, layer) for name, layer in unet.named_modules() if isinstance(layer, nn.Linear))
    name, layer = next((name, layer) for name, layer in layers if layer.bias is None)
    sd15.add("biased", {f"unet.{name}.diff_b": torch.randn(layer.out_features)})
    sd15.catalog.refresh()
    made = sd15.extract("<lora:biased:0.5>", name="biased-out")
    assert made.problems == ()
    wanted, found = sd15.sums("<lora:biased:0.5>"), sd15.sums("<lora:biased-out:1>")
    assert list(wanted) == list(found) == [f"unet.{name}.bias"]
    torch.testing.assert_close(found[f"unet.{name}.bias"], wanted[f"unet.{name}.bias"])


@pytest.mark.parametrize("tags", ["<lora:one:0@0~1@1>", "<lora:one:1:stop=5>", "[<lora:one:1>|x]", "[<lora:one>:4]"])
def test_a_schedule_is_a_problem_and_writes_nothing(sd15: Place, tags: str) -> None:
    made = sd15.extract(tags, name="never")
    assert made.out is None and [problem.level for problem in made.problems] == ["error"]
    assert not (sd15.folder / "made" / "never.safetensors").exists()


@pytest.mark.parametrize("tags", ["a cat", "<lora:nothing:1>", "<lora:one:1> <lora:nothing:1>", "<lora:one:0>"])
def test_nothing_is_written_where_something_is_missing(sd15: Place, tags: str) -> None:
    made = sd15.extract(tags, name="never")
    assert made.out is None and any(problem.level == "error" for problem in made.problems)
    assert not (sd15.folder / "made" / "never.safetensors").exists()


def test_the_metadata_name_the_sources(sd15: Place) -> None:
    made = sd15.extract(TAGS, 2)
    assert made.out is not None
    with safe_open(made.out, "pt") as file:
        told = file.metadata()
    assert told["modelspec.merged_from"] == "one, two"
    assert [source["name"] for source in json.loads(told["patchbay.sources"])] == ["one", "two"]
    assert (told["ss_base_model_version"], told["ss_network_dim"], told["ss_network_module"]) == (
        "sd_v1",
        "2",
        "networks.lora",
    )
    assert float(told["patchbay.error"]) == made.loss.error
    assert sd15.catalog.find("out").base_model == "sd15"


def test_sdxl_files_have_the_names_its_trainers_write_and_diffusers_reads(sdxl: Place) -> None:
    made = sdxl.extract(TAGS)
    assert made.out is not None
    tensors = load_file(made.out)
    unet = [name for name in tensors if name.startswith("lora_unet_")]
    sgm = ("lora_unet_input_blocks_", "lora_unet_middle_block_", "lora_unet_output_blocks_", "lora_unet_label_emb_")
    assert unet and all(name.startswith(sgm) for name in unet)
    known = {name: value for name, value in tensors.items() if "label_emb" not in name}  # diffusers knows no such LoRA
    assert renamed(known, open_model(sdxl.model).modules).notes == ()


def test_flux_files_have_the_names_that_diffusers_writes(flux: Place) -> None:
    made = flux.extract(TAGS)
    assert made.out is not None
    assert all(
        name.startswith("transformer.") and name.endswith((".lora_A.weight", ".lora_B.weight"))
        for name in load_file(made.out)
    )


def test_only_a_file_of_its_own_making_is_written_over(sd15: Place) -> None:
    theirs = sd15.folder / "made" / "theirs.safetensors"
    lora(theirs, [("lora_unet_conv_in", nn.Conv2d(4, 8, 3))])
    before = theirs.read_bytes()
    with pytest.raises(StorageError):
        sd15.extract(TAGS, name="theirs")
    assert theirs.read_bytes() == before
    sd15.extract(TAGS, 1, name="again")
    assert sd15.extract(TAGS, 2, name="again").ranks[0] == 2
