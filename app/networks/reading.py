"""From a module's tensors to its adapters: which algorithm they are, decided by what is there."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from app.networks.adapters import Adapter, Factor, GLoRA, LoHa, LoKr, LoRA, TLoRA, real
from app.networks.composed import DoRA, Stack, Sum
from app.networks.direct import Absolute, Full, Gain, Norm, Sparse
from app.networks.orthogonal import BOFT, OFT, InputOFT

Roles = Mapping[str, Tensor]


class Unreadable(ValueError):
    """A module's tensors do not make an adapter; the message says why."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a file's configuration, rather than its tensors, says of one module."""

    alpha: float | None = None
    rank_stabilised: bool = False
    feedforward: bool | None = None
    exact_cayley: bool = False
    folded: bool = False
    """LoKr scales by alpha/rank even where no factor is decomposed (peft)."""


@dataclass(frozen=True, slots=True)
class Module:
    """The adapters of one module: of its weight, of its bias, or both; `notes` is for the user."""

    weight: Adapter | None = None
    bias: Adapter | None = None
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Parts:
    """A module's tensors, taken out as they are understood; what is left over was not."""

    roles: dict[str, Tensor]
    settings: Settings
    notes: list[str] = field(default_factory=list)

    def take(self, role: str) -> Tensor | None:
        return self.roles.pop(role, None)

    def need(self, role: str) -> Tensor:
        if role not in self.roles:
            raise Unreadable(f"{role!r} is missing")
        return self.roles.pop(role)

    def number(self, role: str) -> float | None:
        """A scalar, whatever its dtype and shape."""
        tensor = self.take(role)
        if tensor is None:
            return None
        if tensor.numel() != 1:
            raise Unreadable(f"{role!r} is not one number")
        return float(real(tensor).item())

    def scale(self, rank: int) -> float:
        """alpha/rank, or what the file says in its place; 1 where it says nothing."""
        alpha, explicit = self.number("alpha"), self.number("scale")
        if explicit is not None:
            return explicit
        if alpha is None:
            alpha = self.settings.alpha
        if alpha is None:
            return 1.0
        if alpha == 0:
            self.notes.append("its alpha is 0, which trainers take for the rank")
            return 1.0
        return alpha / (math.sqrt(rank) if self.settings.rank_stabilised else rank)


def read_module(roles: Roles, settings: Settings = Settings()) -> Module:
    """The adapters that the tensors make, by the first row of `_READERS` whose roles are all there.

    Raises:
        Unreadable: the tensors are of no known algorithm, or their shapes contradict each other.
    """
    parts = _Parts(dict(roles), settings)
    weights: list[Adapter] = []
    bias: Adapter | None = None
    for needed, reader in _READERS:
        if needed <= parts.roles.keys():
            first, bias = reader(parts)
            weights.append(first)
            break
    weights += _beside(parts)
    bias = _bias(parts) or bias
    weight = None
    if weights:
        weight = _decomposed(parts, weights[0] if len(weights) == 1 else Sum(tuple(weights)))
    parts.take("alpha")
    if weight is None and bias is None:
        raise Unreadable(f"no algorithm has only {', '.join(sorted(roles))}")
    if parts.roles:
        parts.notes.append(f"{', '.join(sorted(parts.roles))} is not understood")
    return Module(weight, bias, tuple(parts.notes))


def _beside(parts: _Parts) -> list[Adapter]:
    """What may stand beside another algorithm: a whole difference, and the sparse residual of an extraction."""
    found: list[Adapter] = []
    if (difference := parts.take("diff")) is not None:
        found.append(Full(difference))
    if "sparse_indices" in parts.roles:
        indices, values, size = (parts.need(f"sparse_{name}") for name in ("indices", "values", "size"))
        found.append(_sparse(indices, values, size))
    return found


def _bias(parts: _Parts) -> Adapter | None:
    if (difference := parts.take("diff_b")) is not None:
        return Full(difference)
    return None


def _sparse(indices: Tensor, values: Tensor, size: Tensor) -> Sparse:
    if indices.ndim != 2 or indices.shape[0] != 2 or indices.shape[1] != values.numel() or size.numel() != 2:
        raise Unreadable("its sparse residual has indices, values and size that do not agree")
    rows, columns = (int(number) for number in size.flatten().tolist())
    inside = (indices >= 0).all() and (indices[0] < rows).all() and (indices[1] < columns).all()
    if not bool(inside):
        raise Unreadable("its sparse residual has entries outside of it")
    return Sparse(indices, values, (rows, columns))


