"""Laws of the HTTP API, asked by the client that people use, of a running server."""

from __future__ import annotations

import base64
import io
import json
import threading
from collections.abc import Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy
import pytest
import webuiapi
from fastapi import FastAPI
from PIL import Image
from safetensors.numpy import save_file

from app.api.routes import router
from app.generation.infotext import parse_infotext
from app.generation.png import png_bytes, read_infotext
from app.generation.styles import Style, Styles
from app.settings import SettingsStore
from tests.standin import Painter, painting_engine, served


class Studio:
    """A running server, and the parts of it that a test looks at."""

    def __init__(self, address: str, settings: SettingsStore, painter: Painter) -> None:
        self.address, self.settings, self.painter = address, settings, painter
        self.client = webuiapi.WebUIApi(baseurl=f"{address}/sdapi/v1", sampler="Euler a", steps=3)

    def post(self, route: str, body: Any) -> httpx.Response:
        return httpx.post(f"{self.address}/sdapi/v1/{route}", json=body, timeout=60)

    def get(self, route: str) -> Any:
        return httpx.get(f"{self.address}/sdapi/v1/{route}").raise_for_status().json()

    def infotext(self, **body: Any) -> Any:
        """What the first image of a request says of itself."""
        answer = self.post("txt2img", {"width": 64, "height": 64, "steps": 1, **body}).raise_for_status().json()
        return parse_infotext(json.loads(answer["info"])["infotexts"][0]).request


def write_network(
    path: Path, metadata: dict[str, str], name: str = "lora_unet_x.lora_up.weight", shape: tuple[int, ...] = (4, 2)
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: numpy.zeros(shape, numpy.float32)}, path, metadata)


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    models = tmp_path / "models"
    for name in ("checkpoints/a.safetensors", "checkpoints/sub/b.safetensors", "vae/v.safetensors"):
        (models / name).parent.mkdir(parents=True, exist_ok=True)
        (models / name).write_bytes(b"x")
    write_network(models / "loras" / "sub" / "ink.safetensors", {"ss_output_name": "Ink"})
    write_network(models / "embeddings" / "word.safetensors", {}, name="emb_params", shape=(3, 16))
    write_network(models / "hypernetworks" / "old.safetensors", {}, name="768.0.linear.0.weight")
    painter = Painter()
    settings = SettingsStore(tmp_path, {"paths.models": models})
    engine = painting_engine(settings, painter)

    @asynccontextmanager
    async def running(_app: FastAPI) -> Any:
        with engine:
            yield

    app = FastAPI(lifespan=running)
    app.include_router(router(engine, settings))
    with served(app) as address:
        yield Studio(address, settings, painter)
        painter.go.set()


def test_the_usual_client_gets_an_image_that_carries_its_settings(studio: Studio) -> None:
    result = studio.client.txt2img(prompt="a cat", negative_prompt="blurry", seed=5, width=64, height=72, cfg_scale=4)
    assert result.image.size == (64, 72)
    assert (
        parse_infotext(result.image.info["parameters"]).request == parse_infotext(result.info["infotexts"][0]).request
    )
    assert (result.info["seed"], result.info["all_seeds"]) == (5, [5])
    assert result.info["prompt"] == "a cat"
    assert result.parameters["width"] == 64


def test_images_are_base64_without_a_prefix_and_info_is_a_string(studio: Studio) -> None:
    body = studio.post("txt2img", {"prompt": "x", "steps": 1, "width": 64, "height": 64, "n_iter": 2}).json()
    assert len(body["images"]) == 2 and isinstance(body["info"], str)
    assert base64.b64decode(body["images"][0], validate=True).startswith(b"\x89PNG")


def test_a_batch_counts_its_seeds_up(studio: Studio) -> None:
    info = json.loads(studio.post("txt2img", {"seed": 9, "steps": 1, "batch_size": 2, "n_iter": 2}).json()["info"])
    assert info["all_seeds"] == [9, 10, 11, 12]


def test_defaults_are_the_other_web_uis(studio: Studio) -> None:
    request = parse_infotext(json.loads(studio.post("txt2img", {}).json()["info"])["infotexts"][0]).request
    assert (request.steps, request.cfg_scale, request.sampler, request.width) == (50, 7.0, "Euler", 512)


