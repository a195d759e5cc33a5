"""The header of a safetensors file: what it holds and where, read without touching a tensor.

The format (https://github.com/huggingface/safetensors): eight bytes, the little-endian length N of the header;
N bytes of JSON, `{"name": {"dtype", "shape", "data_offsets": [begin, end]}, …, "__metadata__": {str: str}}`;
then the tensors, without gaps, to the end of the file. Every rule is checked here, so that a file which passes
can be mapped, sliced and hashed without looking twice.
"""

from __future__ import annotations

import gc
import json
import math
import reprlib
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import BinaryIO, NamedTuple, NoReturn

from app.errors import NetworkError

LENGTH_BYTES = 8
HEADER_LIMIT = 100_000_000
"""Bytes of JSON that the format allows."""
DIMENSIONS_LIMIT = 64
METADATA_KEY = "__metadata__"

DTYPE_BITS: Mapping[str, int] = MappingProxyType(
    {"BOOL": 8, "U8": 8, "I8": 8, "I16": 16, "U16": 16, "I32": 32, "U32": 32, "I64": 64, "U64": 64}
    | {"F64": 64, "F32": 32, "F16": 16, "BF16": 16, "C64": 64}
    | {"F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8}
    | {"F6_E2M3": 6, "F6_E3M2": 6, "F4": 4}
)
"""Every dtype of the format, and the bits of one number."""

IMPOSTORS: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "This is a zip archive (a PyTorch pickle?) renamed to .safetensors."),
    (b"\x80\x02", "This is a pickle renamed to .safetensors."),
    (b"\x80\x03", "This is a pickle renamed to .safetensors."),
    (b"\x80\x04", "This is a pickle renamed to .safetensors."),
    (b"\x80\x05", "This is a pickle renamed to .safetensors."),
    (b"version ", "This is a Git LFS pointer, not the file itself: fetch it with `git lfs pull`."),
    (b"<!DOCTYP", "This is a web page, not a network: the download site answered with HTML."),
    (b"<!doctyp", "This is a web page, not a network: the download site answered with HTML."),
    (b"<html", "This is a web page, not a network: the download site answered with HTML."),
    (b"GGUF", "This is a GGUF file, which is not safetensors."),
)


class TensorInfo(NamedTuple):
    """One tensor: its dtype as the format spells it, its shape, and its bytes, counted from `Header.data_start`."""

    dtype: str
    shape: tuple[int, ...]
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says about itself. `size` is the whole file's, in bytes; the tensors begin at `data_start`."""

    tensors: Mapping[str, TensorInfo]
    metadata: Mapping[str, str]
    data_start: int
    size: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of every tensor, by name."""
        return {name: info.shape for name, info in self.tensors.items()}


def read_header(path: Path) -> Header:
    """The header of a safetensors file, checked against every rule of the format.

    Raises:
        NetworkError: naming the file and what is wrong with it: not a regular file, too short, truncated, not
            JSON, a dtype, shape or offset that cannot be, or another kind of file under this name.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # asked before opening: opening a pipe would wait for ever
            raise NetworkError("This is not a regular file.", where=str(path))
        with path.open("rb") as file:
            text = _header_bytes(file, status.st_size, path)
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    data_start = LENGTH_BYTES + len(text)
    with uncollected():
        tensors, metadata = _parsed(text, path)
        _check_layout(tensors, status.st_size - data_start, path)
    return Header(MappingProxyType(tensors), MappingProxyType(metadata), data_start, status.st_size)


def _header_bytes(file: BinaryIO, size: int, path: Path) -> bytes:
    """The N bytes of JSON."""
    start = file.read(LENGTH_BYTES + 1)
    if not start.startswith(b"{", LENGTH_BYTES):
        for magic, message in IMPOSTORS:
            if start.startswith(magic):
                raise NetworkError(message, where=str(path))
    if not start:
        raise NetworkError("The file is empty.", where=str(path))
    if len(start) < LENGTH_BYTES:
        raise NetworkError(f"The file is too short: {len(start)} bytes.", where=str(path))
    length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if length > HEADER_LIMIT:
        raise NetworkError(f"The header claims {length} bytes; at most {HEADER_LIMIT} are allowed.", where=str(path))
    if LENGTH_BYTES + length > size:
        raise NetworkError(
            f"The header claims {length} bytes, but the file ends after {size}: it is truncated.", where=str(path)
        )
    text = start[LENGTH_BYTES:] + file.read(length - 1) if length else b""
    if len(text) != length:
        raise NetworkError("The file shrank while it was read.", where=str(path))
    return text


