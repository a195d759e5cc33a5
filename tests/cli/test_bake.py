"""Laws of `bake`: what it writes is the model as the studio has it, and nothing else is ever harmed."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from torch import Tensor

from app.__main__ import main
from app.diffusion.device import CPU
from app.diffusion.loading import load_checkpoint
from app.networks.files import read_network
from app.networks.resolve import resolve
from app.patching.patcher import patched
from app.patching.plan import plan
from app.prompt.schedule import schedule
from tests.cli.networks_made import lora, named
from tests.networks.test_conformance import FOLDER, cases, checker

Run = Callable[..., tuple[int, Any, str]]
TAGS = "<lora:ink:te=0.4:unet=0.7> a cat <lora:gold:-0.3>"


@pytest.fixture
def model(models: Path) -> Path:
    return models / "checkpoints" / "tiny"


@pytest.fixture(scope="module")
def networks(models: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ink` for the UNet and the text encoder, `gold` for the UNet and the VAE, `other` for another base."""
    folder = tmp_path_factory.mktemp("networks")
    parts = load_checkpoint(models / "checkpoints" / "tiny", CPU).components
    unet, encoder, vae = parts["unet"], parts["text_encoder"], parts["vae"]
    lora(folder / "ink.safetensors", named("lora_unet", unet, "attn") + named("lora_te_text_model", encoder, "mlp"))
    lora(folder / "gold.safetensors", named("lora_unet", unet, "conv1") + named("lora_vae", vae, "conv_in"), seed=1)
    metadata = {"ss_base_model_version": "sdxl_base_v1-0"}
    lora(folder / "other.safetensors", named("lora_unet", unet, "attn"), metadata=metadata)
    return folder


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the command: its exit status, what it printed as JSON, and what it said of problems."""
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path / "data"))

    def run(*arguments: str | Path, stdin: object = None) -> tuple[int, Any, str]:
        monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(stdin)))
        status = main(["bake", *map(str, arguments)])
        out, err = capsys.readouterr()
        return status, json.loads(out) if out else None, err

    return run


def tensors(folder: Path) -> dict[str, Tensor]:
    """Everything in a folder's files of weights, by component and name."""
    return {
        f"{file.parent.name}.{name}": tensor
        for file in sorted(folder.glob("*/*.safetensors"))
        for name, tensor in load_file(file).items()
    }