@pytest.mark.parametrize(
    ("body", "sampler", "schedule"),
    [
        ({"sampler_name": "DPM++ 2M Karras"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "automatic"}, "DPM++ 2M", "Karras"),
        ({"sampler_name": "DPM++ 2M Karras", "scheduler": "Exponential"}, "DPM++ 2M", "Exponential"),
        ({"sampler_index": "Heun"}, "Heun", "Automatic"),
        ({"sampler_name": "Euler", "sampler_index": "Heun"}, "Euler", "Automatic"),
        ({"sampler_name": "k_euler_a", "scheduler": "sgm_uniform"}, "Euler a", "SGM Uniform"),
        ({"sampler_name": "euler A", "scheduler": "SGM Uniform"}, "Euler a", "SGM Uniform"),
        ({"scheduler": "karras"}, "Euler", "Karras"),
        ({"sampler_name": None, "scheduler": None}, "Euler", "Automatic"),
    ],
)
def test_samplers_and_schedulers_are_understood_in_every_spelling(
    studio: Studio, body: dict[str, Any], sampler: str, schedule: str
) -> None:
    request = studio.infotext(**body)
    assert (request.sampler, request.schedule_type) == (sampler, schedule)


def test_override_settings_act_on_their_request_alone(studio: Studio) -> None:
    overrides = {"sd_model_checkpoint": "sub/b.safetensors [0123456789]", "sd_vae": "v", "CLIP_stop_at_last_layers": 2}
    request = studio.infotext(override_settings={**overrides, "something_else": 1})
    assert (request.checkpoint, request.vae, request.clip_skip) == ("sub/b", "v", 2)
    assert studio.infotext().checkpoint != "sub/b"
    studio.infotext(override_settings=overrides, override_settings_restore_afterwards=False)
    assert studio.infotext().checkpoint == "sub/b"


def test_an_infotext_fills_the_fields_that_are_not_given(studio: Studio) -> None:
    text = "a dog\nNegative prompt: bad\nSteps: 2, Sampler: Heun, Seed: 77, CFG scale: 3, Size: 64x64"
    request = studio.infotext(infotext=text, cfg_scale=5)
    assert (request.prompt, request.sampler, request.seed, request.cfg_scale) == ("a dog", "Heun", 77, 5)


WHITE = base64.b64encode(png_bytes(Image.new("RGB", (32, 16), "white"), "")).decode()
BAD = [
    ("txt2img", {"cfg_scale": "nan"}, 422), ("txt2img", {"cfg_scale": 1e300}, 422), ("txt2img", {"width": 0}, 422),
    ("txt2img", {"width": 10**6}, 422), ("txt2img", {"steps": 10**12}, 422), ("txt2img", {"seed": "x"}, 422),
    ("txt2img", {"sampler_name": "Magic"}, 400), ("txt2img", {"scheduler": "Magic"}, 400),
    ("txt2img", {"override_settings": {"sd_model_checkpoint": "none"}}, 422),
    ("txt2img", {"override_settings": {"CLIP_stop_at_last_layers": "two"}}, 422),
    ("txt2img", {"override_settings": {"sd_vae": ["x"]}}, 422), ("txt2img", {"prompt": "fail"}, 422),
    ("txt2img", {"restore_faces": True}, 422), ("txt2img", {"tiling": True}, 422),
    ("txt2img", {"subseed_strength": 0.3}, 422), ("txt2img", {"seed_resize_from_w": 512}, 422),
    ("txt2img", {"refiner_checkpoint": "x"}, 422), ("txt2img", {"alwayson_scripts": {"ControlNet": {}}}, 422),
    ("txt2img", {"styles": ["nowhere"]}, 422), ("txt2img", {"styles": "ink"}, 422),
    ("extra-single-image", {"image": WHITE, "upscaler_1": "Magic"}, 422), ("extra-single-image", {}, 422),
    ("extra-single-image", {"image": WHITE, "upscaling_resize": 1e9}, 422),
    ("extra-single-image", {"image": WHITE, "resize_mode": 1, "upscaling_resize_w": 10**6}, 422),
    ("extra-single-image", {"image": WHITE, "gfpgan_visibility": 0.5}, 422),
    ("extra-single-image", {"image": base64.b64encode(b"no image").decode()}, 422),
    ("extra-batch-images", {"imageList": []}, 422), ("extra-batch-images", {"imageList": [{"data": "&"}]}, 422),
    ("interrogate", {"image": WHITE}, 404), ("nothing", {}, 404),
    ("txt2img", [], 422), ("txt2img", {"script_name": "xyz"}, 422),
    ("txt2img", {"enable_hr": True, "hr_resize_x": 1024}, 422), ("txt2img", {"enable_hr": True, "hr_scale": 1}, 422),
    ("txt2img", {"enable_hr": True, "hr_upscaler": "Magic"}, 422),
    ("txt2img", {"enable_hr": True, "hr_scale": 1e9}, 422),
    ("txt2img", {"enable_hr": True, "hr_prompt": "another"}, 422),
    ("txt2img", {"enable_hr": True, "denoising_strength": 1.5}, 422),
    ("img2img", {}, 404), ("img2img", {"init_images": []}, 404), ("img2img", {"init_images": ["http://x/a.png"]}, 422),
    ("img2img", {"init_images": [base64.b64encode(b"no image").decode()]}, 422),
    ("img2img", {"init_images": [WHITE], "denoising_strength": -1}, 422),
    ("img2img", {"init_images": [WHITE], "denoising_strength": "nan"}, 422),
    ("img2img", {"init_images": [WHITE], "mask": WHITE}, 422), ("img2img", {"init_images": [WHITE] * 2}, 422),
    ("img2img", {"init_images": [WHITE], "resize_mode": 2}, 422),
    ("options", {"CLIP_stop_at_last_layers": 99}, 422), ("options", {"sd_model_checkpoint": "../../etc/passwd"}, 422),
    ("png-info", {"image": "&&&"}, 422), ("png-info", {"image": base64.b64encode(b"no image").decode()}, 422),
    ("png-info", {}, 422),
]  # fmt: skip


