"""From a file's bytes to a Network: everything it holds, by module, understood or told of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import torch
from torch import Tensor

from app.errors import NetworkError, Problem
from app.networks import formats
from app.networks.adapters import Adapter
from app.networks.configuration import Configuration, configuration
from app.networks.grouping import grouped
from app.networks.header import read_header
from app.networks.identity import BaseModel, identify
from app.networks.parts import Unreadable
from app.networks.pickles import is_plain, load_pickle
from app.networks.reading import Module, is_float, read_module


@dataclass(frozen=True, slots=True)
class Network:
    """What a file holds. `adapters` change weights and `biases` change biases, both by the file's module names.

    `embeddings` are bundled words: word → text encoder ("clip_l", "clip_g", "t5", or "" where the file does not say)
    → vectors (n, width). `unread` are the modules whose tensors make no adapter; `problems` says why.
    """

    path: Path
    metadata: Mapping[str, str]
    adapters: Mapping[str, Adapter]
    biases: Mapping[str, Adapter]
    embeddings: Mapping[str, Mapping[str, Tensor]]
    base: BaseModel
    unread: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    @property
    def modules(self) -> tuple[str, ...]:
        """Every module of the file, in its order."""
        return tuple(dict.fromkeys([*self.adapters, *self.biases, *self.unread]))


PROBLEMS_LIMIT = 20
MESSAGE_LIMIT = 500
PICKLES = (".pt", ".ckpt", ".bin", ".pth")
FOLDER_FILES = ("adapter_model.safetensors", "pytorch_lora_weights.safetensors", "adapter_model.bin")

DTYPES: Mapping[str, torch.dtype] = MappingProxyType(
    {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}
    | {"F8_E4M3": torch.float8_e4m3fn, "F8_E5M2": torch.float8_e5m2, "BOOL": torch.bool}
    | {"I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8}
    | {"F8_E4M3FNUZ": torch.float8_e4m3fnuz, "F8_E5M2FNUZ": torch.float8_e5m2fnuz}
)
"""The dtypes of safetensors that a network can be stored in."""


def read_network(path: Path) -> Network:
    """Read a network: a safetensors file, a peft or diffusers folder, or a pickle of plain tensors.

    Raises:
        NetworkError: in one line, the file and what is wrong with it: not readable, not a network, or a tensor with
            NaN or infinite numbers, by name. Pickles are read by torch's restricted loader; none is executed.
    """
    tensors, metadata = read_tensors(path)
    return network_of(path, tensors, metadata)


def read_tensors(path: Path) -> tuple[Mapping[str, Tensor], Mapping[str, str]]:
    """The tensors of a network's file, as it names and stores them, and its metadata.

    Raises:
        NetworkError: as `read_network`, where the file cannot be read, is no network, or holds numbers that are none.
    """
    file = _file(path)
    tensors, metadata = _pickle(file) if file.suffix.lower() in PICKLES else _safetensors(file)
    _check_finite(tensors, file)
    return tensors, metadata


def network_of(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> Network:
    """The network that tensors of these names make.

    Raises:
        NetworkError: they make none.
    """
    keys = grouped(tensors)
    embeddings = {  # OneTrainer's output embeddings are read by no encoder
        word: {kind: tensors[key] for kind, key in kinds.items() if not kind.endswith("_out")}
        for word, kinds in keys.embeddings.items()
    }
    config = configuration(_file(path), metadata)
    found = _Found()
    for name, roles in keys.modules.items():
        found.add(name, {role: tensors[key] for role, key in roles.items()}, config)
    problems = found.problems(keys.stray, str(path))
    if not found.adapters and not found.biases and not embeddings:
        raise NetworkError("It holds no network that can be read.", where=str(path), problems=problems)
    base = identify({name: tuple(tensor.shape) for name, tensor in tensors.items()}, metadata, keys)
    return Network(path, metadata, found.adapters, found.biases, embeddings, base, tuple(found.unread), problems)


@dataclass(slots=True)
class _Found:
    """What a file's modules have been found to be; `news` has, for each thing to tell, the modules it is true of."""

    adapters: dict[str, Adapter] = field(default_factory=dict)
    biases: dict[str, Adapter] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    news: dict[str, list[str]] = field(default_factory=dict)

    def add(self, name: str, roles: Mapping[str, Tensor], config: Configuration) -> None:
        """One module's adapters, or the news that its tensors make none."""
        try:
            module = _module(name, roles, config)
        except Unreadable as error:
            self.unread.append(name)
            self.news.setdefault(f"cannot be read: {error}", []).append(name)
            return
        if module.weight is not None:
            self.adapters[name] = module.weight
        if module.bias is not None:
            self.biases[name] = module.bias
        for note in module.notes:
            self.news.setdefault(note, []).append(name)

    def problems(self, stray: Sequence[str], source: str) -> tuple[Problem, ...]:
        """One warning for each thing to tell, not for each module; the commonest first, and no more than a page."""
        told = sorted(self.news.items(), key=lambda item: -len(item[1]))
        lines = [
            f"Module {names[0]!r} {f'and {len(names) - 1} others ' if names[1:] else ''}{news}." for news, names in told
        ]
        if stray:
            lines.insert(0, f"{len(stray)} tensors are of no known kind, such as {stray[0]!r}.")
        if len(lines) > PROBLEMS_LIMIT:
            lines[PROBLEMS_LIMIT:] = [f"{len(lines) - PROBLEMS_LIMIT} more things are amiss with the file."]
        return tuple(Problem("warning", line[:MESSAGE_LIMIT], source=source) for line in lines)


