"""One reader per algorithm: it takes the tensors it knows out of a module's parts and checks that they agree."""

from __future__ import annotations

import math
from collections.abc import Callable

from app.networks.adapters import Adapter, LoRA
from app.networks.composed import Stack
from app.networks.direct import Absolute, Full, Gain, Norm
from app.networks.formats import PATHS
from app.networks.generalized import Path, PathBias, PathGLoRA
from app.networks.orthogonal import BOFT, OFT, InputBOFT, InputOFT
from app.networks.parts import Parts, Unreadable
from app.networks.products import Factor, GLoRA, LoHa, LoKr, TLoRA

Read = tuple[Adapter | None, Adapter | None]
"""The adapter of the weight and that of the bias, as far as the algorithm changes them."""


def _lora(parts: Parts) -> Read:
    up, down, core = parts.flat("up"), parts.matrix("down"), parts.core("core")
    if core is not None and math.prod(down.shape[2:]) != 1:
        raise Unreadable("its lora_down has a kernel beside the one of lora_mid")
    inner = (down.shape[0], down.shape[0]) if core is None else (core.shape[0], core.shape[1])
    if (up.shape[1], down.shape[0]) != inner:
        raise Unreadable(f"its lora_up {tuple(up.shape)} and lora_down {tuple(down.shape)} have different ranks")
    scale = parts.scale(down.shape[0])
    return LoRA(up, down, core, scale), Full(parts.array("up_bias"), scale) if "up_bias" in parts.roles else None


def _embedding(parts: Parts) -> Read:
    """peft: A (r, words), B (width, r), ΔW = (B A)ᵀ."""
    up, down = parts.flat("embedding_down").T, parts.flat("embedding_up").T
    if up.shape[1] != down.shape[0]:
        raise Unreadable("its lora_embedding_A and lora_embedding_B have different ranks")
    return LoRA(up, down, None, parts.scale(down.shape[0])), None


def _loha(parts: Parts) -> Read:
    t1, t2 = parts.core("hada_t1"), parts.core("hada_t2")
    b = parts.matrix if t1 is None else parts.flat
    w1_a, w1_b = parts.flat("hada_w1_a"), b("hada_w1_b").flatten(1)
    w2_a, w2_b = parts.flat("hada_w2_a"), b("hada_w2_b").flatten(1)
    if (t1 is None) != (t2 is None) or (t1 is not None and t2 is not None and t1.shape != t2.shape):
        raise Unreadable("its hada_t1 and hada_t2 do not agree")
    inner = 1 if t1 is None else 0
    ranks = {w1_a.shape[inner], w1_b.shape[0], *(() if t1 is None else t1.shape[:2])}
    if len(ranks) > 1 or w1_a.shape != w2_a.shape or w1_b.shape != w2_b.shape:
        raise Unreadable(f"its hada factors do not agree (ranks {sorted(ranks)})")
    return LoHa(w1_a, w1_b, w2_a, w2_b, t1, t2, parts.scale(w1_b.shape[0])), None


def _factor(parts: Parts, name: str) -> Factor:
    """lokr_w1 or lokr_w2: whole, or decomposed."""
    if f"lokr_{name}" in parts.roles:
        return Factor(parts.matrix(f"lokr_{name}"))
    core = parts.core("lokr_t2") if name == "w2" else None
    a, b = parts.flat(f"lokr_{name}_a"), parts.matrix(f"lokr_{name}_b")
    outer, expected = (a.shape[1], (b.shape[0],) * 2) if core is None else (a.shape[0], tuple(core.shape[:2]))
    if (outer, b.shape[0]) != expected or (core is not None and b.ndim > 2):
        raise Unreadable(f"its lokr_{name}_a {tuple(a.shape)} and lokr_{name}_b {tuple(b.shape)} do not multiply")
    return Factor(None, a, b.flatten(1), core)


def _lokr(parts: Parts) -> Read:
    left, right = _factor(parts, "w1"), _factor(parts, "w2")
    if left.kernel:
        raise Unreadable("its lokr_w1 has a kernel")
    rank = right.rank or left.rank
    if rank is None:  # LyCORIS saves an alpha that it does not use
        parts.take("alpha")
        alpha, rank = parts.settings.alpha, parts.settings.rank
        return LoKr(left, right, 1.0 if alpha is None or not rank else alpha / rank), None
    return LoKr(left, right, parts.scale(rank)), None


