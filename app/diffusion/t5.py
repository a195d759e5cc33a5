"""T5, the text encoder that SD3 and Flux have beside CLIP; it takes the plain text, without weights or embeddings."""

from __future__ import annotations

import torch
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint, module_config

TOKENS = {"sd3": 256, "flux": 512}
"""The tokens each family's text is padded or cut to."""


def t5_hidden(checkpoint: Checkpoint, text: str) -> Tensor:
    """The hidden states of a text, [tokens, width]; zeros for an SD3 checkpoint without T5."""
    tokens = TOKENS[checkpoint.family]
    name = next((name for name in checkpoint.text_encoders if name not in checkpoint.tokenizers), None)
    if name is None:
        width = int(module_config(checkpoint.components["transformer"])["joint_attention_dim"])
        return torch.zeros(tokens, width, device=checkpoint.placement.device)
    inputs = checkpoint.t5_tokenizer(
        [text], padding="max_length", max_length=tokens, truncation=True, return_tensors="pt"
    )
    hidden: Tensor = checkpoint.components[name](inputs.input_ids.to(checkpoint.placement.device))[0]
    return hidden[0]