def _parsed(text: bytes, path: Path) -> tuple[dict[str, TensorInfo], dict[str, str]]:
    """The tensors and the metadata of a header's JSON."""
    try:
        document = json.loads(text.decode("utf-8"), parse_constant=_no_constant, parse_float=_no_float)
        if b"\\ud" in text or b"\\uD" in text:  # half a character is legal JSON, but no text that can be printed
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except UnicodeDecodeError as error:
        raise NetworkError(f"The header is not UTF-8 (byte {error.start}).", where=str(path)) from error
    except RecursionError as error:
        raise NetworkError("The header's JSON is nested too deeply.", where=str(path)) from error
    except ValueError as error:
        raise NetworkError(f"The header is not the JSON it should be ({error}).", where=str(path)) from error
    if not isinstance(document, dict):
        raise NetworkError("The header is not a JSON object.", where=str(path))
    metadata = document.pop(METADATA_KEY, None)
    return _tensors(document, path), _metadata(metadata, path)


@contextmanager
def uncollected() -> Iterator[None]:
    """No search for circles of objects inside the block: a header makes thousands of objects, and none in circles."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _no_float(text: str) -> NoReturn:
    raise ValueError(f"{text[:40]} is not a whole number")


def _metadata(entries: object, path: Path) -> dict[str, str]:
    """`__metadata__`; the format allows strings only, and an absent or null one is empty."""
    if entries is None:
        return {}
    if not isinstance(entries, dict) or not all(isinstance(value, str) for value in entries.values()):
        raise NetworkError("The header's metadata are not all strings.", where=str(path))
    return entries


def _tensors(document: Mapping[str, object], path: Path) -> dict[str, TensorInfo]:
    """The entries of the header, each checked alone: dtype, shape, offsets, and that they agree."""
    tensors: dict[str, TensorInfo] = {}
    sizes: dict[tuple[object, ...], tuple[tuple[int, ...], int]] = {}  # a file has thousands of tensors but few shapes
    for name, entry in document.items():
        try:
            dtype, shape, (begin, end) = entry["dtype"], entry["shape"], entry["data_offsets"]  # type: ignore[index]
        except (TypeError, KeyError, ValueError) as error:
            message = f"Tensor {_shown(name)} lacks a dtype, a shape or two offsets."
            raise NetworkError(message, where=str(path)) from error
        try:
            kind = (dtype, *shape, *map(type, shape))  # the types, because True is no size, and equal to 1
            known = kind in sizes
        except TypeError:  # no list, or not of numbers
            kind, known = (), False
        if not known:
            sizes[kind] = _size(name, dtype, shape, path)
        if not (type(begin) is type(end) is int and 0 <= begin <= end):
            shown = _shown([begin, end])
            raise NetworkError(f"Tensor {_shown(name)} has impossible offsets: {shown}.", where=str(path))
        sides, bits = sizes[kind]
        if (end - begin) * 8 != bits:
            message = f"Tensor {_shown(name)} holds {end - begin} bytes, which is not {dtype} × {_shown(shape)}."
            raise NetworkError(message, where=str(path))
        tensors[name] = TensorInfo(dtype, sides, begin, end)
    return tensors


def _size(name: str, dtype: object, shape: object, path: Path) -> tuple[tuple[int, ...], int]:
    """A shape, and the bits of a tensor of it."""
    bits = DTYPE_BITS.get(dtype) if isinstance(dtype, str) else None
    if bits is None:
        raise NetworkError(f"Tensor {_shown(name)} has the unknown dtype {_shown(dtype)}.", where=str(path))
    # `type`, not `isinstance`: True is no size
    natural = isinstance(shape, list) and all(type(side) is int and 0 <= side < 2**63 for side in shape)
    if not isinstance(shape, list) or not natural or len(shape) > DIMENSIONS_LIMIT:
        raise NetworkError(f"Tensor {_shown(name)} has an impossible shape: {_shown(shape)}.", where=str(path))
    return tuple(shape), math.prod(shape) * bits


def _check_layout(tensors: Mapping[str, TensorInfo], available: int, path: Path) -> None:
    """The tensors tile the `available` bytes after the header: no overlap, no gap, nothing missing or left over."""
    position = 0
    for begin, end, name in sorted([(info.begin, info.end, name) for name, info in tensors.items()]):
        if begin != position:
            kind = "overlaps the one before it" if begin < position else "leaves a gap before it"
            raise NetworkError(f"Tensor {_shown(name)} {kind} (byte {begin}).", where=str(path))
        if end > available:
            message = f"Tensor {_shown(name)} ends at byte {end} of {available}: the file is truncated."
            raise NetworkError(message, where=str(path))
        position = end
    if position != available:
        raise NetworkError(f"{available - position} bytes follow the last tensor.", where=str(path))


def _shown(value: object) -> str:
    """A value of the file, quoted on one line and short enough for a message."""
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 120
    return brief.repr(value)
