"""Laws of `generate`, by the real engine on a small random model."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import webuiapi
from fastapi import FastAPI
from PIL import Image

from app.__main__ import main
from app.api.routes import router
from app.cli.studio import open_engine
from app.generation.infotext import parse_infotext
from app.generation.png import read_infotext
from app.plugins import Extensions
from app.settings import SettingsStore
from tests.standin import served

Run = Callable[..., Any]


@pytest.fixture
def run(models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `generate` with `--json`; what it printed, read."""

    def run(prompt: str, *options: str) -> Any:
        small = ("--steps", "2", "--size", "64x64", "--device", "cpu")
        command = ["generate", prompt, "--models", str(models), "--data", str(tmp_path), "--json", *small, *options]
        assert main(command) == 0
        return json.loads(capsys.readouterr().out)

    return run


def pixels(path: str | Path | io.BytesIO) -> bytes:
    with Image.open(path) as image:
        return image.tobytes()


def test_the_answer_says_where_the_image_is_and_the_image_says_how_it_was_made(run: Run, tmp_path: Path) -> None:
    answer = run("a cat", "--negative", "blurry", "--seed", "5", "--cfg", "4", "--sampler", "DPM++ 2M Karras")
    path = Path(answer["file"])
    assert path.is_relative_to(tmp_path / "outputs") and path.name.endswith("-5.png")
    assert answer["seed"] == 5 and answer["seconds"] > 0 and answer["timings"]
    request = parse_infotext(read_infotext(path)).request
    assert (request.prompt, request.negative_prompt, request.seed, request.cfg_scale) == ("a cat", "blurry", 5, 4)
    assert (request.sampler, request.schedule_type, request.checkpoint) == ("DPM++ 2M", "Karras", "tiny")


def test_generating_from_what_an_image_says_gives_the_same_pixels(run: Run) -> None:
    first = run("(a cat:1.2), [red:blue:1]", "--cfg", "3.3")["file"]
    told = parse_infotext(read_infotext(Path(first))).request
    options = ["--seed", str(told.seed), "--cfg", repr(told.cfg_scale), "--model", told.checkpoint]
    again = run(told.prompt, *options, "--sampler", told.sampler, "--schedule-type", told.schedule_type)["file"]
    assert pixels(first) == pixels(again)


def test_a_batch_is_the_single_images_of_its_seeds(run: Run, tmp_path: Path) -> None:
    batch = run("a cat", "--seed", "7", "--batch", "3", "--out", str(tmp_path / "many.png"))
    assert [image["seed"] for image in batch["images"]] == [7, 8, 9]
    assert [Path(image["file"]).name for image in batch["images"]] == ["many-1.png", "many-2.png", "many-3.png"]
    for image in batch["images"]:
        single = run("a cat", "--seed", str(image["seed"]), "--out", str(tmp_path / "one.png"))
        assert pixels(single["file"]) == pixels(image["file"])


def test_the_api_gives_the_same_pixels(run: Run, models: Path, tmp_path: Path) -> None:
    expected = pixels(run("a <b>(cat:1.1)", "--seed", "11", "--cfg", "5", "--sampler", "Heun")["file"])
    settings = SettingsStore(tmp_path, {"paths.models": models, "device.device": "cpu"})
    engine = open_engine(settings, Extensions())
    app = FastAPI()
    app.include_router(router(engine, settings))
    body = {"prompt": "a <b>(cat:1.1)", "seed": 11, "cfg_scale": 5, "sampler_name": "Heun", "steps": 2}
    with engine, served(app) as address:
        asked = httpx.post(f"{address}/sdapi/v1/txt2img", json={**body, "width": 64, "height": 64}, timeout=120)
    content = base64.b64decode(asked.json()["images"][0])
    assert pixels(io.BytesIO(content)) == expected


def test_a_picture_to_begin_with_gives_the_same_pixels_from_the_usual_client(
    run: Run, models: Path, tmp_path: Path
) -> None:
    picture = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    picture.save(tmp_path / "start.png")
    options = ("--init", str(tmp_path / "start.png"), "--denoising", "0.6", "--sampler", "Heun")
    expected = pixels(run("a cat", "--seed", "3", *options)["file"])
    larger = run("a cat", "--seed", "3", "--hires-scale", "1.5", "--hires-steps", "1", "--hires-denoising", "0.4")
    with Image.open(larger["file"]) as made:
        assert made.size == (96, 96) and "Hires upscale: 1.5" in made.info["parameters"]
    settings = SettingsStore(tmp_path, {"paths.models": models, "device.device": "cpu"})
    engine = open_engine(settings, Extensions())
    app = FastAPI()
    app.include_router(router(engine, settings))
    with engine, served(app) as address:
        client = webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1", sampler="Heun", steps=2)
        size = {"seed": 3, "width": 64, "height": 64}
        ours = client.img2img(images=[picture], prompt="a cat", denoising_strength=0.6, **size)
        twice = client.txt2img(
            prompt="a cat", enable_hr=True, hr_scale=1.5, hr_second_pass_steps=1, denoising_strength=0.4,
            sampler_name="Euler a", **size,
        )  # fmt: skip
    assert ours.image.tobytes() == expected
    assert twice.image.tobytes() == pixels(larger["file"])


@pytest.mark.parametrize(
    "options",
    [
        ["--init", "/etc/hostname"], ["--init", "nowhere.png"], ["--hires-scale", "0.5"], ["--denoising", "2"],
        ["--hires-upscaler", "Magic"],
        ["--size", "0x64"], ["--size", "100000x64"], ["--size", "65x64"], ["--cfg", "nan"], ["--steps", "0"],
        ["--seed", "-2"], ["--sampler", "Magic"], ["--schedule-type", "Magic"], ["--model", "no such model"],
        ["--vae", "../../etc/passwd"], ["--device", "toaster"], ["--dtype", "fp3"], ["--out", "/proc/nowhere/x.png"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_1(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str]
) -> None:
    small = ["--steps", "1", "--size", "64x64", "--models", str(models), "--data", str(tmp_path), "--json"]
    assert main(["generate", "a cat", *small, *options]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.strip().splitlines()) == 1, err


@pytest.mark.parametrize(
    "arguments",
    [["generate"], ["generate", "x", "--size", "big"], ["generate", "x", "--steps", "many"], ["nonsense"],
     ["serve", "--auth", "nobody"], ["explain", "x", "--nonsense"]],
)  # fmt: skip
def test_a_wrong_command_line_is_exit_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


def test_no_checkpoint_at_all_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["generate", "x", "--models", str(tmp_path), "--data", str(tmp_path)]) == 1
    assert "checkpoint" in capsys.readouterr().err


def test_a_missing_network_is_told_with_its_place_in_the_prompt(
    models: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["generate", "a cat <lora:nowhere:1>", "--models", str(models), "--data", str(tmp_path)]
    assert main([*command, "--steps", "1", "--size", "64x64"]) == 1
    said = capsys.readouterr().err
    assert "nowhere" in said and "character 6" in said and len(said.strip().splitlines()) == 1
