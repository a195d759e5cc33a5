"""A model as it lies on disk: its module trees without weights, and each weight read when it is asked for.

For what works on the files of a model rather than with the model: baking, extracting, checking a network against it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Protocol

import diffusers
import torch
import transformers
from accelerate import init_empty_weights
from torch import Tensor, nn

from app.diffusion.folders import checked_header, read_json, reading
from app.diffusion.weight_files import Stamp, WeightFiles, weight_files_of
from app.errors import CheckpointError
from app.networks.families import PIPELINES
from app.networks.files import DTYPES
from app.networks.identity import UNKNOWN

COMPONENTS = ("unet", "transformer", "transformer_2", "text_encoder", "text_encoder_2", "text_encoder_3", "vae")
"""The parts of a model that networks change, as its folder names them."""


class Stored(Protocol):
    """A weight on disk; `key` is its name in its file."""

    @property
    def key(self) -> str: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    def read(self) -> Tensor:
        """The tensor, as it is stored.

        Raises:
            CheckpointError: naming the file.
        """


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """Where a tensor lies: a file of weights, its name there, and (in safetensors) its bytes, from `begin` of the file.

    The place is remembered, so that a tensor is read without reading the file's header again.
    """

    file: Path
    key: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    begin: int = 0

    def read(self) -> Tensor:
        """The tensor, as it is stored.

        Raises:
            CheckpointError: naming the file.
        """
        if self.file.suffix != ".safetensors":
            return read_pickle(self.file)[self.key]
        data = torch.empty(prod(self.shape) * self.dtype.itemsize, dtype=torch.uint8)
        with reading(self.file), self.file.open("rb") as file:
            file.seek(self.begin)
            count = file.readinto(data.numpy().data) if data.numel() else 0
        if count != data.numel():
            raise CheckpointError("The file shrank while it was read.", where=str(self.file))
        return data.view(self.dtype).reshape(self.shape)


@dataclass(frozen=True, slots=True, eq=False)
class StoredComponent:
    """One part of a model. `module` is on the meta device; `weights` go by its live parameter names.

    `path` is its folder, or the file that it is in with the others.
    """

    path: Path
    config: Mapping[str, Any]
    module: nn.Module
    files: WeightFiles
    weights: Mapping[str, Stored]
    stamp: Stamp


@dataclass(frozen=True, slots=True, eq=False)
class StoredModel:
    """A diffusers folder, maybe with only some of a model's components; or a checkpoint in one file.

    Of the latter, `furnish` writes into a folder what makes one of it besides the components.
    """

    path: Path
    components: Mapping[str, StoredComponent]
    family: str
    furnish: Callable[[Path], None] | None = None

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The module trees, for finding the places of networks."""
        return {name: component.module for name, component in self.components.items()}

    @property
    def changed(self) -> bool:
        """Whether any of its weights has changed on disk since it was opened."""
        return any(component.files.stamp != component.stamp for component in self.components.values())

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of the live parameter "component.name"."""
        component, _, parameter = name.partition(".")
        if self.lacks(name):
            return self.shape(f"{name.removesuffix('bias')}weight")[:1]
        return tuple(self.components[component].module.get_parameter(parameter).shape)

    def lacks(self, name: str) -> bool:
        """Whether it is the bias of a layer made without one."""
        component, _, parameter = name.partition(".")
        parent, _, leaf = parameter.rpartition(".")
        return leaf == "bias" and self.components[component].module.get_submodule(parent)._parameters.get(leaf) is None

    def weight(self, name: str) -> Stored:
        """Where the parameter "component.name" lies.

        Raises:
            CheckpointError: the model's files do not hold it under a name that is known.
        """
        component, _, parameter = name.partition(".")
        found = self.components[component].weights.get(parameter)
        if found is None:
            path = str(self.components[component].path)
            raise CheckpointError(f"The weight {parameter!r} is not in its files.", where=path)
        return found

    def tensor(self, name: str) -> Tensor:
        """The parameter "component.name" as it is stored.

        Raises:
            CheckpointError: it is not there, or cannot be read.
        """
        return self.weight(name).read()

    def pristine(self, name: str) -> Tensor:
        """W₀ of the parameter "component.name" in float32, in its live shape; zeros for a bias that is not there."""
        if self.lacks(name):
            return torch.zeros(self.shape(name))
        return self.tensor(name).to(torch.float32).reshape(self.shape(name))


def weights_in(file: Path) -> dict[str, StoredWeight]:
    """Every tensor of a file of weights, by its name there.

    Raises:
        CheckpointError: naming the file, or the tensor whose dtype is not known.
    """
    if file.suffix != ".safetensors":
        tensors = read_pickle(file)
        return {key: StoredWeight(file, key, tuple(value.shape), value.dtype) for key, value in tensors.items()}
    header = checked_header(file)
    found = {}
    for key, info in header.tensors.items():
        if info.dtype not in DTYPES:
            raise CheckpointError(f"The weight {key!r} is stored as {info.dtype}, which is not known.", where=str(file))
        found[key] = StoredWeight(file, key, info.shape, DTYPES[info.dtype], header.data_start + info.begin)
    return found


def read_pickle(file: Path) -> dict[str, Tensor]:
    """The tensors of a pickled file of weights, mapped; nothing in it is executed.

    Raises:
        CheckpointError: naming the file.
    """
    with reading(file):
        content = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    if not isinstance(content, dict):
        raise CheckpointError("It holds no tensors by name.", where=str(file))
    return {str(key): tensor for key, tensor in content.items() if isinstance(tensor, Tensor)}


def open_folder(path: Path) -> StoredModel:
    """The components that a folder holds, by the names of its folders; weights are not read yet.

    Raises:
        CheckpointError: naming the file or folder that is missing or is not what it should be.
    """
    if not path.is_dir():
        hint = "A model is named by its diffusers folder, or by its file."
        raise CheckpointError("There is no such model.", where=str(path), hint=hint)
    present = [name for name in COMPONENTS if (path / name / "config.json").is_file()]
    if not present:
        raise CheckpointError(f"It holds none of {', '.join(COMPONENTS)}.", where=str(path))
    components = {name: _component(path / name) for name in present}
    return StoredModel(path, components, _family(components))


def _component(folder: Path) -> StoredComponent:
    config = read_json(folder / "config.json")
    with reading(folder / "config.json"):
        module = _empty(config)
    files = weight_files_of(folder)
    stored = {key: weight for file in files.paths for key, weight in weights_in(file).items()}
    weights = {}
    for name, parameter in module.named_parameters():
        key = next((key for key in _spellings(name) if key in stored), None)
        if key is not None:
            weights[name] = stored[key]
            _check_shape(stored[key], tuple(parameter.shape))
    return StoredComponent(folder, config, module, files, weights, files.stamp)


def _check_shape(weight: StoredWeight, shape: tuple[int, ...]) -> None:
    """Old autoencoders keep their attention as 1×1 convolutions; every other weight has the shape its module has."""
    if tuple(size for size in weight.shape if size != 1) != tuple(size for size in shape if size != 1):
        raise CheckpointError(
            f"The weight {weight.key!r} is {weight.shape}, its module's {shape}.", where=str(weight.file)
        )


def _empty(config: Mapping[str, Any]) -> nn.Module:
    """The module that a configuration describes, without weights.

    Raises:
        ValueError: it names no class of diffusers' or transformers'.
    """
    name = str(config.get("_class_name"))
    ours = _class(diffusers, name, diffusers.ModelMixin)
    if ours is not None:
        return _weightless(lambda: ours.from_config(dict(config)))
    architectures = config.get("architectures")
    name = str(architectures[0]) if isinstance(architectures, list) and architectures else name
    theirs = _class(transformers, name, transformers.PreTrainedModel)
    if theirs is None:
        raise ValueError(f"{name!r} is no model of diffusers or transformers")
    return _weightless(lambda: theirs(theirs.config_class.from_dict(dict(config))))


def _class(library: Any, name: str, base: Any) -> Any:
    """The library's class of this name; None if it has none that is a model."""
    found = getattr(library, name, None)
    return found if isinstance(found, type) and issubclass(found, base) else None


