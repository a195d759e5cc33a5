"""How trainers spell the tensors of a module: tables of suffixes, one row per spelling.

A key of a file is a module's name, a dot, and a suffix. What a suffix means (its role) is the same for all trainers;
`adapter_of` in `reading` makes an adapter of the roles a module has. Module names are the business of `keys`.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

LORA: Mapping[str, str] = {
    "lora_up.weight": "up", "lora_down.weight": "down", "lora_mid.weight": "core",  # kohya, LyCORIS
    "lora_B.weight": "up", "lora_A.weight": "down", "lora_B.bias": "up_bias",  # peft, diffusers
    "lora_up.bias": "up_bias", "lora.up.bias": "up_bias",
    "lora_B": "up", "lora_A": "down",  # peft, parameters rather than modules
    "lora.up.weight": "up", "lora.down.weight": "down",  # diffusers' training scripts, UNet
    "lora_linear_layer.up.weight": "up", "lora_linear_layer.down.weight": "down",  # the same, text encoders
    "up.weight": "up", "down.weight": "down",  # XLabs; diffusers before 0.21 after its "_lora"
    "lora_embedding_B": "embedding_up", "lora_embedding_A": "embedding_down",  # peft
}  # fmt: skip
"""LoRA and LoCon: arXiv:2106.09685, arXiv:2309.14859."""

LOHA: Mapping[str, str] = {
    name: name for name in ("hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2")
}
LOKR: Mapping[str, str] = {
    name: name for name in ("lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2")
}
GLORA: Mapping[str, str] = {f"{name}.weight": f"glora_{name}" for name in ("a1", "a2", "b1", "b2")}
PATHS: Mapping[str, str] = {
    name: name for name in (f"glora_{path}.{leaf}" for path in "ABCDE" for leaf in ("Xd", "Xu", "X", "zeros"))
}
"""peft's GLoRA; LyCORIS' is above."""
ORTHOGONAL: Mapping[str, str] = {
    "oft_blocks": "oft_blocks",  # LyCORIS (3-D OFT, 4-D BOFT), kohya
    "oft_diag": "oft_diag",  # LyCORIS before 2.0
    "oft_R.weight": "oft_R", "oft_R": "oft_R", "oft_R.scaled_oft": "oft_scaled",  # peft, OneTrainer
    "boft_R": "boft_R", "boft_s": "boft_s",  # peft
    "rescale": "rescale",
}  # fmt: skip
IA3: Mapping[str, str] = {"on_input": "on_input", "ia3_l": "ia3_l"}  # LyCORIS (beside "weight"), peft
TLORA: Mapping[str, str] = {"lambda_layer": "tlora_gains", "p_layer.weight": "tlora_p", "q_layer.weight": "tlora_q"}
DIRECT: Mapping[str, str] = {
    "diff": "diff", "diff_b": "diff_b", "w_norm": "w_norm", "b_norm": "b_norm",  # LyCORIS
    "set_weight": "set_weight",  # ComfyUI
    "bias_indices": "sparse_indices", "bias_values": "sparse_values", "bias_size": "sparse_size",  # LyCORIS extraction
}  # fmt: skip
MODIFIERS: Mapping[str, str] = {
    "alpha": "alpha", "scale": "scale",
    "reshape_weight": "reshape_weight",  # ComfyUI, for layers made wider
    "dora_scale": "dora_scale",  # LyCORIS, OneTrainer
    "magnitude": "magnitude",  # ai-toolkit
    "lora_magnitude_vector": "magnitude", "lora_magnitude_vector.weight": "magnitude",  # peft
}  # fmt: skip

SUFFIXES: Mapping[str, str] = MappingProxyType(
    {**LORA, **LOHA, **LOKR, **GLORA, **PATHS, **ORTHOGONAL, **IA3, **TLORA, **DIRECT, **MODIFIERS}
)
"""Suffix → role, every spelling."""

NAMED: frozenset[str] = frozenset(
    {"lora_A", "lora_B", "lora_embedding_A", "lora_embedding_B", "lora_magnitude_vector", "oft_R", "boft_R", "boft_s"}
    | {"ia3_l", *LOHA, *LOKR, *(f"glora_{path}" for path in "ABCDE")}
)
"""Parts that peft may follow with the adapter's name: lora_A.default.weight, ia3_l.default."""

OLD = frozenset({"up.weight", "down.weight"})
OLD_MARK = "_lora"
"""diffusers before 0.21 ends the module's name with the mark: attn1.processor.to_q_lora.down.weight."""

BUNDLE = "bundle_emb."
BUNDLE_MARK = ".string_to_param."
BUNDLE_KINDS: tuple[str, ...] = ("clip_l", "clip_g", "t5", "clip_l_out", "clip_g_out", "t5_out")

_LONGEST = max(suffix.count(".") for suffix in SUFFIXES) + 1


def split(key: str) -> tuple[str, str] | None:
    """A key's module and the role of its suffix; None where no row of the tables ends it.

    "a.b.lora_A.weight" is ("a.b", "down"). A part of a split rotation keeps its number: ("a", "oft_blocks.1").
    """
    module, _, suffix = key.partition(".")
    if suffix in SUFFIXES:  # most files are kohya's, whose module names hold no dot
        return module.removesuffix(OLD_MARK) if suffix in OLD else module, SUFFIXES[suffix]
    parts = key.split(".")
    for length in range(min(_LONGEST, len(parts) - 1), 0, -1):
        suffix = ".".join(parts[-length:])
        if suffix in SUFFIXES:
            module = ".".join(parts[:-length])
            return module.removesuffix(OLD_MARK) if suffix in OLD else module, SUFFIXES[suffix]
    return _numbered(parts) or _unnamed(parts)


def _numbered(parts: list[str]) -> tuple[str, str] | None:
    """oft_blocks.0, oft_blocks.1, …: one rotation per run of rows (kohya, Flux)."""
    if len(parts) > 2 and parts[-2] == "oft_blocks" and parts[-1].isdecimal():
        return ".".join(parts[:-2]), f"oft_blocks.{int(parts[-1])}"
    return None


def _unnamed(parts: list[str]) -> tuple[str, str] | None:
    """A peft key with its adapter's name in it, as if it had none."""
    for position in (len(parts) - 2, len(parts) - 3):
        if position > 0 and parts[position] in NAMED:
            role = SUFFIXES.get(".".join([parts[position], *parts[position + 2 :]]))
            if role is not None:
                return ".".join(parts[:position]), role
    return None


def bundled(key: str) -> tuple[str, str] | None:
    """The word and the text encoder ("clip_l", "clip_g", "t5", or "" where the file does not say) of a bundled
    embedding; None for any other key."""
    if not key.startswith(BUNDLE):
        return None
    rest = key.removeprefix(BUNDLE)
    if BUNDLE_MARK in rest:
        return rest.rpartition(BUNDLE_MARK)[0], ""
    word, _, kind = rest.rpartition(".")
    return (word, kind) if kind in BUNDLE_KINDS else None
