"""Textual inversion: a word whose vectors are learnt."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from diffusers import StableDiffusionPipeline
from safetensors.torch import save_file
from torch import Tensor, nn

from .options import NetworkOptions
from .tokens import CONTEXT


class Word(nn.Module):
    """Stands in the place of the table of token vectors, and knows a few more: those of its word, which learn."""

    def __init__(self, pipeline: StableDiffusionPipeline, options: NetworkOptions) -> None:
        super().__init__()
        self.name, self.pace = options.word, options.text_encoder_lr / options.learning_rate
        self._pipeline = pipeline
        self._table = [pipeline.text_encoder.get_input_embeddings()]  # in a list, so as not to be a part of this one
        known = self._table[0].weight
        self.vectors = nn.Parameter(known.mean(dim=0) + known.std() * torch.randn(options.vectors, known.shape[1]))
        pipeline.text_encoder.set_input_embeddings(self)

    @property
    def weight(self) -> Tensor:
        """The whole table, as the text encoder's library asks for it."""
        return torch.cat([self._table[0].weight, self.vectors])

    def forward(self, ids: Tensor) -> Tensor:
        """The vectors of tokens, the word's own among them."""
        return F.embedding(ids, self.weight)

    def tokens(self, captions: list[str]) -> Tensor:
        """Token ids, padded as pipelines pad them; the word is as many tokens as it has vectors."""
        tokenizer, count = self._pipeline.tokenizer, len(self._table[0].weight)
        own = list(range(count, count + len(self.vectors)))
        rows = torch.full((len(captions), CONTEXT), tokenizer.pad_token_id)
        for row, text in zip(rows, captions, strict=True):
            ids = [tokenizer.bos_token_id]
            for part in re.split(rf"\b({re.escape(self.name)})\b", text):
                ids += own if part == self.name else tokenizer(part, add_special_tokens=False).input_ids
            ids = [*ids[: CONTEXT - 1], tokenizer.eos_token_id]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def set_strength(self, strength: float) -> None:
        """A word is there or it is not."""

    def paces(self) -> list[tuple[list[nn.Parameter], float]]:
        """What learns, with its share of the learning rate."""
        return [([self.vectors], self.pace)]

    def save(self, path: Path, metadata: Mapping[str, str]) -> None:
        """Write the vectors as kohya's trainer does."""
        save_file({"emb_params": self.vectors.detach().half().contiguous()}, path, dict(metadata))

    def detach(self) -> None:
        """Give the text encoder its own table back."""
        self._pipeline.text_encoder.set_input_embeddings(self._table[0])
