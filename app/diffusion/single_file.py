"""Checkpoints in one file, in the original layouts; nothing but the file is read, and no network is used."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.loaders.single_file_utils import (
    convert_ldm_clip_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
    convert_open_clip_checkpoint,
)
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import Placement
from app.diffusion.folders import checked_header, frozen, reading
from app.diffusion.layouts import CONFIGS, TEXT_PREFIXES, Layout, describe
from app.diffusion.tokens import ClipTokenizer, read_tokenizer
from app.errors import CheckpointError

Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Part:
    """A component of a file: the module, on no device yet, and its tensors as the file stores them, by live names."""

    name: str
    module: nn.Module
    tensors: Tensors

    def filled(self, dtype: torch.dtype) -> nn.Module:
        """The module with its weights.

        Raises:
            ValueError: if a weight is missing.
            RuntimeError: if one has another shape.
        """
        return filled(self.module, self.tensors, dtype, self.name)


def load_unet_file(path: Path, tensors: Tensors, metadata: Mapping[str, str], placement: Placement) -> Checkpoint:
    """A checkpoint of SD 1.x, SD 2.x or SDXL from the tensors and metadata of one file.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    layout = describe(shapes_of(tensors), metadata, str(path))
    components = {}
    for name in parts_of(layout):
        with reading(path):
            components[name] = unet_file_part(name, tensors, layout).filled(placement.dtype)
    tokenizer = read_tokenizer(CONFIGS / "clip-tokenizer")
    prediction = layout.prediction or predicted(components["unet"], layout)
    return Checkpoint(
        name=path.stem,
        path=path,
        family=layout.family,
        prediction=prediction,
        components=components,
        tokenizers={name: padded(tokenizer, pad) for name, pad in layout.pad_tokens.items()},
        scheduler_config={**layout.configs["scheduler"], "prediction_type": prediction},
        placement=placement,
        inpainting=layout.inpainting,
        zero_empty_negative=layout.family == "sdxl",
    )


def read_tensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a file and its metadata; a pickle is read without running what it asks to run.

    Raises:
        CheckpointError: for a file that is damaged, or is not one of tensors.
    """
    if path.suffix == ".safetensors":
        header = checked_header(path)
        with reading(path):
            return load_file(path), header.metadata
    try:
        with reading(path):
            content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError as error:
        if isinstance(error.__cause__, pickle.UnpicklingError):
            hint = "Use a .safetensors file."
            message = "It is not a pickle of tensors alone, and reading it further would not be safe."
            raise CheckpointError(message, where=str(path), hint=hint) from error
        raise
    while isinstance(content, Mapping) and isinstance(content.get("state_dict"), Mapping):
        content = content["state_dict"]
    if not isinstance(content, Mapping):
        raise CheckpointError("It holds no tensors.", where=str(path))
    return {str(name): tensor for name, tensor in content.items() if isinstance(tensor, Tensor)}, {}


def parts_of(layout: Layout) -> tuple[str, ...]:
    """The components of a file of SD 1.x, SD 2.x or SDXL."""
    return ("unet", *layout.pad_tokens, "vae")


def unet_file_part(name: str, tensors: Tensors, layout: Layout) -> Part:
    """One of these components."""
    config = layout.configs[name]
    match name:
        case "unet":
            with init_empty_weights():
                model: Any = UNet2DConditionModel.from_config(config)
            return Part(name, model, convert_ldm_unet_checkpoint(dict(tensors), model.config))
        case "vae":
            with init_empty_weights():
                model = AutoencoderKL.from_config(config)
            return Part(name, model, convert_ldm_vae_checkpoint(dict(tensors), model.config))
        case _:
            cls = CLIPTextModelWithProjection if name == "text_encoder_2" else CLIPTextModel
            with init_empty_weights():
                model = cls(CLIPTextConfig(**config))
            return Part(name, model, _clip_tensors(model, tensors, TEXT_PREFIXES[layout.family][name]))


def _clip_tensors(model: nn.Module, tensors: Tensors, prefix: str) -> dict[str, Tensor]:
    """The tensors of a text encoder under transformers' names."""
    if f"{prefix}token_embedding.weight" in tensors:
        converted: dict[str, Tensor] = convert_open_clip_checkpoint(model, dict(tensors), prefix=prefix)
    else:
        converted = convert_ldm_clip_checkpoint(dict(tensors))
    # transformers 5.6 dropped the level `text_model` of CLIPTextModel and kept CLIPTextModelWithProjection's.
    level = "text_model." if hasattr(model, "text_model") else ""
    outside = ("text_projection.",)
    return {
        name if name.startswith(outside) else level + name.removeprefix("text_model."): tensor
        for name, tensor in converted.items()
    }


def filled(model: nn.Module, tensors: Tensors, dtype: torch.dtype, name: str) -> nn.Module:
    """A module without weights, given the tensors of its names; others are ignored.

    Raises:
        ValueError: if a weight is missing.
        RuntimeError: if one has another shape.
    """
    wanted = model.state_dict().keys()
    converted = {key: tensor.to(dtype) for key, tensor in tensors.items() if key in wanted}
    if missing := sorted(wanted - converted.keys()):
        raise ValueError(f"{len(missing)} weights of the {name} are missing, {missing[0]!r} first")
    model.load_state_dict(converted, assign=True)
    return frozen(model)


def shapes_of(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def padded(tokenizer: ClipTokenizer, pad: str) -> ClipTokenizer:
    """The tokenizer with another padding."""
    found = tokenizer.model.token_to_id(pad)
    return replace(tokenizer, pad=tokenizer.end if found is None else found)


@torch.no_grad()
def predicted(unet: nn.Module, layout: Layout) -> Any:
    """What a UNet predicts, by trying: given pure noise at the last timestep, ε is that noise and v is unlike it."""
    config = layout.configs["unet"]
    noise = torch.randn(1, config["in_channels"], 32, 32, generator=torch.Generator("cpu").manual_seed(0))
    text = torch.zeros(1, 77, config["cross_attention_dim"])
    dtype = next(unet.parameters()).dtype
    output = unet(noise.to(dtype), torch.tensor(999.0), encoder_hidden_states=text.to(dtype), return_dict=False)[0]
    likeness = torch.nn.functional.cosine_similarity(output.float().flatten(), noise[:, :4].flatten(), dim=0)
    return "epsilon" if float(likeness) > 0.5 else "v_prediction"
