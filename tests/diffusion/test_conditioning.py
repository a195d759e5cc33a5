from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline
from torch import Tensor

from app.diffusion.checkpoint import Checkpoint
from app.diffusion.conditioning import Encoding, EncodingOptions, Vocabulary, emphasised, encode
from app.diffusion.embeddings import fitted
from app.errors import NetworkError, RequestError
from app.prompt.emphasis import Break, Fragment, fragments

WORDS = "a small cat, on a blue background"


def encoded(checkpoint: Checkpoint, words: str, **options: Any) -> Encoding:
    parsed = options.get("emphasis") != "None"
    return encode(checkpoint, fragments(words, parsed=parsed), EncodingOptions(**options))


@pytest.fixture(scope="session")
def sd15_reference(sd15_folder: Path) -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(sd15_folder, local_files_only=True)


@pytest.fixture(scope="session")
def sdxl_reference(sdxl_folder: Path) -> StableDiffusionXLPipeline:
    return StableDiffusionXLPipeline.from_pretrained(sdxl_folder, local_files_only=True)


@torch.no_grad()
def test_a_plain_text_is_encoded_as_diffusers_does(sd15: Checkpoint, sd15_reference: StableDiffusionPipeline) -> None:
    expected, _ = sd15_reference.encode_prompt(WORDS, "cpu", 1, False)
    assert torch.equal(encoded(sd15, WORDS).hidden, expected[0])


@pytest.mark.parametrize("clip_skip", [2, 3])
@torch.no_grad()
def test_clip_skip_is_the_layers_output_through_the_final_norm(sd15: Checkpoint, clip_skip: int) -> None:
    model = sd15.components["text_encoder"]
    states = model(sd15_ids(sd15, WORDS), output_hidden_states=True).hidden_states
    expected = model.final_layer_norm(states[-clip_skip])
    assert torch.equal(encoded(sd15, WORDS, clip_skip=clip_skip).hidden, expected[0])


def sd15_ids(sd15: Checkpoint, words: str) -> Tensor:
    tokenizer = sd15.tokenizers["text_encoder"]
    row = [tokenizer.begin, *tokenizer.ids(words), tokenizer.end]
    return torch.tensor([[*row, *([tokenizer.pad] * (77 - len(row)))]])


def test_a_clip_skip_deeper_than_the_encoder_says_how_deep_it_is(sd15: Checkpoint) -> None:
    with pytest.raises(RequestError, match="3 layers"):
        encoded(sd15, WORDS, clip_skip=5)


@torch.no_grad()
def test_sdxl_is_encoded_as_diffusers_does(sdxl: Checkpoint, sdxl_reference: StableDiffusionXLPipeline) -> None:
    hidden, _, pooled, _ = sdxl_reference.encode_prompt(WORDS, None, "cpu", 1, False)
    ours = encoded(sdxl, WORDS)
    assert torch.equal(ours.hidden, hidden[0])
    assert ours.pooled is not None and torch.equal(ours.pooled, pooled[0])


def test_an_empty_negative_of_sdxl_is_zeros_and_nothing_else_is(sdxl: Checkpoint) -> None:
    assert sdxl.zero_empty_negative
    empty = encoded(sdxl, "", zero_if_empty=True)
    assert empty.pooled is not None
    assert not empty.hidden.any() and not empty.pooled.any()
    assert encoded(sdxl, "cat", zero_if_empty=True).hidden.any()


def test_the_pooled_vector_is_the_first_chunks(sdxl: Checkpoint) -> None:
    long = encoded(sdxl, "a cat BREAK a dog").pooled
    assert long is not None
    torch.testing.assert_close(long, encoded(sdxl, "a cat").pooled)


def test_chunks_are_encoded_apart_and_stand_in_a_row(sd15: Checkpoint) -> None:
    both = encoded(sd15, "a cat BREAK a dog").hidden
    assert both.shape[0] == 2 * 77
    torch.testing.assert_close(both, torch.cat([encoded(sd15, "a cat").hidden, encoded(sd15, "a dog").hidden]))


