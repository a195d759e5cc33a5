"""What a text means to the denoiser: chunks of 75 tokens through CLIP, weighted, one behind the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.device import memory_errors
from app.diffusion.embeddings import Embedding
from app.diffusion.t5 import TOKENS, t5_hidden
from app.diffusion.tokens import CHUNK, Chunk, ClipTokenizer, Words, chunked
from app.errors import RequestError
from app.generation.request import Emphasis
from app.prompt.emphasis import Break, Fragment


@dataclass(frozen=True, slots=True)
class Encoding:
    """One text: `hidden` [tokens, width] and, for models that take it, `pooled` [width]."""

    hidden: Tensor
    pooled: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Conditioning:
    """What steers a step: the branches of the prompt with their weights, and the negative prompt."""

    positive: tuple[tuple[Encoding, float], ...]
    negative: Encoding


@dataclass(frozen=True, slots=True)
class EncodingOptions:
    """How texts are encoded; with `zero_if_empty` an empty one is all zeros (as SDXL's unconditional is)."""

    clip_skip: int = 1
    emphasis: Emphasis = "Original"
    zero_if_empty: bool = False


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The embeddings that are words for one checkpoint."""

    embeddings: Mapping[str, Embedding] = field(default_factory=dict)

    def words(self, tokenizer: ClipTokenizer) -> Words:
        return Words.of({name: embedding.count for name, embedding in self.embeddings.items()}, tokenizer)


def uses_clip_skip(checkpoint: Checkpoint) -> bool:
    """Whether clip skip changes anything: SDXL, SD3 and Flux always take the layers they were trained with."""
    return checkpoint.family in ("sd15", "sd2", "unknown")


@torch.no_grad()
def encode(
    checkpoint: Checkpoint,
    fragments: Sequence[Fragment | Break],
    options: EncodingOptions = EncodingOptions(),
    vocabulary: Vocabulary = Vocabulary(),
) -> Encoding:
    """One text as this checkpoint's denoiser takes it, under the text encoders' weights of this moment.

    Raises:
        RequestError: for a clip skip deeper than the encoder.
        OutOfMemory: if the device's memory is exhausted.
    """
    with checkpoint.at_work(*checkpoint.text_encoders), memory_errors(checkpoint.placement, "encoding the prompt"):
        parts = [_encoded(checkpoint, component, fragments, options, vocabulary) for component in checkpoint.tokenizers]
        t5 = t5_hidden(checkpoint, _plain(fragments)) if checkpoint.family in TOKENS else None
    encoding = _joined(checkpoint, parts, t5)
    if options.zero_if_empty and not _plain(fragments).strip():
        pooled = encoding.pooled
        return Encoding(torch.zeros_like(encoding.hidden), None if pooled is None else torch.zeros_like(pooled))
    return encoding


def _joined(checkpoint: Checkpoint, parts: Sequence[Encoding], t5: Tensor | None) -> Encoding:
    """The encoders' parts as the family's denoiser takes them."""
    hidden = torch.cat([part.hidden for part in parts], dim=-1)
    vectors = [part.pooled for part in parts if part.pooled is not None]
    match checkpoint.family:
        case "sdxl" | "sdxl-refiner":
            return Encoding(hidden, vectors[-1])
        case "sd3" if t5 is not None:
            padded = functional.pad(hidden, (0, t5.shape[-1] - hidden.shape[-1]))
            return Encoding(torch.cat([padded, t5.to(hidden)]), torch.cat(vectors))
        case "flux" if t5 is not None:
            return Encoding(t5, vectors[0])
        case _:
            return Encoding(hidden)


def _plain(fragments: Sequence[Fragment | Break]) -> str:
    return " ".join(fragment.text for fragment in fragments if isinstance(fragment, Fragment))


def _encoded(
    checkpoint: Checkpoint,
    component: str,
    fragments: Sequence[Fragment | Break],
    options: EncodingOptions,
    vocabulary: Vocabulary,
) -> Encoding:
    """One text encoder's part: its chunks' hidden states in a row, and the pooled vector of the first."""
    tokenizer = checkpoint.tokenizers[component]
    encoder = checkpoint.components[component]
    chunks = chunked(fragments, tokenizer, vocabulary.words(tokenizer))
    vectors = {name: embedding.vectors[component] for name, embedding in vocabulary.embeddings.items()}
    ids = torch.tensor([_row(chunk, tokenizer) for chunk in chunks], device=checkpoint.placement.device)
    text_model = encoder.get_submodule("text_model") if hasattr(encoder, "text_model") else encoder
    with _in_place_of_tokens(text_model.get_submodule("embeddings.token_embedding"), chunks, vectors):
        output = encoder(ids, output_hidden_states=True)
    if not uses_clip_skip(checkpoint):
        hidden = output.hidden_states[-2]
    else:
        hidden = _layer(output.hidden_states, options.clip_skip)
        hidden = text_model.get_submodule("final_layer_norm")(hidden)
    weights = torch.tensor([_weights(chunk) for chunk in chunks], device=hidden.device)
    hidden = emphasised(hidden, weights, options.emphasis).flatten(0, 1)
    pooled = output.text_embeds[0] if hasattr(output, "text_embeds") else output.pooler_output[0]
    return Encoding(hidden, pooled)


def _layer(hidden_states: Sequence[Tensor], clip_skip: int) -> Tensor:
    if clip_skip > len(hidden_states):
        limit = f"This model's text encoder has {len(hidden_states) - 1} layers."
        raise RequestError(f"{clip_skip} is too deep.", where="clip_skip", hint=limit)
    return hidden_states[-clip_skip]


def _row(chunk: Chunk, tokenizer: ClipTokenizer) -> list[int]:
    """The 77 numbers of a chunk: begin, tokens, end, and padding."""
    padding = [tokenizer.pad] * (CHUNK - len(chunk))
    return [tokenizer.begin, *(token.id for token in chunk), tokenizer.end, *padding]


def _weights(chunk: Chunk) -> list[float]:
    return [1.0, *(token.weight for token in chunk), *([1.0] * (CHUNK + 1 - len(chunk)))]


def emphasised(hidden: Tensor, weights: Tensor, mode: Emphasis) -> Tensor:
    """Hidden states [chunks, 77, width] with each token's multiplied by its weight [chunks, 77].

    "Original" then gives every chunk the mean it had. Weights of 1 change no bit.
    """
    if mode in ("None", "Ignore") or bool((weights == 1).all()):
        return hidden
    weighted = hidden.float() * weights[..., None]
    if mode == "Original":
        ratio = hidden.float().mean(dim=(1, 2)) / weighted.mean(dim=(1, 2))
        changed = (weights != 1).any(dim=1) & ratio.isfinite()  # a chunk without emphasis keeps every bit
        weighted = weighted * torch.where(changed, ratio, 1.0)[:, None, None]
    return weighted.to(hidden.dtype)


@contextmanager
def _in_place_of_tokens(table: nn.Module, chunks: Sequence[Chunk], vectors: Mapping[str, Tensor]) -> Iterator[None]:
    """Inside the block, the table of token vectors answers with the embeddings' vectors where chunks name them."""
    places = [
        (row, 1 + column, vectors[token.embedding][token.vector])
        for row, chunk in enumerate(chunks)
        for column, token in enumerate(chunk)
        if token.embedding is not None
    ]

    def replace(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        output = output.clone()
        for row, column, vector in places:
            output[row, column] = vector.to(output)
        return output

    if not places:
        yield
        return
    handle = table.register_forward_hook(replace)
    try:
        yield
    finally:
        handle.remove()
