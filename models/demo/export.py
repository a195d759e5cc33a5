"""The finished parts as a pipeline folder that diffusers loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

from .denoiser import NOISE


def assemble(
    unet: UNet2DConditionModel, vae: AutoencoderKL, text: CLIPTextModel, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """The parts as one text-to-image pipeline without a safety checker."""
    return StableDiffusionPipeline(
        unet=unet,
        vae=vae,
        text_encoder=text,
        tokenizer=tokenizer,
        scheduler=DDIMScheduler(**NOISE, set_alpha_to_one=False),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Write the pipeline in half precision."""
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    # The files other tools read; the library itself writes only its own tokenizer.json.
    pipeline.tokenizer.backend_tokenizer.model.save(str(folder / "tokenizer"))
    # transformers takes the precision from this file, diffusers takes single precision unless told otherwise: without
    # this line the two would disagree when nobody names a precision.
    config = folder / "text_encoder" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"dtype": "float32"}, indent=2) + "\n")


def export_autoencoder(vae: AutoencoderKL, folder: Path) -> None:
    """Write an autoencoder by itself, in half precision."""
    vae.to(torch.float16).save_pretrained(folder, safe_serialization=True)


def load(folder: Path) -> StableDiffusionPipeline:
    """The pipeline of a folder, in single precision and quiet."""
    pipeline = StableDiffusionPipeline.from_pretrained(folder, local_files_only=True, torch_dtype=torch.float32)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
