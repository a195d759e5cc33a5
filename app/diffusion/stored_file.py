"""A checkpoint in one file, seen as the folder it would be: what `stored` is for folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import ModelMixin
from torch import Tensor, nn

from app.diffusion.checkpoint import module_config
from app.diffusion.flow_files import FLOW_PADS, T5_FOLDER, flow_parts, flow_scheduler, t5_tokenizer
from app.diffusion.folders import read_json, reading
from app.diffusion.layouts import CONFIGS, Layout, describe, recognised
from app.diffusion.single_file import Part, parts_of, predicted, read_tensors, shapes_of, unet_file_part
from app.diffusion.stored import StoredComponent, StoredModel, open_folder
from app.diffusion.weight_files import WeightFiles

PIPELINES: Mapping[str, str] = {
    "sd15": "StableDiffusion",
    "sd2": "StableDiffusion",
    "sdxl": "StableDiffusionXL",
    "sdxl-refiner": "StableDiffusionXL",
    "sd3": "StableDiffusion3",
    "flux": "Flux",
}
"""The class of a family's pipeline, without its kind."""
CLIP_LEVEL = ("encoder.", "embeddings.", "final_layer_norm.")
"""What stands below `text_model` in every file of a CLIP text encoder; transformers 5.6 dropped the level."""


@dataclass(frozen=True, slots=True)
class HeldWeight:
    """A tensor of the file, mapped; `key` is its name in a folder's file."""

    key: str
    tensor: Tensor

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.tensor.shape)

    def read(self) -> Tensor:
        """The tensor, as it is stored."""
        return self.tensor


def open_file(path: Path) -> StoredModel:
    """The components of a checkpoint in one file; what is written of it is a diffusers folder.

    Raises:
        CheckpointError: naming the file and what is wrong with it.
    """
    files = WeightFiles((path,))
    stamp = files.stamp
    tensors, metadata = read_tensors(path)
    shapes = shapes_of(tensors)
    family = recognised(shapes, str(path))
    layout = None if family in FLOW_PADS else describe(shapes, metadata, str(path))
    with reading(path):
        parts = (
            flow_parts(path, tensors, family)
            if layout is None
            else [unet_file_part(name, tensors, layout) for name in parts_of(layout)]
        )
    components = {
        part.name: StoredComponent(path, _config(part.module), part.module, files, _weights(part, path), stamp)
        for part in parts
    }
    classes = {part.name: type(part.module) for part in parts}
    return StoredModel(path, components, family, _Folder(path, family, tensors, layout, classes).write)


def open_model(path: Path) -> StoredModel:
    """A model on disk: a diffusers folder, or a checkpoint in one file.

    Raises:
        CheckpointError: naming what is missing or is not what it should be.
    """
    return open_file(path) if path.is_file() else open_folder(path)


def _config(module: nn.Module) -> dict[str, Any]:
    """What `config.json` says of a module."""
    if isinstance(module, ModelMixin):
        told: dict[str, Any] = json.loads(module.to_json_string())
        return told
    return {**module_config(module), "architectures": [type(module).__name__]}


def _weights(part: Part, path: Path) -> dict[str, HeldWeight]:
    """The module's weights, by their live names.

    Raises:
        CheckpointError: one is missing, or has another shape.
    """
    wanted = {name: tuple(tensor.shape) for name, tensor in part.module.state_dict().items()}
    with reading(path):
        missing = sorted(wanted.keys() - part.tensors.keys())
        if missing:
            raise ValueError(f"{len(missing)} weights of the {part.name} are missing, {missing[0]!r} first")
        for name, shape in wanted.items():
            if tuple(part.tensors[name].shape) != shape:
                raise ValueError(f"{name!r} of the {part.name} is {tuple(part.tensors[name].shape)}, not {shape}")
    clip = (
        part.name.startswith("text_encoder") and "final_layer_norm.weight" in wanted and "shared.weight" not in wanted
    )
    level = "text_model." if clip else ""
    kept = [name for name in wanted if not (name == "encoder.embed_tokens.weight" and "shared.weight" in wanted)]
    return {
        name: HeldWeight((level if name.startswith(CLIP_LEVEL) else "") + name, part.tensors[name]) for name in kept
    }