@pytest.mark.parametrize("mode", ["None", "Ignore", "Original", "No norm"])
def test_weight_one_is_plain_text(sd15: Checkpoint, mode: str) -> None:
    plain = encoded(sd15, WORDS).hidden
    assert torch.equal(encode(sd15, [Fragment(WORDS, 1.0)], EncodingOptions(emphasis=mode)).hidden, plain)  # type: ignore[arg-type]


def test_ignore_reads_the_syntax_and_drops_the_weights(sd15: Checkpoint) -> None:
    assert torch.equal(encoded(sd15, "a (cat:1.4)", emphasis="Ignore").hidden, encoded(sd15, "a cat").hidden)


def test_none_takes_brackets_as_text(sd15: Checkpoint) -> None:
    assert not torch.equal(encoded(sd15, "a (cat:1.4)", emphasis="None").hidden, encoded(sd15, "a cat").hidden)


def test_no_norm_multiplies_the_emphasised_tokens_alone(sd15: Checkpoint) -> None:
    plain, weighted = encoded(sd15, "a cat").hidden, encoded(sd15, "a (cat:1.5)", emphasis="No norm").hidden
    torch.testing.assert_close(weighted[2], plain[2] * 1.5)
    assert torch.equal(weighted[:2], plain[:2])
    assert torch.equal(weighted[3:], plain[3:])


def test_original_keeps_the_mean_of_each_chunk(sd15: Checkpoint) -> None:
    plain = encoded(sd15, "a cat BREAK a dog").hidden
    weighted = encoded(sd15, "a (cat:1.5) BREAK a dog").hidden
    torch.testing.assert_close(weighted[:77].mean(), plain[:77].mean())
    assert torch.equal(weighted[77:], plain[77:])
    torch.testing.assert_close(weighted[2] / weighted[1], plain[2] / plain[1] * 1.5)


def test_a_chunk_whose_mean_vanishes_keeps_finite_numbers() -> None:
    hidden = torch.tensor([[[1.0, 1.0], [-1.0, -1.0]]])
    assert emphasised(hidden, torch.tensor([[1.0, 1.0 + 1e-9]]), "Original").isfinite().all()
    assert emphasised(hidden, torch.tensor([[2.0, 2.0]]), "Original").isfinite().all()


def test_an_embedding_of_a_words_own_vector_changes_nothing(sd15: Checkpoint) -> None:
    """ "zorp" learned as the vector of "cat" reads as "cat", in a text of any length."""
    table = sd15.components["text_encoder"].get_submodule("embeddings.token_embedding").weight
    (cat,) = sd15.tokenizers["text_encoder"].ids("cat")
    vocabulary = Vocabulary({"zorp": fitted("zorp", {"": table[cat][None].clone()}, sd15)})
    for text in ("a {} on grass", "x " * 74 + "{} {}"):
        learned = encode(sd15, [Fragment(text.format("zorp", "zorp"), 1.0)], vocabulary=vocabulary)
        assert torch.equal(learned.hidden, encode(sd15, [Fragment(text.format("cat", "cat"), 1.0)]).hidden)
    plain = encode(sd15, [Fragment("a zorp", 1.0)]).hidden
    assert torch.equal(encoded(sd15, "a zorp").hidden, plain), "the table answers as before"


def test_an_sdxl_embedding_takes_both_vectors(sdxl: Checkpoint) -> None:
    pair = {"clip_l": torch.randn(2, 16), "clip_g": torch.randn(2, 16)}
    vocabulary = Vocabulary({"zorp": fitted("zorp", pair, sdxl)})
    learned = encode(sdxl, [Fragment("a zorp", 1.0)], vocabulary=vocabulary)
    assert not torch.equal(learned.hidden, encode(sdxl, [Fragment("a zorp", 1.0)]).hidden)
    assert learned.pooled is not None and learned.pooled.isfinite().all()


@pytest.mark.parametrize("vectors", [{"": torch.zeros(1, 9)}, {"clip_g": torch.zeros(1, 16)}, {"": torch.zeros(0, 16)}])
def test_an_embedding_of_another_model_is_refused_by_name(sd15: Checkpoint, vectors: dict[str, Tensor]) -> None:
    with pytest.raises(NetworkError, match="zorp"):
        fitted("zorp", vectors, sd15)


def test_break_alone_is_two_chunks(sd15: Checkpoint) -> None:
    assert encode(sd15, [Break()]).hidden.shape[0] == 2 * 77
