"""Which files of a component's folder hold its weights, and writing them anew."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from app.diffusion.folders import read_json
from app.errors import CheckpointError

STEMS = ("diffusion_pytorch_model", "model")
PICKLES: Mapping[str, str] = MappingProxyType(
    {"diffusion_pytorch_model": "diffusion_pytorch_model", "pytorch_model": "model"}
)
"""What the names of pickled weights begin with, and those of the files that libraries look for in their place."""
VARIANTS = ("", ".fp16")
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".ckpt", ".pt", ".pth", ".msgpack", ".h5", ".onnx", ".onnx_data", ".gguf")
"""What a folder may hold the same weights as once more."""


Stamp = tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class WeightFiles:
    """The files that a library reads for a component: one or several, of one variant; and their index, if any."""

    paths: tuple[Path, ...]
    index: Path | None = None

    @property
    def stamp(self) -> Stamp:
        """Size and time of each file, () where one is gone: they tell a change."""
        if not all(path.is_file() for path in self.paths):
            return ()
        states = [path.stat() for path in self.paths]
        return tuple((state.st_size, state.st_mtime_ns) for state in states)

    def beside(self, file: Path) -> bool:
        """Whether another file of the folder belongs with a new copy of these weights: no other weights, or index."""
        if file.name.endswith(WEIGHT_SUFFIXES):
            return False
        return ".index." not in file.name or file == self.index


def weight_files_of(folder: Path) -> WeightFiles:
    """The files of a component's weights, as diffusers and transformers choose them.

    Raises:
        CheckpointError: naming the folder, or the index that names what is not there.
    """
    for variant in VARIANTS:
        for stem in STEMS:
            file = folder / f"{stem}{variant}.safetensors"
            if file.is_file():
                return WeightFiles((file,))
            index = folder / f"{stem}.safetensors.index{variant}.json"
            if index.is_file():
                return WeightFiles(_shards(index), index)
    for stem in PICKLES:
        file, index = folder / f"{stem}.bin", folder / f"{stem}.bin.index.json"
        if file.is_file():
            return WeightFiles((file,))
        if index.is_file():
            return WeightFiles(_shards(index, ".bin"), index)
    raise CheckpointError("This part of the model has no weights that can be read.", where=str(folder))


def unpickled_name(name: str) -> str:
    """What a file of pickled weights, or its index, is called as safetensors: pytorch_model-00001-of-00002.bin is
    model-00001-of-00002.safetensors."""
    stem = next((stem for stem in PICKLES if name.startswith(stem)), "")
    return (PICKLES.get(stem, stem) + name.removeprefix(stem)).replace(".bin", ".safetensors", 1)


def _shards(index: Path, suffix: str = ".safetensors") -> tuple[Path, ...]:
    table = read_json(index).get("weight_map")
    names = sorted({str(name) for name in table.values()}) if isinstance(table, dict) else []
    if not names:
        raise CheckpointError("It names no files.", where=str(index))
    for name in names:
        if Path(name).name != name or not name.endswith(suffix) or not (index.parent / name).is_file():
            raise CheckpointError(f"It names {name!r}, which is no file of weights beside it.", where=str(index))
    return tuple(index.parent / name for name in names)
