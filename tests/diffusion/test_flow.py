"""SD3 and Flux against diffusers' pipelines."""

from __future__ import annotations

import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import (
    FlowMatchEulerDiscreteScheduler,
    FluxPipeline,
    FluxTransformer2DModel,
    SD3Transformer2DModel,
    StableDiffusion3Pipeline,
)
from transformers import CLIPTextModel, CLIPTextModelWithProjection, T5Config, T5EncoderModel, T5Tokenizer

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Conditioning, encode
from app.diffusion.decoding import decode
from app.diffusion.device import CPU
from app.diffusion.flow import packed, unpacked
from app.diffusion.loading import load_checkpoint
from app.diffusion.sampling import sample
from app.errors import CheckpointError, RequestError
from app.generation.request import GenerationRequest
from app.prompt.emphasis import fragments
from tests.diffusion.models import clip_config, small_vae, tokenizer

REQUEST = GenerationRequest(seed=7, steps=3, sampler="Euler", width=16, height=24, cfg_scale=4.0)


def t5() -> tuple[T5EncoderModel, T5Tokenizer]:
    words = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0), *((c, -3.0) for c in string.ascii_lowercase)]
    config = T5Config(d_model=32, d_ff=32, num_layers=1, num_heads=2, d_kv=8, vocab_size=len(words))
    return T5EncoderModel(config), T5Tokenizer(vocab=words, extra_ids=0)


def sd3_pipeline() -> StableDiffusion3Pipeline:
    torch.manual_seed(0)
    encoder, words = t5()
    transformer = SD3Transformer2DModel(
        sample_size=16,
        patch_size=2,
        in_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=32,
        caption_projection_dim=16,
        pooled_projection_dim=32,
        out_channels=4,
        pos_embed_max_size=16,
    )
    return StableDiffusion3Pipeline(
        transformer=transformer,
        vae=small_vae(),
        text_encoder=CLIPTextModelWithProjection(clip_config(16)),
        tokenizer=tokenizer(),
        text_encoder_2=CLIPTextModelWithProjection(clip_config(16)),
        tokenizer_2=tokenizer("!"),
        text_encoder_3=encoder,
        tokenizer_3=words,
        scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0),
    )


def flux_pipeline() -> FluxPipeline:
    torch.manual_seed(0)
    encoder, words = t5()
    transformer = FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=32,
        pooled_projection_dim=16,
        guidance_embeds=True,
        axes_dims_rope=(4, 6, 6),
    )
    return FluxPipeline(
        transformer=transformer,
        vae=small_vae(),
        text_encoder=CLIPTextModel(clip_config(16)),
        tokenizer=tokenizer(),
        text_encoder_2=encoder,
        tokenizer_2=words,
        scheduler=FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, base_shift=0.5, max_shift=1.15),
    )


@pytest.fixture(scope="session", params=["sd3", "flux"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("flow") / str(request.param)
    (sd3_pipeline() if request.param == "sd3" else flux_pipeline()).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(folder: Path) -> Checkpoint:
    return load_checkpoint(folder, CPU)


def conditioning(checkpoint: Checkpoint) -> Conditioning:
    return Conditioning(((encode(checkpoint, fragments("a cat")), 1.0),), encode(checkpoint, fragments("a dog")))


def test_the_folder_says_what_it_is(checkpoint: Checkpoint) -> None:
    assert (checkpoint.family, checkpoint.prediction) == (checkpoint.name, "flow")


def test_the_loop_gives_the_latents_of_diffusers_pipeline(checkpoint: Checkpoint, folder: Path) -> None:
    flux = checkpoint.family == "flux"
    pipeline: Any = (FluxPipeline if flux else StableDiffusion3Pipeline).from_pretrained(folder, local_files_only=True)
    pipeline.set_progress_bar_config(disable=True)
    extra = {} if flux else {"negative_prompt": "a dog"}
    expected = pipeline(
        "a cat",
        num_inference_steps=3,
        guidance_scale=4.0,
        height=24,
        width=16,
        generator=torch.Generator("cpu").manual_seed(7),
        output_type="latent",
        **extra,
    ).images
    known = conditioning(checkpoint)
    ours = sample(checkpoint, REQUEST, lambda step: known).latents
    torch.testing.assert_close(packed(ours) if flux else ours, expected, rtol=1e-3, atol=1e-3)
    assert decode(checkpoint, ours).images[0].size == (16, 24)


def test_patches_unpack_to_what_they_were() -> None:
    x = torch.randn(2, 4, 6, 10)
    assert torch.equal(unpacked(packed(x), 3, 5), x)


@pytest.mark.parametrize(
    ("field", "value"),
    [("sampler", "UniPC"), ("sampler", "Heun"), ("schedule_type", "Beta"), ("width", 18), ("height", 26)],
)
def test_what_a_flow_model_cannot_do_is_an_error_that_names_the_field(
    checkpoint: Checkpoint, field: str, value: object
) -> None:
    known = conditioning(checkpoint)
    with pytest.raises(RequestError) as caught:
        sample(checkpoint, replace(REQUEST, **{field: value}), lambda step: known)  # type: ignore[arg-type]
    assert caught.value.where == field


def test_the_karras_schedule_runs(checkpoint: Checkpoint) -> None:
    known = conditioning(checkpoint)
    request = replace(REQUEST, sampler="Euler", schedule_type="Karras", steps=2)
    assert sample(checkpoint, request, lambda step: known).latents.isfinite().all()


def test_a_pipeline_of_another_kind_is_refused_with_those_that_are_known(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text('{"_class_name": "EvilPipeline"}')
    with pytest.raises(CheckpointError, match="FluxPipeline"):
        load_checkpoint(tmp_path, CPU)