def test_what_is_baked_is_what_the_studio_generates_with(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    status, answer, err = run("--model", model, "--networks", networks, "--prompt", TAGS, "--out", out)
    assert (status, err, answer["problems"], answer["out"]) == (0, "", [], str(out))
    assert [network["name"] for network in answer["networks"]] == ["ink", "gold"]
    assert all(network["matched"] and not network["unmatched"] for network in answer["networks"])

    checkpoint = load_checkpoint(model, CPU)
    tags = schedule(TAGS, 1).networks
    files = [read_network(networks / f"{tag.name}.safetensors") for tag in tags]
    matches = [resolve(file, checkpoint.components, checkpoint.family) for file in files]
    baked = load_checkpoint(out, CPU)
    changed = set()
    with patched(checkpoint.components, plan(list(zip(tags, matches, strict=True)), checkpoint.components, 1)):
        for name, module in checkpoint.components.items():
            for parameter, value in module.named_parameters():
                assert torch.equal(value, baked.components[name].get_parameter(parameter)), (name, parameter)
    for match in matches:
        changed |= set(match.patches)
    before, after = tensors(model), tensors(out)
    assert before.keys() == after.keys()
    assert sum(not torch.equal(before[name], after[name]) for name in before) == len(changed)


@pytest.mark.parametrize("dtype", ["fp16", "bf16"])
def test_the_sum_is_rounded_once(run: Run, model: Path, networks: Path, tmp_path: Path, dtype: str) -> None:
    job = {"model": str(model), "networks": str(networks), "prompt": TAGS}
    jobs = [{**job, "out": str(tmp_path / kind), "dtype": kind} for kind in ("fp32", dtype)]
    status, answers, _ = run("--batch", "-", stdin=jobs)
    assert status == 0 and len(answers) == 2
    exact, rounded = tensors(tmp_path / "fp32"), tensors(tmp_path / dtype)
    wanted = {"fp16": torch.float16, "bf16": torch.bfloat16}[dtype]
    for name, value in exact.items():
        assert torch.equal(rounded[name], value.to(wanted) if value.is_floating_point() else value), name


def test_a_model_in_half_precision_stays_in_it(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    StableDiffusionPipeline.from_pretrained(model, torch_dtype=torch.float16).save_pretrained(half)
    run("--model", half, "--networks", networks, "--prompt", "<lora:ink:0.5>", "--out", tmp_path / "out")
    assert {value.dtype for value in tensors(tmp_path / "out").values() if value.is_floating_point()} == {torch.float16}


def test_diffusers_loads_the_folder(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("--model", model, "--networks", networks, "--prompt", TAGS, "--out", out)
    pipeline = StableDiffusionPipeline.from_pretrained(out)
    stored = tensors(out)
    for parameter, value in pipeline.text_encoder.named_parameters():
        assert torch.equal(value, stored[f"text_encoder.{parameter}"])


def test_strength_0_is_the_base_model(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    run("--model", model, "--networks", networks, "--prompt", "<lora:ink:0> <lora:gold:0>", "--out", tmp_path / "out")
    before, after = tensors(model), tensors(tmp_path / "out")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_network_for_another_base_changes_nothing_and_is_an_error(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    status, answer, err = run("--model", model, "--networks", networks, "--prompt", "<lora:other:1>", "--out", out)
    assert status == 1 and err.count("\n") == 1
    assert [problem["level"] for problem in answer["problems"]] == ["error"]
    assert answer["networks"][0]["base_model"] == "sdxl"
    before, after = tensors(model), tensors(out)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_one_bad_job_does_not_stop_the_others(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    good = {"model": str(model), "networks": str(networks), "prompt": "<lora:ink:1>"}
    bad = [5, {}, {**good, "out": 3}, {**good, "model": "/nowhere", "out": "x"}, {**good, "out": str(model)}]
    bad += [{**good, "out": "x", "dtype": "fp64"}, {**good, "out": "x", "networks": "/nowhere"}, {**good, "outt": ""}]
    jobs = [*bad, {**good, "out": str(tmp_path / "out")}]
    status, answers, err = run("--batch", "-", stdin=jobs)
    assert status == 1
    assert all(isinstance(answer["error"], str) and answer["detail"] for answer in answers[:-1])
    assert err.count("\n") == len(bad)
    assert answers[-1]["out"] == str(tmp_path / "out") and (tmp_path / "out" / "unet").is_dir()


@pytest.mark.parametrize("batch", ["", "{}", "[", "[" * 100_000], ids=["empty", "object", "cut", "deep"])
def test_a_batch_that_is_no_list_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], batch: str, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO(batch))
    assert main(["bake", "--batch", "-"]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


def test_only_an_empty_folder_or_a_baked_one_is_written_over(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    def bake(prompt: str, out: Path) -> int:
        return run("--model", model, "--networks", networks, "--prompt", prompt, "--out", out)[0]

    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "notes.txt").write_text("mine")
    assert bake("<lora:ink:1>", tmp_path / "work") == 1
    assert [file.name for file in (tmp_path / "work").iterdir()] == ["notes.txt"]
    assert bake("<lora:ink:1>", model / "out") == 1 and not (model / "out").exists()
    (tmp_path / "out").mkdir()
    assert bake("<lora:ink:1>", tmp_path / "out") == 0
    first = tensors(tmp_path / "out")
    assert bake("<lora:ink:0>", tmp_path / "out") == 0
    second = tensors(tmp_path / "out")
    assert any(not torch.equal(first[name], second[name]) for name in first)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["data", "out", "work"]


def test_a_schedule_is_baked_at_one_step(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    prompt = "<lora:ink:0.25@1,0.75@6>"
    common = ("--model", model, "--networks", networks, "--prompt")
    status, answer, _ = run(*common, prompt, "--out", tmp_path / "a", "--step", "6", "--steps", "10")
    assert (status, answer["problems"]) == (0, [])
    run(*common, "<lora:ink:0.75>", "--out", tmp_path / "b")
    one, other = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert all(torch.equal(one[name], other[name]) for name in one)
    status, answer, _ = run(*common, prompt, "--out", tmp_path / "c")
    assert (status, [problem["level"] for problem in answer["problems"]]) == (0, ["warning"])
    assert run(*common, prompt, "--out", tmp_path / "d", "--step", "11", "--steps", "10")[0] == 1


@pytest.mark.parametrize("part", ["unet", "text_encoder"])
def test_a_model_of_one_component_bakes(run: Run, model: Path, networks: Path, tmp_path: Path, part: str) -> None:
    shutil.copytree(model / part, tmp_path / "model" / part)
    tag = f"<lora:ink:1:module={'te' if part == 'text_encoder' else 'unet'}>"
    run("--model", tmp_path / "model", "--networks", networks, "--prompt", tag, "--out", tmp_path / "out")
    whole = tmp_path / "whole"
    run("--model", model, "--networks", networks, "--prompt", tag, "--out", whole)
    ours, theirs = tensors(tmp_path / "out"), tensors(whole)
    assert ours and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_weights_in_several_files_or_under_older_names_keep_them(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    pipeline = StableDiffusionPipeline.from_pretrained(model)
    shutil.rmtree(folder / "unet")
    pipeline.unet.save_pretrained(folder / "unet", max_shard_size="40KB")
    assert len(list((folder / "unet").glob("*.safetensors"))) > 1
    file = folder / "text_encoder" / "model.safetensors"
    save_file({f"text_model.{name}": value for name, value in load_file(file).items()}, file, {"format": "pt"})
    common = ("--networks", networks, "--prompt", TAGS)
    assert run("--model", folder, *common, "--out", tmp_path / "a")[0] == 0
    run("--model", model, *common, "--out", tmp_path / "b")
    assert tensors(tmp_path / "a").keys() == tensors(folder).keys()
    one, other = load_checkpoint(tmp_path / "a", CPU), load_checkpoint(tmp_path / "b", CPU)
    for name, module in one.components.items():
        for parameter, value in module.named_parameters():
            assert torch.equal(value, other.components[name].get_parameter(parameter))


def test_pickled_weights_become_safetensors(run: Run, model: Path, networks: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model / "unet", folder / "unet")
    file = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(file), file.with_suffix(".bin"))
    file.unlink()
    common = ("--networks", networks, "--prompt", "<lora:ink:unet=1>")
    assert run("--model", folder, *common, "--out", tmp_path / "a")[0] == 0
    run("--model", model, *common, "--out", tmp_path / "b")
    one, other = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert one and all(torch.equal(value, other[name]) for name, value in one.items())


def test_pickled_weights_in_several_files_become_as_many_of_safetensors(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / "text_encoder" / "model.safetensors").unlink()
    (folder / "unet" / "diffusion_pytorch_model.safetensors").unlink()
    for part, stem, source in (
        ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("text_encoder", "pytorch_model", "model"),
    ):
        weights = load_file(model / part / f"{source}.safetensors")
        table = {}
        for number in (1, 2):
            shard = f"{stem}-0000{number}-of-00002.bin"
            mine = {name: weights[name] for name in sorted(weights)[number % 2 :: 2]}
            torch.save(mine, folder / part / shard)
            table |= dict.fromkeys(mine, shard)
        (folder / part / f"{stem}.bin.index.json").write_text(json.dumps({"metadata": {}, "weight_map": table}))
    common = ("--networks", networks, "--prompt", TAGS)
    assert run("--model", folder, *common, "--out", tmp_path / "a")[0] == 0
    run("--model", model, *common, "--out", tmp_path / "b")
    one, other = tensors(tmp_path / "a"), tensors(tmp_path / "b")
    assert one.keys() == other.keys()
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    load_checkpoint(folder, CPU)
    live, again = load_checkpoint(tmp_path / "a", CPU), load_checkpoint(tmp_path / "b", CPU)
    for part, module in live.components.items():
        weights = again.components[part].state_dict()
        assert all(torch.equal(value, weights[name]) for name, value in module.state_dict().items())


def test_a_bias_that_the_folder_has_no_place_for_is_an_error(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    """While generating, a layer made without a bias is given one; its model's files cannot hold it."""
    unet = load_checkpoint(model, CPU).components["unet"]
    name = next(
        name for name, layer in unet.named_modules() if isinstance(layer, torch.nn.Linear) and layer.bias is None
    )
    weight = unet.get_submodule(name).weight
    tensors_ = {f"unet.{name}.diff": torch.ones_like(weight), f"unet.{name}.diff_b": torch.ones(weight.shape[0])}
    save_file(tensors_, tmp_path / "biased.safetensors")
    common = ("--model", model, "--networks", tmp_path, "--prompt", "<lora:biased>")
    status, answer, said = run(*common, "--out", tmp_path / "out")
    assert (status, answer["networks"][0]["mismatched"]) == (1, [])
    assert f"{name}.bias" in said
    baked = load_checkpoint(tmp_path / "out", CPU).components["unet"].get_submodule(name)
    torch.testing.assert_close(baked.weight, weight + 1)
    assert baked.bias is None


def test_copies_of_the_weights_that_were_not_merged_are_left_out(
    run: Run, model: Path, networks: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    shutil.copy(folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "whole.safetensors")
    shutil.copy(folder / "whole.safetensors", folder / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    (folder / "README.md").write_text("kept")
    run("--model", folder, "--networks", networks, "--prompt", "<lora:ink:1>", "--out", tmp_path / "out")
    assert (tmp_path / "out" / "README.md").read_text() == "kept"
    assert not list((tmp_path / "out").glob("*.safetensors"))
    assert [file.name for file in (tmp_path / "out" / "unet").glob("*.safetensors")] == [
        "diffusion_pytorch_model.safetensors"
    ]


@pytest.mark.parametrize("harm", ["cut", "zip", "escape", "class", "gone"])
def test_a_broken_model_is_one_line_and_nothing_is_left_behind(
    run: Run, model: Path, networks: Path, tmp_path: Path, harm: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model / "unet", folder / "unet")
    file, config = folder / "unet" / "diffusion_pytorch_model.safetensors", folder / "unet" / "config.json"
    match harm:
        case "cut":
            file.write_bytes(file.read_bytes()[:-100])
        case "zip":
            file.write_bytes(b"PK\3\4" + bytes(1000))
        case "escape":
            file.rename(tmp_path / "away.safetensors")
            index = {"weight_map": {"conv_in.weight": "../../away.safetensors"}}
            file.with_name(f"{file.name}.index.json").write_text(json.dumps(index))
        case "class":
            config.write_text(json.dumps({"_class_name": "Path", "architectures": ["AutoTokenizer"]}))
        case _:
            file.unlink()
    status, answer, err = run(
        "--model", folder, "--networks", networks, "--prompt", "<lora:ink:1>", "--out", tmp_path / "out"
    )
    assert (status, answer, err.count("\n")) == (1, None, 1)
    assert {entry.name for entry in tmp_path.iterdir()} <= {"data", "model", "away.safetensors"}


@pytest.mark.skipif(FOLDER is None, reason="the conformance files are not here (PATCHBAY_CONFORMANCE)")
def test_every_file_of_the_corpus_bakes_as_its_own_library_merges_it(run: Run, tmp_path: Path) -> None:
    assert FOLDER is not None
    jobs = []
    for index, case in enumerate(cases()):
        stack = case.get("adapters", [case])
        names = [one["adapter"].removeprefix("adapters/").removesuffix(".safetensors") for one in stack]
        tags = [f"<lora:{name}:{one['multiplier']}>" for name, one in zip(names, stack, strict=True)]
        job = {"model": str(FOLDER / case["model"]), "networks": str(FOLDER / "adapters"), "prompt": " ".join(tags)}
        jobs.append({**job, "out": str(tmp_path / str(index))})
    _, answers, _ = run("--batch", "-", stdin=jobs)
    for case, answer in zip(cases(), answers, strict=True):
        baked = {name: tensor for name, tensor in tensors(Path(answer["out"])).items() if "position_ids" not in name}
        assert checker().compare(case, baked) == [], case["id"]
        errors = [problem for problem in answer["problems"] if problem["level"] == "error"]
        assert bool(errors) == (case["expect"] == "mismatch"), case["id"]
