"""A library to test on: real small files, written as trainers write them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file

MODULE = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"


def lora(
    path: Path, metadata: Mapping[str, str] | None = None, *, width: int = 768, rank: int = 2, fill: float = 0.0
) -> Path:
    """A LoRA of one module at `path`, whose cross-attention is `width` wide and whose factors hold `fill`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {
        f"{MODULE}.lora_down.weight": torch.full((rank, width), fill),
        f"{MODULE}.lora_up.weight": torch.full((8, rank), fill),
        f"{MODULE}.alpha": torch.tensor(1.5),
    }
    save_file(tensors, path, dict(metadata) if metadata else None)
    return path


def note(path: Path, document: object) -> Path:
    """JSON at `path`."""
    path.write_text(json.dumps(document), encoding="utf-8")
    return path