def _weightless(make: Callable[[], nn.Module]) -> nn.Module:
    with init_empty_weights():
        return make()


def _spellings(name: str) -> list[str]:
    """How a file may spell a live parameter: transformers 5.6 dropped CLIP's `text_model`, diffusers renamed the
    autoencoder's attention, and T5's embedding has two names."""
    spelled = [name, f"text_model.{name}", name.removeprefix("text_model.")]
    for new, old in _OLD_ATTENTION:
        if f".attentions.0.{new}." in name:
            spelled.append(name.replace(f".{new}.", f".{old}."))
    if name == "shared.weight":
        spelled.append("encoder.embed_tokens.weight")
    return spelled


_OLD_ATTENTION = (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn"))


def _family(components: Mapping[str, StoredComponent]) -> str:
    """What kind of model it is, by its denoiser's class and by the text that this reads."""
    transformer = components.get("transformer")
    if transformer is not None:
        name = str(transformer.config.get("_class_name")).replace("SD3", "StableDiffusion3")
        return next((family for start, family in PIPELINES if name.startswith(start)), UNKNOWN)
    unet = components.get("unet")
    if unet is None:
        return UNKNOWN
    if unet.config.get("addition_embed_type") == "text_time" or "text_encoder_2" in components:
        refiner = unet.config.get("cross_attention_dim") == 1280
        return "sdxl-refiner" if refiner else "sdxl"
    return "sd2" if unet.config.get("cross_attention_dim") == 1024 else "sd15"
