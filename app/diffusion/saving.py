"""A model's folder written anew, some of its weights changed."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import torch
from diffusers import ModelMixin
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from app.diffusion.folders import checked_header, read_json
from app.diffusion.stored import StoredComponent, StoredModel, StoredWeight, read_pickle, weights_in
from app.diffusion.weight_files import STEMS, WEIGHT_SUFFIXES, unpickled_name

CONFIG = "config.json"
DTYPE_FIELDS = ("dtype", "torch_dtype")
"""Where transformers' configurations say how the weights are stored."""


def save_model(model: StoredModel, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """Write a model into an empty folder, as a diffusers folder, with `changed` in place of its own weights
    ("component.name" → value).

    `dtype` is what every floating-point weight is stored in; None keeps each one's own. Names in the files stay as
    they are, so that what could load the model can load this one. Other copies of the weights (other variants,
    single files beside the folders) are left out, as they would not be changed.

    Raises:
        CheckpointError: a file of the model cannot be read.
        OSError: a file cannot be written.
    """
    for name, component in model.components.items():
        own = {key.removeprefix(f"{name}."): value for key, value in changed.items() if key.startswith(f"{name}.")}
        save = _save_component if model.furnish is None else _save_part
        save(component, folder / name, own, dtype)
    if model.furnish is not None:
        model.furnish(folder)
        return
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
    for entry in sorted(component.path.iterdir()):
        if entry.is_file() and entry.name != CONFIG and component.files.beside(entry):
            _copy(entry, folder, component)
    _save_config(component, folder / CONFIG, dtype)
    by_place = {component.weights[name]: value for name, value in changed.items()}
    for file in component.files.paths:
        own = {one.key: value for one, value in by_place.items() if isinstance(one, StoredWeight) and one.file == file}
        if own or dtype is not None or file.suffix != ".safetensors":
            _save_weights(file, folder, own, dtype)
        else:
            shutil.copyfile(file, folder / file.name)


def _save_part(
    component: StoredComponent, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None
) -> None:
    """A component of a single file, as the library of its class would save it."""
    folder.mkdir(parents=True)
    config = dict(component.config)
    tensors = {}
    for name, weight in component.weights.items():
        value = changed.get(name, weight.read())
        value = value.to(dtype) if dtype is not None and value.is_floating_point() else value
        tensors[weight.key] = value.contiguous()
    own = isinstance(component.module, ModelMixin)
    if not own:
        kinds = Counter(value.dtype for value in tensors.values() if value.is_floating_point())
        config["dtype"] = str(kinds.most_common(1)[0][0]).removeprefix("torch.")
    (folder / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    _write_tensors(tensors, folder / f"{STEMS[0] if own else STEMS[1]}.safetensors", {})


def _copy(entry: Path, folder: Path, component: StoredComponent) -> None:
    """A file beside the weights; an index of pickled ones names the safetensors that they become."""
    if entry != component.files.index or ".bin." not in entry.name:
        shutil.copyfile(entry, folder / entry.name)
        return
    index = read_json(entry)
    table = {key: unpickled_name(str(name)) for key, name in index["weight_map"].items()}
    text = json.dumps({**index, "weight_map": table}, indent=2) + "\n"
    (folder / unpickled_name(entry.name)).write_text(text, encoding="utf-8")


def _save_config(component: StoredComponent, path: Path, dtype: torch.dtype | None) -> None:
    if dtype is None:
        shutil.copyfile(component.path / CONFIG, path)
        return
    told = {field: str(dtype).removeprefix("torch.") for field in DTYPE_FIELDS if field in component.config}
    path.write_text(json.dumps({**component.config, **told}, indent=2) + "\n", encoding="utf-8")


def _save_weights(file: Path, folder: Path, changed: Mapping[str, Tensor], dtype: torch.dtype | None) -> None:
    """One file of weights; a pickle becomes a safetensors file of the name that libraries look for."""
    pickled = file.suffix == ".bin"
    metadata = {} if pickled else checked_header(file).metadata
    unpickled = read_pickle(file) if pickled else {}
    tensors = {}
    for key, weight in weights_in(file).items():
        value = changed[key] if key in changed else unpickled[key] if pickled else weight.read()
        value = value.to(dtype) if dtype is not None and value.is_floating_point() else value
        tensors[key] = value.clone(memory_format=torch.contiguous_format) if pickled else value.contiguous()
    _write_tensors(tensors, folder / (unpickled_name(file.name) if pickled else file.name), metadata)


def _write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str]) -> None:
    try:
        save_file(dict(tensors), path, metadata={"format": "pt", **metadata})
    except SafetensorError as error:  # how it tells a full disk
        raise OSError(str(error)) from error
