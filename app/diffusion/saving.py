"""A model's folder written anew, some of its weights changed."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from app.diffusion.folders import checked_header
from app.diffusion.stored import StoredComponent, StoredModel, read_pickle, weights_in
from app.diffusion.weight_files import PICKLES, WEIGHT_SUFFIXES

CONFIG = "config.json"
DTYPE_FIELDS = ("dtype", "torch_dtype")
"""Where transformers' configurations say how the weights are stored."""


def save_model(model: StoredModel, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """Write a model into an empty folder, with `changed` in place of its own weights ("component.name" → value).

    `dtype` is what every floating-point weight is stored in; None keeps each one's own. Names in the files stay as
    they are, so that what could load the model can load this one. Other copies of the weights (other variants,
    single files beside the folders) are left out, as they would not be changed.

    Raises:
        CheckpointError: a file of the model cannot be read.
        OSError: a file cannot be written.
    """
    for name, component in model.components.items():
        own = {key.removeprefix(f"{name}."): value for key, value in changed.items() if key.startswith(f"{name}.")}
        _save_component(component, folder / name, own, dtype)
    for entry in sorted(model.path.iterdir()):
        if entry.name in model.components or entry.name.startswith("."):
            continue
        if entry.is_dir():
            _copy_folder(entry, folder / entry.name)
        elif entry.is_file() and not entry.name.endswith(WEIGHT_SUFFIXES):
            shutil.copyfile(entry, folder / entry.name)


def _copy_folder(source: Path, target: Path) -> None:
    """Files only, links to files followed (as caches keep them), links to folders not."""
    for place, _, names in os.walk(source):
        inner = target / Path(place).relative_to(source)
        inner.mkdir(parents=True, exist_ok=True)
        for name in names:
            if (Path(place) / name).is_file():
                shutil.copyfile(Path(place) / name, inner / name)


def _save_component(
    component: StoredComponent, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None
) -> None:
    folder.mkdir(parents=True)
    for entry in sorted(component.folder.iterdir()):
        if entry.is_file() and entry.name != CONFIG and component.files.beside(entry):
            shutil.copyfile(entry, folder / entry.name)
    _save_config(component, folder / CONFIG, dtype)
    by_place = {component.weights[name]: value for name, value in changed.items()}
    for file in component.files.paths:
        own = {weight.key: value for weight, value in by_place.items() if weight.file == file}
        if own or dtype is not None or file.suffix != ".safetensors":
            _save_weights(file, folder, own, dtype)
        else:
            shutil.copyfile(file, folder / file.name)


def _save_config(component: StoredComponent, path: Path, dtype: torch.dtype | None) -> None:
    if dtype is None:
        shutil.copyfile(component.folder / CONFIG, path)
        return
    told = {field: str(dtype).removeprefix("torch.") for field in DTYPE_FIELDS if field in component.config}
    path.write_text(json.dumps({**component.config, **told}, indent=2) + "\n", encoding="utf-8")


def _save_weights(file: Path, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """One file of weights; a pickle becomes a safetensors file of the name that libraries look for."""
    pickled = file.name in PICKLES
    metadata = {} if pickled else checked_header(file).metadata
    unpickled = read_pickle(file) if pickled else {}
    tensors = {}
    for key, weight in weights_in(file).items():
        value = changed[key] if key in changed else unpickled[key] if pickled else weight.read()
        value = value.to(dtype) if dtype is not None and value.is_floating_point() else value
        tensors[key] = value.clone(memory_format=torch.contiguous_format) if pickled else value.contiguous()
    try:
        save_file(tensors, folder / PICKLES.get(file.name, file.name), metadata={"format": "pt", **metadata})
    except SafetensorError as error:  # how it tells a full disk
        raise OSError(str(error)) from error