def _decomposed(parts: _Parts, base: Adapter) -> Adapter:
    """The adapter, wrapped if the module has a magnitude. A magnitude's key, then its shape, says its axis."""
    if (magnitude := parts.take("magnitude")) is not None:
        return DoRA(base, magnitude, 0)
    if (magnitude := parts.take("dora_scale")) is None:
        return base
    if magnitude.ndim < 2:
        return DoRA(base, magnitude, None)
    if magnitude.shape[0] not in (1, magnitude.numel()):
        raise Unreadable(f"its dora_scale of shape {tuple(magnitude.shape)} runs along no one axis")
    return DoRA(base, magnitude, 1 if magnitude.shape[0] == 1 and magnitude.shape[1] > 1 else 0)


Read = tuple[Adapter, Adapter | None]


def _lora(parts: _Parts) -> Read:
    up, down, core = parts.need("up"), parts.need("down"), parts.take("core")
    if up.ndim < 2 or down.ndim < 2:
        raise Unreadable("its lora_up or lora_down is not a matrix")
    inner = (down.shape[0], down.shape[0]) if core is None else (core.shape[0], core.shape[1])
    if (math.prod(up.shape[1:]), down.shape[0]) != inner:
        raise Unreadable(f"its lora_up {tuple(up.shape)} and lora_down {tuple(down.shape)} have different ranks")
    scale = parts.scale(down.shape[0])
    bias = parts.take("up_bias")
    return LoRA(up, down, core, scale), None if bias is None else Full(bias, scale)


def _embedding(parts: _Parts) -> Read:
    """peft: A (r, words), B (width, r), ΔW = (B A)ᵀ."""
    up, down = parts.need("embedding_down").T, parts.need("embedding_up").T
    return LoRA(up, down, None, parts.scale(down.shape[0])), None


def _loha(parts: _Parts) -> Read:
    w1_a, w1_b, w2_a, w2_b = (parts.need(f"hada_{name}") for name in ("w1_a", "w1_b", "w2_a", "w2_b"))
    t1, t2 = parts.take("hada_t1"), parts.take("hada_t2")
    if (t1 is None) != (t2 is None):
        raise Unreadable("one of hada_t1, hada_t2 is missing")
    inner = 1 if t1 is None else 0
    ranks = {w1_a.shape[inner], w1_b.shape[0], w2_a.shape[inner], w2_b.shape[0]}
    ranks |= {size for core in (t1, t2) if core is not None for size in core.shape[:2]}
    if len(ranks) > 1 or w1_a.shape != w2_a.shape or w1_b.shape != w2_b.shape:
        raise Unreadable(f"its hada factors have different ranks: {sorted(ranks)}")
    return LoHa(w1_a, w1_b, w2_a, w2_b, t1, t2, parts.scale(w1_b.shape[0])), None


def _factor(parts: _Parts, name: str) -> Factor:
    """lokr_w1 or lokr_w2: whole, or decomposed."""
    if (whole := parts.take(f"lokr_{name}")) is not None:
        return Factor(whole)
    a, b = parts.need(f"lokr_{name}_a"), parts.need(f"lokr_{name}_b")
    core = parts.take("lokr_t2") if name == "w2" else None
    expected = (a.shape[1], a.shape[1]) if core is None else (core.shape[0], core.shape[1])
    if (a.shape[1] if core is None else a.shape[0], b.shape[0]) != expected:
        raise Unreadable(f"its lokr_{name}_a {tuple(a.shape)} and lokr_{name}_b {tuple(b.shape)} do not multiply")
    return Factor(None, a, b, core)


def _lokr(parts: _Parts) -> Read:
    left, right = _factor(parts, "w1"), _factor(parts, "w2")
    rank = right.rank or left.rank
    if rank is None:  # LyCORIS saves an alpha that it does not use
        parts.take("alpha")
        alpha = parts.settings.alpha if parts.settings.folded else None
        return LoKr(left, right, 1.0 if alpha is None else alpha), None
    return LoKr(left, right, parts.scale(rank)), None


def _glora(parts: _Parts) -> Read:
    """LyCORIS 3: a1 (in, r), a2 (r, in), b1 (out, r), b2 (r, in). Before 3 each pair stood the other way about."""
    a1, a2, b1, b2 = (parts.need(f"glora_{name}") for name in ("a1", "a2", "b1", "b2"))
    if not (a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]):
        a1, a2, b1, b2 = a2, a1, b2, b1
    if not (a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]):
        raise Unreadable("its a1, a2, b1 and b2 have different ranks")
    return GLoRA(a1, a2, b1, b2, parts.scale(a2.shape[0])), None


def _tlora(parts: _Parts) -> Read:
    p, q, gains = parts.need("tlora_p"), parts.need("tlora_q"), parts.need("tlora_gains")
    if not p.shape[1] == q.shape[0] == gains.numel():
        raise Unreadable("its p_layer, q_layer and lambda_layer have different ranks")
    return TLoRA(p, q, gains, parts.scale(q.shape[0])), None