def _glora(parts: Parts) -> Read:
    """LyCORIS 3: a1 (in, r), a2 (r, in), b1 (out, r), b2 (r, in). Before 3 each pair stood the other way about."""
    a1, a2, b1, b2 = (parts.matrix(f"glora_{name}") for name in ("a1", "a2", "b1", "b2"))
    if not (a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]):
        a1, a2, b1, b2 = a2, a1, b2, b1
    if not (a1.shape[1] == a2.shape[0] == b1.shape[1] == b2.shape[0]) or a1.shape[0] != a2.shape[1]:
        raise Unreadable("its a1, a2, b1 and b2 have different ranks")
    if any(math.prod(factor.shape[2:]) != 1 for factor in (a1, a2, b1)):
        raise Unreadable("its a1, a2 or b1 has a kernel")
    scale = parts.scale(a2.shape[0], stabilised=parts.settings.glora_rank_stabilised)
    return GLoRA(a1, a2, b1, b2, scale), None


def _peft_glora(parts: Parts) -> Read:
    """Five paths, each a product, a vector or number, zeros, or left out."""
    a, b, c, d, e = (_path(parts, f"glora_{path}") for path in "ABCDE")
    if any(path is not None and path.second is not None for path in (d, e)) or (
        c is not None and c.size[1] not in (None, 1)
    ):
        raise Unreadable("its glora_C, glora_D or glora_E is a matrix")
    weight = None if a is None and b is None else PathGLoRA(a, b)
    bias = None if c is None and d is None and e is None else PathBias(d, e, c)
    if weight is None and bias is None:
        raise Unreadable("its GLoRA has only empty paths, and changes nothing")
    return weight, bias


def _path(parts: Parts, name: str) -> Path | None:
    parts.take(f"{name}.zeros")
    if f"{name}.Xd" not in parts.roles:
        return Path(parts.array(f"{name}.X").flatten()) if f"{name}.X" in parts.roles else None
    first, second = parts.flat(f"{name}.Xd"), parts.flat(f"{name}.Xu")
    if first.shape[1] != second.shape[0]:
        raise Unreadable(f"its {name} has an Xd {tuple(first.shape)} and an Xu {tuple(second.shape)}")
    return Path(first, second)


def _tlora(parts: Parts) -> Read:
    p, q, gains = parts.flat("tlora_p"), parts.matrix("tlora_q"), parts.array("tlora_gains")
    if not p.shape[1] == q.shape[0] == gains.numel():
        raise Unreadable("its p_layer, q_layer and lambda_layer have different ranks")
    return TLoRA(p, q, gains, parts.scale(q.shape[0]), parts.settings.triplets), None


def _oft(parts: Parts) -> Read:
    blocks, constraint, rescale = parts.array("oft_blocks"), parts.number("alpha") or 0.0, parts.take("rescale")
    if blocks.ndim not in (3, 4) or blocks.shape[-1] != blocks.shape[-2]:
        raise Unreadable(f"its oft_blocks {tuple(blocks.shape)} are not square blocks")
    if rescale is not None and rescale.numel() != blocks.shape[-3] * blocks.shape[-1]:
        raise Unreadable("its rescale has not one number for each row")
    if blocks.ndim == 3:
        return OFT(blocks, constraint, rescale), None
    stages, count, size, _ = blocks.shape
    if size % 2 or count % 2 ** (stages - 1):
        raise Unreadable(f"its oft_blocks {tuple(blocks.shape)} are no butterfly")
    return BOFT(blocks, constraint, rescale), None


def _oft_runs(parts: Parts) -> Read:
    """kohya's Flux OFT: a rotation each for q, k, v (and mlp)."""
    constraint = parts.number("alpha") or 0.0
    names = sorted((name for name in parts.roles if name.startswith("oft_blocks.")), key=lambda name: int(name[11:]))
    runs = [parts.array(name) for name in names]
    if any(run.ndim != 3 or run.shape[-1] != run.shape[-2] for run in runs):
        raise Unreadable("its oft_blocks are not square blocks")
    return Stack(tuple(OFT(run, constraint) for run in runs)), None


