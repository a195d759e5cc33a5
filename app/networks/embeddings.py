"""Textual inversions: words whose vectors are learnt, in every layout that trainers write.

| layout                                   | written by                          |
|------------------------------------------|-------------------------------------|
| `{"string_to_param": {"*": (n, width)}}` | AUTOMATIC1111, `.pt`                |
| `{"emb_params": (n, width)}`             | AUTOMATIC1111 and kohya             |
| `{"<word>": (n, width)}` or `(width,)`   | diffusers                           |
| `{"clip_l": (n, 768), "clip_g": …}`      | kohya and OneTrainer, SDXL and SD3  |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from app.errors import NetworkError
from app.networks.header import read_header
from app.networks.pickles import load_pickle
from app.networks.sidecar import stem

ENCODERS = ("clip_l", "clip_g", "t5")
"""The text encoders that vectors are for; CLIP-L stands for the only encoder of models that have one."""
SINGLE = ("emb_params", "string_to_param.*", "*")
"""Names of the vectors in files for one text encoder; a file with one tensor may call it anything."""
OUTPUT = "_out"
"""OneTrainer's embeddings of the encoder's output end so; no encoder reads them."""
CLIP_G_WIDTH = 1280
SIZE_LIMIT = 64_000_000
"""Bytes; the largest embedding that fits a prompt's 75 tokens is a hundredth of this."""


@dataclass(frozen=True, slots=True)
class Embedding:
    """A word and its vectors, (n, width) float32 for each text encoder; all encoders have the same n."""

    name: str
    vectors: Mapping[str, Tensor]
    path: Path


def read_embedding(path: Path) -> Embedding:
    """Read a textual inversion from safetensors or a pickle of plain tensors; its word is the file's name.

    Raises:
        NetworkError: naming the file: not readable, not an embedding, or vectors that are not finite numbers.
    """
    vectors = {encoder: _matrix(tensor, path) for encoder, tensor in _by_encoder(_tensors(path), path).items()}
    counts = {len(matrix) for matrix in vectors.values()}
    if len(counts) > 1:
        raise NetworkError("Its text encoders have different numbers of vectors.", where=str(path))
    return Embedding(stem(path), MappingProxyType(vectors), path)


def _tensors(path: Path) -> dict[str, Tensor]:
    """The file's tensors by name, those of `string_to_param` among them."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    if size > SIZE_LIMIT:
        raise NetworkError("It is far too large to be an embedding.", where=str(path))
    if path.suffix.lower() == ".safetensors":
        read_header(path)
        try:
            return dict(load(path.read_bytes()))
        except (SafetensorError, OSError, KeyError) as error:  # KeyError: a dtype that torch has not
            raise NetworkError(f"It cannot be read ({error}).", where=str(path)) from error
    document = load_pickle(path)
    inner = document.get("string_to_param", document) if isinstance(document, dict) else None
    items = inner.items() if isinstance(inner, dict | nn.ParameterDict) else ()
    return {str(name): value.detach() for name, value in items if isinstance(value, Tensor)}


def _by_encoder(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Which tensor is for which text encoder."""
    named = {encoder: tensors[encoder] for encoder in ENCODERS if encoder in tensors}
    if named:
        return named
    words = {name: tensor for name, tensor in tensors.items() if not name.endswith(OUTPUT)}
    single = [words[name] for name in SINGLE if name in words] or list(words.values())
    if len(single) != 1:
        kind = "no embedding" if not single else f"{len(single)} tensors, which is no single embedding"
        raise NetworkError(f"It holds {kind}.", where=str(path))
    return {"clip_g" if single[0].shape[-1:] == (CLIP_G_WIDTH,) else "clip_l": single[0]}


def _matrix(tensor: Tensor, path: Path) -> Tensor:
    """Vectors as (n, width) float32."""
    if not tensor.is_floating_point() or tensor.layout != torch.strided or tensor.is_quantized:
        raise NetworkError(f"Its vectors are stored as {tensor.dtype}.", where=str(path))
    matrix = tensor.unsqueeze(0) if tensor.ndim == 1 else tensor
    if matrix.ndim != 2 or not matrix.numel():
        raise NetworkError(f"Its vectors have the shape {tuple(tensor.shape)}; (n, width) is wanted.", where=str(path))
    matrix = matrix.to(torch.float32, copy=True)
    if not bool(torch.isfinite(matrix).all()):
        raise NetworkError("Its vectors hold NaN or infinite numbers: the file is broken.", where=str(path))
    return matrix