def _module(name: str, roles: Mapping[str, Tensor], config: Configuration) -> Module:
    for role, tensor in roles.items():
        if not is_float(tensor) and role not in ("oft_scaled", "on_input"):
            raise Unreadable(f"{role!r} is stored as {tensor.dtype}")
    return read_module(roles, config.module(name))


def _file(path: Path) -> Path:
    """The file itself, where a folder of peft's or diffusers' was named."""
    if not path.is_dir():
        return path
    for name in FOLDER_FILES:
        if (path / name).is_file():
            return path / name
    raise NetworkError(f"This is a folder without {' or '.join(FOLDER_FILES[:2])}.", where=str(path))


def _safetensors(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors as stored, on one block of memory. A mapped file could shrink, and fault, under our feet."""
    header = read_header(path)
    if not any(formats.split(name) or formats.bundled(name) for name in header.tensors):
        checkpoint = any(name.startswith(("model.diffusion_model.", "first_stage_model.")) for name in header.tensors)
        message = "This is a whole checkpoint, not a network." if checkpoint else "It holds no network that is known."
        raise NetworkError(message, where=str(path))
    data = torch.empty(header.size - header.data_start, dtype=torch.uint8)
    try:
        with path.open("rb") as file:
            file.seek(header.data_start)
            count = file.readinto(data.numpy().data) if data.numel() else 0
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    if count != data.numel():
        raise NetworkError("The file shrank while it was read.", where=str(path))
    tensors = {}
    for name, info in header.tensors.items():
        dtype = DTYPES.get(info.dtype)
        if dtype is None:
            raise NetworkError(f"Tensor {name!r} is stored as {info.dtype}, which no network is.", where=str(path))
        raw = data[info.begin : info.end]
        aligned = raw if info.begin % dtype.itemsize == 0 else raw.clone()
        tensors[name] = aligned.view(dtype).reshape(info.shape)
    return tensors, header.metadata


def _pickle(path: Path) -> tuple[dict[str, Tensor], Mapping[str, str]]:
    """The tensors of a pickle, which may lie below "state_dict"; anything but plain data is refused unexecuted."""
    loaded = load_pickle(path)
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise NetworkError("It holds no tensors by name.", where=str(path))
    tensors = {name: value.detach() for name, value in loaded.items() if isinstance(name, str) and is_plain(value)}
    return tensors, {}


def _check_finite(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Refuse NaN and infinite numbers, by tensor.

    A sum is not finite if one of its numbers is not; only then is each looked at, as finite ones may add up to
    infinity. Tensors that share a block of memory are first summed together, run by run: a thousand small sums take
    as long as reading the file.
    """
    for run, members in _runs(tensors):
        if _finite_sum(run):
            continue
        for name in members:
            numbers = tensors[name].float()
            if not _finite_sum(numbers) and not bool(torch.isfinite(numbers).all()):
                kind = "NaN" if bool(torch.isnan(numbers).any()) else "infinite numbers"
                raise NetworkError(f"Tensor {name!r} holds {kind}: the file is broken.", where=str(path))


def _finite_sum(numbers: Tensor) -> bool:
    if numbers.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        numbers = numbers.float()
    return bool(torch.isfinite(numbers.sum(dtype=torch.float32)))


def _runs(tensors: Mapping[str, Tensor]) -> Iterator[tuple[Tensor, list[str]]]:
    """The floating-point numbers, as tensors of those that lie one behind the other, and the names of each."""
    placed = sorted(
        (tensor.untyped_storage().data_ptr(), tensor.data_ptr(), name)
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and tensor.numel()
    )
    run: Tensor | None = None
    members: list[str] = []
    for _, start, name in placed:
        tensor = tensors[name]
        follows = run is not None and run.dtype == tensor.dtype and run.data_ptr() + run.nbytes == start
        if run is not None and follows and tensor.is_contiguous() and _same_storage(run, tensor):
            run = torch.as_strided(run, (run.numel() + tensor.numel(),), (1,))
            members.append(name)
            continue
        if run is not None:
            yield run, members
        run, members = (tensor.flatten() if tensor.is_contiguous() else tensor.contiguous().flatten()), [name]
    if run is not None:
        yield run, members


def _same_storage(first: Tensor, second: Tensor) -> bool:
    return first.untyped_storage().data_ptr() == second.untyped_storage().data_ptr()