@pytest.mark.parametrize(("route", "body", "status"), BAD)
def test_bad_input_is_answered_with_one_line_and_the_server_goes_on(
    studio: Studio, route: str, body: Any, status: int
) -> None:
    answer = studio.post(route, body)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"error", "detail", "body", "errors"}
    assert answer.json()["detail"] and "\n" not in answer.json()["detail"]
    assert studio.get("progress")["progress"] == 0


@pytest.mark.parametrize(
    "body", [b'{"cfg_scale": NaN}', b'{"cfg_scale": Infinity}', b'{"steps": 1e999}', b"{", b"\xff"]
)
def test_json_that_is_hardly_json_is_answered_with_one_line(studio: Studio, body: bytes) -> None:
    answer = httpx.post(
        f"{studio.address}/sdapi/v1/txt2img", content=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code in (400, 422) and "\n" not in answer.json()["detail"]


def test_progress_shows_the_running_job_and_interrupt_stops_it(studio: Studio) -> None:
    idle = studio.client.get_progress()
    assert idle["progress"] == 0 and idle["state"]["job_count"] == 0
    answers: list[Any] = []
    body = {"prompt": "wait", "steps": 4, "width": 64, "height": 64}
    thread = threading.Thread(target=lambda: answers.append(studio.post("txt2img", body).json()))
    thread.start()
    while not studio.get("progress")["state"]["sampling_step"]:
        pass
    busy = studio.get("progress")
    assert 0 < busy["progress"] < 1 and busy["state"]["job_count"] == 1 and busy["state"]["sampling_steps"] == 4
    Image.open(io.BytesIO(base64.b64decode(busy["current_image"]))).verify()
    assert studio.get("progress?skip_current_image=true")["current_image"] is None
    assert studio.client.interrupt() == {}
    thread.join(5)
    assert len(answers[0]["images"]) == 1 and json.loads(answers[0]["info"])["interrupted"]


def test_many_waiting_clients_do_not_shut_others_out(studio: Studio) -> None:
    threads = [
        threading.Thread(target=studio.post, args=("txt2img", {"prompt": "wait", "steps": 1})) for _ in range(60)
    ]
    for thread in threads:
        thread.start()
    assert studio.get("samplers")
    studio.painter.go.set()
    for thread in threads:
        thread.join(30)
        assert not thread.is_alive()


def test_the_lists_have_the_shapes_that_clients_read(studio: Studio) -> None:
    assert {"title", "model_name", "hash", "sha256", "filename", "config"} == set(studio.client.get_sd_models()[0])
    assert [each["title"] for each in studio.client.get_sd_models()] == ["a.safetensors", "sub/b.safetensors"]
    assert studio.client.get_sd_vae()[0]["model_name"] == "v"
    assert {"name": "Euler a", "aliases": ["k_euler_a", "k_euler_ancestral"], "options": {}} in studio.get("samplers")
    karras = next(each for each in studio.client.get_schedulers() if each["name"] == "karras")
    assert karras == {
        "name": "karras", "label": "Karras", "aliases": None, "default_rho": 7.0, "need_inner_model": False,
    }  # fmt: skip
    assert studio.client.get_memory()["ram"]
    assert studio.client.get_cmd_flags()["api"]
    studio.client.refresh_checkpoints()
    assert studio.client.skip() is None


def test_every_list_of_the_usual_client_is_answered(studio: Studio) -> None:
    client = studio.client
    assert client.get_scripts() == {"txt2img": [], "img2img": []}
    assert not (client.has_controlnet or client.has_adetailer or client.has_animatediff)
    (net,) = client.get_hypernetworks()
    assert net["name"] == "old" and Path(net["path"]).is_file()
    assert client.get_face_restorers() == client.get_realesrgan_models() == []
    assert {"Lanczos", "Nearest"} <= {each["name"] for each in client.get_upscalers()}
    assert client.get_latent_upscale_modes()[0] == {"name": "Latent"}
    assert client.util_get_model_names() == ["a.safetensors", "sub/b.safetensors"]
    assert "Euler a" in client.util_get_sampler_names() and "karras" in client.util_get_scheduler_names()
    client.util_set_model("sub/b")
    assert client.util_get_current_model() == "sub/b.safetensors"
    client.util_wait_for_ready()


def test_styles_are_listed_and_applied_by_name_in_their_order(studio: Studio) -> None:
    assert studio.client.get_prompt_styles() == []
    Styles(studio.settings.data).save(Style("ink", "ink, {prompt}", "colour"), Style("calm", "calm <lora:ink:0.3>"))
    assert studio.client.get_prompt_styles()[0] == {
        "name": "ink",
        "prompt": "ink, {prompt}",
        "negative_prompt": "colour",
    }
    result = studio.client.txt2img(prompt="a cat", negative_prompt="blurry", styles=["calm", "ink"])
    assert result.info["prompt"] == "ink, a cat, calm <lora:ink:0.3>"
    assert (result.info["negative_prompt"], result.info["styles"]) == ("blurry, colour", ["calm", "ink"])


@pytest.mark.parametrize("by_factor", [True, False])
def test_the_usual_client_enlarges_pictures(studio: Studio, by_factor: bool) -> None:
    picture = Image.radial_gradient("L").resize((40, 20)).convert("RGB")
    size = (
        {"upscaling_resize": 2.5}
        if by_factor
        else {"resize_mode": 1, "upscaling_resize_w": 100, "upscaling_resize_h": 60}
    )
    single = studio.client.extra_single_image(picture, upscaler_1="Nearest", upscaling_crop=False, **size).image
    assert single.size == (100, 50)
    assert single.getpixel((0, 0)) == picture.getpixel((0, 0))
    many = studio.client.extra_batch_images([picture, picture.rotate(90, expand=True)], upscaler_1="Lanczos", **size)
    assert [image.size for image in many.images] == ([(100, 50), (50, 100)] if by_factor else [(100, 60)] * 2)


def test_what_is_not_there_is_a_404_that_names_it(studio: Studio) -> None:
    for route in ("artists", "artist-categories", "controlnet/version", "txt2img"):
        answer = httpx.get(f"{studio.address}/sdapi/v1/{route}")
        assert answer.status_code == 404 and route in answer.json()["detail"]
    with pytest.raises(RuntimeError, match="no model that describes"):
        studio.client.interrogate(Image.new("RGB", (8, 8)))


def test_the_usual_client_asks_for_a_second_pass(studio: Studio) -> None:
    result = studio.client.txt2img(
        prompt="a cat", width=64, height=64, enable_hr=True, hr_scale=1.5, hr_second_pass_steps=7,
        hr_upscaler=webuiapi.HiResUpscaler.LatentNearestExact, denoising_strength=0.4,
    )  # fmt: skip
    request = parse_infotext(result.info["infotexts"][0]).request
    told = (request.hires_scale, request.hires_steps, request.hires_upscaler, request.denoising_strength)
    assert told == (1.5, 7, "Latent (nearest-exact)", 0.4)
    assert result.info["denoising_strength"] == 0.4
    once = parse_infotext(studio.client.txt2img(prompt="a cat").info["infotexts"][0]).request
    assert (once.hires_scale, once.denoising_strength) == (1, 0.75)
    names = [mode["name"] for mode in studio.get("latent-upscale-modes")]
    assert names[0] == "Latent" and {"Lanczos"} <= {each["name"] for each in studio.get("upscalers")}


def test_the_usual_client_gives_a_picture_to_begin_with(studio: Studio) -> None:
    picture = Image.new("RGBA", (48, 24), (255, 0, 0, 0))
    result = studio.client.img2img(images=[picture], prompt="a cat", width=64, height=32, denoising_strength=0.3)
    assert result.image.size == (64, 32)
    assert (result.info["denoising_strength"], result.parameters["init_images"]) == (0.3, None)
    seen = studio.painter.requests[-1]
    assert seen.init_image is not None and seen.init_image.getpixel((0, 0)) == (255, 255, 255)
    plain = {"init_images": [WHITE], "width": 32, "height": 32, "resize_mode": 1, "steps": 1}
    studio.post("img2img", plain).raise_for_status()
    assert studio.painter.requests[-1].init_image.size == (32, 32)
    assert studio.painter.requests[-1].denoising_strength == 0.75


def test_options_are_the_settings_under_the_names_that_clients_know(studio: Studio) -> None:
    assert studio.client.get_options()["sd_model_checkpoint"] == "a.safetensors"
    studio.client.set_options({"sd_model_checkpoint": "sub/b.safetensors", "samples_format": "png", "sd_vae": None})
    studio.post("options", {"CLIP_stop_at_last_layers": 2, "networks.default_strength": 0.7}).raise_for_status()
    options = studio.client.get_options()
    assert (options["sd_model_checkpoint"], options["CLIP_stop_at_last_layers"]) == ("sub/b.safetensors", 2)
    assert options["extra_networks_default_multiplier"] == options["networks.default_strength"] == 0.7
    assert SettingsStore(studio.settings.data).current.generation.checkpoint == "sub/b"


def test_png_info_reads_what_an_image_says(studio: Studio) -> None:
    text = 'a cat\nSteps: 2, Sampler: Heun, Seed: 7, Lora hashes: "x: 0123"'
    picture = Image.new("RGB", (8, 8))
    picture.info["parameters"] = text
    content = base64.b64encode(png_bytes(picture, text)).decode()
    for image in (content, f"data:image/png;base64,{content}"):
        answer = studio.post("png-info", {"image": image}).json()
        assert answer["info"] == text and answer["parameters"]["seed"] == 7
        assert answer["parameters"]["Lora hashes"] == "x: 0123"
    assert studio.client.png_info(picture).info
    assert read_infotext(base64.b64decode(content)) == text


def test_networks_and_embeddings_are_listed_and_a_new_file_is_found(studio: Studio) -> None:
    (ink,) = studio.client.get_loras()
    assert (ink["name"], ink["metadata"]) == ("sub/ink", {"ss_output_name": "Ink"})
    assert Path(ink["path"]).name == "ink.safetensors" and ink["alias"]
    word = studio.client.get_embeddings()["loaded"]["word"]
    assert (word["shape"], word["vectors"]) == (16, 3)
    write_network(Path(ink["path"]).with_name("new.safetensors"), {})
    (Path(ink["path"]).parent / "broken.safetensors").write_bytes(b"no network")
    studio.post("refresh-loras", {}).raise_for_status()
    studio.post("refresh-embeddings", {}).raise_for_status()
    assert {each["name"] for each in studio.client.get_loras()} == {"sub/broken", "sub/ink", "sub/new"}


def test_images_are_saved_only_when_asked(studio: Studio) -> None:
    outputs = studio.settings.folders.outputs
    studio.infotext(prompt="kept nowhere")
    assert not outputs.exists()
    studio.infotext(prompt="kept", save_images=True)
    (saved,) = outputs.rglob("*.png")
    assert parse_infotext(read_infotext(saved)).request.prompt == "kept"