def _oft(parts: _Parts) -> Read:
    blocks, constraint, rescale = parts.need("oft_blocks"), parts.number("alpha") or 0.0, parts.take("rescale")
    if blocks.ndim not in (3, 4) or blocks.shape[-1] != blocks.shape[-2]:
        raise Unreadable(f"its oft_blocks {tuple(blocks.shape)} are not square blocks")
    if blocks.ndim == 3:
        return OFT(blocks, constraint, rescale), None
    stages, count, size, _ = blocks.shape
    if size % 2 or (count * size) % 2**stages:
        raise Unreadable(f"its oft_blocks {tuple(blocks.shape)} are no butterfly")
    return BOFT(blocks, constraint, rescale), None


def _oft_runs(parts: _Parts) -> Read:
    """kohya's Flux OFT: a rotation each for q, k, v (and mlp)."""
    constraint = parts.number("alpha") or 0.0
    names = sorted((name for name in parts.roles if name.startswith("oft_blocks.")), key=lambda name: int(name[11:]))
    return Stack(tuple(OFT(parts.need(name), constraint) for name in names)), None


def _oft_diag(parts: _Parts) -> Read:
    blocks = parts.need("oft_diag")
    if blocks.ndim != 3 or blocks.shape[-1] != blocks.shape[-2]:
        raise Unreadable(f"its oft_diag {tuple(blocks.shape)} are not square blocks")
    parts.take("alpha")
    return OFT(blocks, 0.0, parts.take("rescale"), rotation=True), None


def _input_oft(parts: _Parts) -> Read:
    vectors, scaled = parts.need("oft_R"), parts.take("oft_scaled")
    if vectors.ndim != 2 or (math.isqrt(1 + 8 * vectors.shape[1])) ** 2 != 1 + 8 * vectors.shape[1]:
        raise Unreadable(f"its oft_R {tuple(vectors.shape)} holds no triangles of square blocks")
    divided = scaled is not None and (scaled.numel() == 0 or bool(scaled.flatten()[0]))
    return InputOFT(vectors, parts.settings.exact_cayley, divided), None


def _ia3(parts: _Parts) -> Read:
    on_input = bool(parts.number("on_input"))
    return Gain(parts.need("weight"), 1 if on_input else 0), None


def _peft_ia3(parts: _Parts) -> Read:
    """Ones to begin with; (out, 1) scales rows and the bias too, (1, in) of a feed-forward layer scales columns.

    A convolution's are (1, channels, 1, 1) either way: the configuration says which.
    """
    vector = parts.need("ia3_l")
    by_shape = vector.ndim == 2 and vector.shape[0] == 1 and vector.shape[1] > 1
    columns = by_shape if parts.settings.feedforward is None or vector.ndim == 2 else parts.settings.feedforward
    return Gain(vector, 1 if columns else 0, 1.0), None if columns else Gain(vector, 0, 1.0)


def _norm(parts: _Parts) -> Read:
    bias = parts.take("b_norm")
    return Norm(parts.need("w_norm")), None if bias is None else Norm(bias)


def _absolute(parts: _Parts) -> Read:
    return Absolute(parts.need("set_weight")), None


def _bare_scale(parts: _Parts) -> Read:
    """BFL's control files set the scale of RMS norms, under a name that otherwise stands for one number."""
    if len(parts.roles) > 1 or parts.roles["scale"].ndim != 1:
        raise Unreadable(f"no algorithm has only {', '.join(sorted(parts.roles))}")
    return Absolute(parts.need("scale")), None


_READERS: tuple[tuple[frozenset[str], Callable[[_Parts], Read]], ...] = (
    (frozenset({"up", "down"}), _lora),
    (frozenset({"embedding_up", "embedding_down"}), _embedding),
    (frozenset({"hada_w1_a"}), _loha),
    (frozenset({"lokr_w1"}), _lokr),
    (frozenset({"lokr_w1_a"}), _lokr),
    (frozenset({"oft_blocks"}), _oft),
    (frozenset({"oft_blocks.0"}), _oft_runs),
    (frozenset({"oft_diag"}), _oft_diag),
    (frozenset({"oft_R"}), _input_oft),
    (frozenset({"on_input", "weight"}), _ia3),
    (frozenset({"ia3_l"}), _peft_ia3),
    (frozenset({"glora_a1"}), _glora),
    (frozenset({"tlora_p", "tlora_q", "tlora_gains"}), _tlora),
    (frozenset({"w_norm"}), _norm),
    (frozenset({"set_weight"}), _absolute),
    (frozenset({"scale"}), _bare_scale),
)
"""Which roles make a module which algorithm; the first row that is all there is it."""


def is_float(tensor: Tensor) -> bool:
    """Whether the tensor can be part of an adapter's arithmetic."""
    return tensor.is_floating_point() or tensor.dtype in (torch.int8, torch.int16, torch.int32, torch.int64)