def _oft_diag(parts: Parts) -> Read:
    blocks, rescale = parts.array("oft_diag"), parts.take("rescale")
    if blocks.ndim != 3 or blocks.shape[-1] != blocks.shape[-2]:
        raise Unreadable(f"its oft_diag {tuple(blocks.shape)} are not square blocks")
    parts.take("alpha")
    if rescale is not None and rescale.numel() != blocks.shape[0] * blocks.shape[1]:
        raise Unreadable("its rescale has not one number for each row")
    return OFT(blocks, 0.0, rescale, rotation=True), None


def _input_oft(parts: Parts) -> Read:
    vectors, scaled = parts.array("oft_R"), parts.take("oft_scaled")
    if vectors.ndim != 2 or (math.isqrt(1 + 8 * vectors.shape[1])) ** 2 != 1 + 8 * vectors.shape[1]:
        raise Unreadable(f"its oft_R {tuple(vectors.shape)} holds no triangles of square blocks")
    divided = scaled is not None and (scaled.numel() == 0 or bool(scaled.flatten()[0]))
    return InputOFT(vectors, parts.settings.neumann_terms, divided), None


def _input_boft(parts: Parts) -> Read:
    stages, gains = parts.array("boft_R"), parts.take("boft_s")
    if stages.ndim != 4 or stages.shape[-1] != stages.shape[-2]:
        raise Unreadable(f"its boft_R {tuple(stages.shape)} are not square blocks")
    count, blocks, size, _ = stages.shape
    if count > 1 and (size % 2 or blocks % 2 ** (count - 1)):
        raise Unreadable(f"its boft_R {tuple(stages.shape)} are no butterfly")
    return InputBOFT(stages, gains), None


def _ia3(parts: Parts) -> Read:
    on_input = bool(parts.number("on_input"))
    return Gain(parts.array("weight"), 1 if on_input else 0), None


def _peft_ia3(parts: Parts) -> Read:
    """Ones to begin with; (out, 1) scales rows and the bias too, (1, in) of a feed-forward layer scales columns.

    A convolution's are (1, channels, 1, 1) either way: the configuration says which.
    """
    vector = parts.array("ia3_l")
    by_shape = vector.ndim == 2 and vector.shape[0] == 1 and vector.shape[1] > 1
    columns = by_shape if parts.settings.feedforward is None or vector.ndim == 2 else parts.settings.feedforward
    return Gain(vector, 1 if columns else 0, 1.0), None if columns else Gain(vector, 0, 1.0)


def _norm(parts: Parts) -> Read:
    return Norm(parts.array("w_norm")), Norm(parts.array("b_norm")) if "b_norm" in parts.roles else None


def _absolute(parts: Parts) -> Read:
    return Absolute(parts.array("set_weight")), None


def _bare_scale(parts: Parts) -> Read:
    """BFL's control files set the scale of RMS norms, under a name that otherwise stands for one number."""
    if len(parts.roles) > 1 or parts.roles["scale"].ndim != 1:
        raise Unreadable(f"no algorithm has only {', '.join(sorted(parts.roles))}")
    return Absolute(parts.array("scale")), None


READERS: tuple[tuple[frozenset[str], Callable[[Parts], Read]], ...] = (
    (frozenset({"up", "down"}), _lora),
    (frozenset({"embedding_up", "embedding_down"}), _embedding),
    (frozenset({"hada_w1_a"}), _loha),
    (frozenset({"lokr_w1"}), _lokr),
    (frozenset({"lokr_w1_a"}), _lokr),
    (frozenset({"oft_blocks"}), _oft),
    (frozenset({"oft_blocks.0"}), _oft_runs),
    (frozenset({"oft_diag"}), _oft_diag),
    (frozenset({"oft_R"}), _input_oft),
    (frozenset({"boft_R"}), _input_boft),
    (frozenset({"on_input", "weight"}), _ia3),
    (frozenset({"ia3_l"}), _peft_ia3),
    (frozenset({"glora_a1"}), _glora),
    *((frozenset({role}), _peft_glora) for role in PATHS if not role.endswith("Xu")),
    (frozenset({"tlora_p", "tlora_q", "tlora_gains"}), _tlora),
    (frozenset({"w_norm"}), _norm),
    (frozenset({"set_weight"}), _absolute),
    (frozenset({"scale"}), _bare_scale),
)
"""Which roles make a module which algorithm; the first row that is all there is it."""
