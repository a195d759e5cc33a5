"""What a network's tensor names tell without reading a tensor: algorithms, components, ranks.

The roles of a module's tensors (see `formats`) say its algorithm. One file may mix algorithms.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from app.errors import NetworkError, Problem
from app.networks.formats import PATHS
from app.networks.grouping import Keys, grouped
from app.networks.header import Header, TensorInfo
from app.networks.identity import REMEMBERED
from app.networks.prefixes import DENOISERS, components_of

SIGNS: tuple[tuple[str, str], ...] = (
    ("up", "lora"),
    ("embedding_up", "lora"),
    ("hada_w1_a", "loha"),
    ("lokr_w1", "lokr"),
    ("lokr_w1_a", "lokr"),
    ("boft_R", "boft"),
    ("oft_blocks", "oft"),
    ("oft_blocks.0", "oft"),
    ("oft_diag", "oft"),
    ("oft_R", "oft"),
    ("on_input", "ia3"),
    ("ia3_l", "ia3"),
    ("glora_a1", "glora"),
    *((role, "glora") for role in PATHS),
    ("tlora_gains", "tlora"),
    ("w_norm", "norm"),
    ("set_weight", "set"),
    ("diff", "full"),
    ("diff_b", "full"),
    ("sparse_indices", "sparse"),
)
"""The algorithm of a module that has a tensor of this role; the first row decides (`diff_b` may stand by a LoRA)."""
MAGNITUDES = frozenset({"dora_scale", "magnitude"})
RANKED = frozenset(
    {"glora_a1", "down", "embedding_down", "hada_w1_b", "lokr_w1_b", "lokr_w2_b", "tlora_q", "glora_A.Xu"}
)
"""The roles whose first axis is the module's rank."""

BEGINNINGS: tuple[tuple[str, str], ...] = (
    ("text_model", "text_encoder"),
    ("encoder.layers", "text_encoder"),
    ("decoder.", "vae"),
    ("encoder.", "vae"),
    ("transformer_blocks", "transformer"),
    ("single_transformer_blocks", "transformer"),
    ("double_blocks", "transformer"),
    ("single_blocks", "transformer"),
    ("joint_blocks", "transformer"),
)
"""The component that has such modules, for names without a prefix; anything else is a UNet's."""
HEAD = 80
"""Characters of a module's name that may tell its component."""
CHECKPOINT_MARKS = ("model.diffusion_model.", "first_stage_model.", "cond_stage_model.", "conditioner.")
UNETS = frozenset({"sd15", "sd2", "sdxl", "sdxl-refiner", "unknown"})


@dataclass(frozen=True, slots=True)
class Contents:
    """What a network holds: modules by algorithm, components, ranks by number of modules, and what is not known.

    `embeddings` are the names of bundled textual inversions; `alphas` the names of the alpha tensors.
    """

    algorithms: Mapping[str, int]
    components: tuple[str, ...]
    ranks: Mapping[int, int]
    alphas: tuple[str, ...]
    embeddings: tuple[str, ...]
    unknown: tuple[str, ...]

    @property
    def rank(self) -> int | None:
        """The rank of most modules."""
        return max(self.ranks, key=lambda rank: self.ranks[rank]) if self.ranks else None

    def problems(self, source: str) -> tuple[Problem, ...]:
        """What a user must know of a file with these contents: it is no network, or parts of it are not understood."""
        if not self.algorithms and not self.embeddings:
            if any(name.startswith(CHECKPOINT_MARKS) for name in self.unknown):
                hint = "It is a checkpoint: put it in models/checkpoints."
                return (Problem("error", "It holds no adapter.", hint=hint, source=source),)
            return (Problem("error", "It holds no adapter that is known here.", source=source),)
        if self.unknown:
            message = f"{len(self.unknown)} tensors or modules are of no known kind, {self.unknown[0][:200]!r} first."
            return (Problem("warning", message, source=source),)
        return ()


