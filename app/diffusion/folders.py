"""Checkpoints as diffusers' folders, read from disk only."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKL, FluxTransformer2DModel, SD3Transformer2DModel, UNet2DConditionModel
from safetensors import SafetensorError
from torch import nn
from transformers import AutoTokenizer, CLIPTextModel, CLIPTextModelWithProjection, T5EncoderModel
from transformers.utils import logging as transformers_logging

from app.diffusion.checkpoint import Checkpoint, Family, Prediction, module_config
from app.diffusion.device import Placement, is_out_of_memory
from app.diffusion.tokens import read_tokenizer
from app.errors import CheckpointError, NetworkError
from app.networks.header import Header, read_header

CLASSES: Mapping[str, Mapping[str, Any]] = {
    "StableDiffusion": {"unet": UNet2DConditionModel, "text_encoder": CLIPTextModel, "vae": AutoencoderKL},
    "StableDiffusionXL": {
        "unet": UNet2DConditionModel,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": CLIPTextModelWithProjection,
        "vae": AutoencoderKL,
    },
    "StableDiffusion3": {
        "transformer": SD3Transformer2DModel,
        "text_encoder": CLIPTextModelWithProjection,
        "text_encoder_2": CLIPTextModelWithProjection,
        "text_encoder_3": T5EncoderModel,
        "vae": AutoencoderKL,
    },
    "Flux": {
        "transformer": FluxTransformer2DModel,
        "text_encoder": CLIPTextModel,
        "text_encoder_2": T5EncoderModel,
        "vae": AutoencoderKL,
    },
}
"""The components of a pipeline, by its name without "Pipeline", "Img2Img" and "Inpaint"."""
OPTIONAL = {"text_encoder", "text_encoder_3"}
"""SDXL's refiner has no first text encoder; SD3 works without its third."""
READ_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    EOFError,
    SafetensorError,
    pickle.UnpicklingError,
)
"""What torch, diffusers, transformers and safetensors raise for files that are not what they should be."""


def load_folder(path: Path, placement: Placement) -> Checkpoint:
    """A checkpoint from a folder with a `model_index.json`.

    Raises:
        CheckpointError: naming the folder or file that is missing or is not what it should be.
    """
    index = read_json(path / "model_index.json")
    kind = str(index.get("_class_name", "")).removesuffix("Pipeline")
    kind = kind.removesuffix("Img2Img").removesuffix("Inpaint")
    if kind not in CLASSES:
        known = ", ".join(f"{name}Pipeline" for name in CLASSES)
        raise CheckpointError(f"The pipeline {kind!r} is not one of {known}.", where=str(path / "model_index.json"))
    components = {
        name: load_component(cls, path / name, placement.dtype)
        for name, cls in CLASSES[kind].items()
        if name not in OPTIONAL or (path / name).is_dir()
    }
    scheduler = read_json(path / "scheduler" / "scheduler_config.json")
    clips = [
        name for name, module in components.items() if isinstance(module, CLIPTextModel | CLIPTextModelWithProjection)
    ]
    unet = components.get("unet")
    return Checkpoint(
        name=path.name,
        path=path,
        family=_family(kind, components),
        prediction=_prediction(kind, scheduler),
        components=components,
        tokenizers={name: read_tokenizer(path / name.replace("text_encoder", "tokenizer")) for name in clips},
        scheduler_config=scheduler,
        placement=placement,
        inpainting=unet is not None and int(module_config(unet)["in_channels"]) == 9,
        zero_empty_negative=bool(index.get("force_zeros_for_empty_prompt", kind == "StableDiffusionXL")),
        t5_tokenizer=_t5_tokenizer(path, components),
    )


def _family(kind: str, components: Mapping[str, nn.Module]) -> Family:
    match kind:
        case "StableDiffusionXL":
            return "sdxl" if "text_encoder" in components else "sdxl-refiner"
        case "StableDiffusion3":
            return "sd3"
        case "Flux":
            return "flux"
        case _:
            return "sd2" if module_config(components["unet"])["cross_attention_dim"] == 1024 else "sd15"


def _prediction(kind: str, scheduler: Mapping[str, Any]) -> Prediction:
    if kind in ("StableDiffusion3", "Flux"):
        return "flow"
    prediction = scheduler.get("prediction_type", "epsilon")
    if prediction not in ("epsilon", "v_prediction"):
        raise CheckpointError(f"The prediction type {prediction!r} is not known.", where="scheduler_config.json")
    return "v_prediction" if prediction == "v_prediction" else "epsilon"


def _t5_tokenizer(path: Path, components: Mapping[str, nn.Module]) -> Any:
    for name, module in components.items():
        if isinstance(module, T5EncoderModel):
            folder = path / name.replace("text_encoder", "tokenizer")
            with reading(folder):
                return AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return None


def load_component(cls: Any, folder: Path, dtype: torch.dtype) -> nn.Module:
    """One module of a diffusers folder, with all its weights.

    Raises:
        CheckpointError: naming the file that is missing or damaged, or the first weight the file lacks.
    """
    if not (folder / "config.json").is_file():
        raise CheckpointError("This part of the checkpoint is missing.", where=str(folder / "config.json"))
    weights = sorted(folder.glob("*.safetensors"))
    for file in weights:
        checked_header(file)
    options: dict[str, Any] = {"local_files_only": True, "output_loading_info": True, "use_safetensors": bool(weights)}
    if weights and all(".fp16" in file.name for file in weights):
        options["variant"] = "fp16"
    with reading(folder), _quiet():
        module, info = cls.from_pretrained(folder, dtype=dtype, **options)
    missing = sorted(str(key) for key in info["missing_keys"] if "position_ids" not in str(key))
    if missing or info["mismatched_keys"]:
        what = f"{len(missing)} weights are missing, {missing[0]!r} first" if missing else "weights have other shapes"
        raise CheckpointError(f"{what}.", where=str(folder))
    return frozen(module)


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of transformers' inside the block: ours tells the whole load."""
    shown = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            transformers_logging.enable_progress_bar()


def frozen(module: nn.Module) -> nn.Module:
    return module.eval().requires_grad_(False)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Tells a library's failure to read `path` as a CheckpointError of one line."""
    try:
        yield
    except READ_ERRORS as error:
        if is_out_of_memory(error):
            raise
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        reason = lines[0] if lines else type(error).__name__
        raise CheckpointError(f"It cannot be read ({reason}).", where=str(path)) from error


def checked_header(path: Path) -> Header:
    """The header of a safetensors file, whose whole layout is checked on the way.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    try:
        return read_header(path)
    except NetworkError as error:
        raise CheckpointError(error.message, where=error.where, hint=error.hint) from error


def read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"It cannot be read ({error}).", where=str(path)) from error
    if not isinstance(content, dict):
        raise CheckpointError("It is not a JSON object.", where=str(path))
    return content