@dataclass(frozen=True, slots=True, eq=False)
class _Folder:
    """What a diffusers folder has besides its components: the pipeline's name, the scheduler, the tokenizers."""

    path: Path
    family: str
    tensors: Mapping[str, Tensor]
    layout: Layout | None
    classes: Mapping[str, type[nn.Module]]

    def write(self, folder: Path) -> None:
        """Write them beside the components.

        Raises:
            CheckpointError: T5's tokenizer, which no file holds, is not in the models folder.
            OSError: a file cannot be written.
        """
        scheduler = self._scheduler()
        (folder / "scheduler").mkdir()
        _write_json(folder / "scheduler" / "scheduler_config.json", scheduler)
        index: dict[str, object] = {
            "_class_name": self._pipeline(),
            "scheduler": ["diffusers", scheduler["_class_name"]],
        }
        index |= {name: [cls.__module__.partition(".")[0], cls.__name__] for name, cls in self.classes.items()}
        for name in self.classes:
            if name.startswith("text_encoder"):
                tokenizer = name.replace("text_encoder", "tokenizer")
                index[tokenizer] = ["transformers", self._write_tokenizer(name, folder / tokenizer)]
        if PIPELINES[self.family] == "StableDiffusionXL":
            index["force_zeros_for_empty_prompt"] = self.family == "sdxl"
        _write_json(folder / "model_index.json", index | {name: [None, None] for name in self._left_out(index)})

    def _pipeline(self) -> str:
        if self.layout is not None and self.layout.inpainting:
            return f"{PIPELINES[self.family]}InpaintPipeline"
        return f"{PIPELINES[self.family]}{'Img2Img' if self.family == 'sdxl-refiner' else ''}Pipeline"

    def _left_out(self, index: Mapping[str, object]) -> list[str]:
        """What the pipeline can do without, and what this one does without."""
        texts = {"sdxl-refiner": ["text_encoder", "tokenizer"], "sd3": ["text_encoder_3", "tokenizer_3"]}
        checker = ["safety_checker", "feature_extractor"] if PIPELINES[self.family] == "StableDiffusion" else []
        return [name for name in (*texts.get(self.family, ()), *checker) if name not in index]

    def _scheduler(self) -> Mapping[str, Any]:
        if self.layout is None:
            return {"_class_name": "FlowMatchEulerDiscreteScheduler", **flow_scheduler(self.tensors, self.family)}
        prediction = self.layout.prediction
        if prediction is None:  # older files of SD2 do not say: see what the model itself does
            unet = unet_file_part("unet", self.tensors, self.layout).filled(torch.float32)
            prediction = predicted(unet, self.layout)
        configuration = {**self.layout.configs["scheduler"], "prediction_type": prediction}
        return {"_class_name": "EulerDiscreteScheduler", **configuration}

    def _write_tokenizer(self, component: str, folder: Path) -> str:
        """The tokenizer of a text encoder; the name of its class."""
        pads = FLOW_PADS[self.family] if self.layout is None else self.layout.pad_tokens
        if component not in pads:
            models = next((parent for parent in self.path.parents if parent.name == "models"), self.path.parent)
            tokenizer = t5_tokenizer(models / T5_FOLDER)
            tokenizer.save_pretrained(folder)
            return type(tokenizer).__name__
        shutil.copytree(CONFIGS / "clip-tokenizer", folder)
        config = read_json(folder / "tokenizer_config.json")
        _write_json(folder / "tokenizer_config.json", {**config, "pad_token": pads[component]})
        return "CLIPTokenizer"


def _write_json(path: Path, content: Mapping[str, object]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