def contents(header: Header, family: str = "unknown", keys: Keys | None = None) -> Contents:
    """What the tensor names of a file tell. The family of the base decides what its denoiser is called.

    `keys` are the file's, where they have been grouped already.
    """
    keys = keys or grouped(header.tensors)
    ranks: dict[str, int] = {}
    for module, own in keys.modules.items():
        rank = _rank(own, header)
        if rank is not None:
            ranks[module] = rank
    held = {module: _roles(own, header) for module, own in keys.modules.items()}
    algorithms = {roles: _algorithm(roles) for roles in set(held.values())}
    counts = Counter(algorithms[roles] for roles in held.values())
    unknown = [*keys.stray, *(module for module, roles in held.items() if not algorithms[roles])]
    heads = {module[:HEAD] for module in keys.modules}
    denoiser = "unet" if family in UNETS else "transformer"
    return Contents(
        algorithms={name: counts[name] for name in sorted(counts) if name},
        components=tuple(sorted({_component(head, denoiser) for head in heads})),
        ranks=dict(sorted(Counter(ranks.values()).items())),
        alphas=tuple(own["alpha"] for module, own in keys.modules.items() if "alpha" in own and module in ranks),
        embeddings=tuple(keys.embeddings),
        unknown=tuple(unknown),
    )


def _roles(own: Mapping[str, str], header: Header) -> frozenset[str]:
    """A module's roles; LyCORIS' OFT and BOFT share one, and differ in their axes."""
    roles = frozenset(own)
    butterfly = "oft_blocks" in roles and len(header.tensors[own["oft_blocks"]].shape) == 4
    return roles - {"oft_blocks"} | {"boft_R"} if butterfly else roles


def _rank(own: Mapping[str, str], header: Header) -> int | None:
    """The rank that the tensors of a module show; LyCORIS' a1 is (in, r), and was (r, in) before its version 3."""
    for role, key in own.items():
        shape = header.tensors[key].shape if role in RANKED else ()
        if shape and (role != "glora_a1" or len(shape) > 1):
            return min(shape[:2]) if role == "glora_a1" else shape[0]
    return None


def _algorithm(roles: frozenset[str]) -> str:
    """The algorithm of a module with tensors of these roles; empty if none shows one."""
    name = next((algorithm for role, algorithm in SIGNS if role in roles), "")
    if name and not MAGNITUDES.isdisjoint(roles):
        return "dora" if name == "lora" else f"dora {name}"
    return name


@lru_cache(maxsize=REMEMBERED)
def _component(head: str, denoiser: str) -> str:
    """The component of the modules whose names begin so."""
    components, name = components_of(head)
    if components == DENOISERS:
        return denoiser
    if components[0] not in DENOISERS or len(components) == 1:
        return components[0]
    return next((component for beginning, component in BEGINNINGS if name.startswith(beginning)), "unet")


def read_scalars(path: Path, header: Header, names: Iterable[str]) -> Iterator[float]:
    """The first number of each of these tensors, read from the file.

    Raises:
        NetworkError: naming the file, if it cannot be read.
    """
    try:
        with path.open("rb") as file:
            for name in names:
                info = header.tensors[name]
                file.seek(header.data_start + info.begin)
                number = _number(info, file.read(min(8, info.end - info.begin)))
                if number is not None:
                    yield number
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error


def _number(info: TensorInfo, data: bytes) -> float | None:
    """The first number of a tensor's bytes, for the dtypes that alphas come in."""
    formats = {"F64": "<d", "F32": "<f", "F16": "<e", "I64": "<q", "I32": "<i", "I16": "<h", "I8": "<b", "U8": "<B"}
    if info.dtype in formats:
        size = struct.calcsize(formats[info.dtype])
        return float(struct.unpack(formats[info.dtype], data[:size])[0]) if len(data) >= size else None
    if info.dtype == "BF16" and len(data) >= 2:  # the upper half of a float32
        return float(struct.unpack("<f", b"\0\0" + data[:2])[0])
    if info.dtype == "F8_E5M2" and data:  # the upper half of a float16
        return float(struct.unpack("<e", b"\0" + data[:1])[0])
    if info.dtype == "F8_E4M3" and data:
        exponent, fraction = data[0] >> 3 & 15, data[0] & 7
        size_ = (8 + fraction) * 2.0 ** (exponent - 10) if exponent else fraction * 2.0**-9
        return -size_ if data[0] & 128 else size_
    return None
