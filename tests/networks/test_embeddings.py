"""Laws of embeddings: every trainer's layout is the same word; what is no embedding is refused by name and cause."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from app.errors import NetworkError
from app.networks.embeddings import read_embedding

VECTORS = torch.arange(2 * 768, dtype=torch.float32).reshape(2, 768) / 768
LAYOUTS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "AUTOMATIC1111 pickle": (
        ".pt",
        lambda path: torch.save(
            {"string_to_token": {"*": 265}, "string_to_param": {"*": VECTORS}, "name": "x", "step": 5}, path
        ),
    ),
    "AUTOMATIC1111 pickle with parameters": (
        ".pt",
        lambda path: torch.save({"string_to_param": nn.ParameterDict({"*": nn.Parameter(VECTORS)})}, path),
    ),
    "diffusers pickle": (".bin", lambda path: torch.save({"<word>": VECTORS}, path)),
    "emb_params": (".safetensors", lambda path: save_file({"emb_params": VECTORS}, path)),
    "diffusers": (".safetensors", lambda path: save_file({"<word>": VECTORS}, path)),
    "OneTrainer": (".safetensors", lambda path: save_file({"clip_l": VECTORS, "clip_l_out": VECTORS + 1}, path)),
}


@pytest.mark.parametrize(("suffix", "write"), LAYOUTS.values(), ids=LAYOUTS.keys())
def test_every_layout_holds_the_same_vectors(tmp_path: Path, suffix: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / f"my.word{suffix}"
    write(path)
    embedding = read_embedding(path)
    assert embedding.name == "my.word"
    assert list(embedding.vectors) == ["clip_l"]
    assert torch.equal(embedding.vectors["clip_l"], VECTORS)


def test_a_pair_keeps_both_encoders(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"clip_g": torch.ones(2, 1280).half(), "clip_l": VECTORS}, path)
    vectors = read_embedding(path).vectors
    assert {name: (tuple(matrix.shape), matrix.dtype) for name, matrix in vectors.items()} == {
        "clip_l": ((2, 768), torch.float32),
        "clip_g": ((2, 1280), torch.float32),
    }


def test_one_vector_without_an_axis_is_a_row(tmp_path: Path) -> None:
    torch.save({"<word>": torch.ones(1024)}, tmp_path / "a.bin")
    assert read_embedding(tmp_path / "a.bin").vectors["clip_l"].shape == (1, 1024)


WRONG: dict[str, tuple[str, Callable[[Path], None], str]] = {
    "two words": (".bin", lambda path: torch.save({"a": VECTORS, "b": VECTORS}, path), "2 tensors"),
    "nothing": (".pt", lambda path: torch.save({}, path), "no embedding"),
    "a list": (".pt", lambda path: torch.save([1], path), "no embedding"),
    "a cube": (".pt", lambda path: torch.save({"a": torch.ones(1, 2, 3)}, path), "shape"),
    "no vectors": (".pt", lambda path: torch.save({"a": torch.ones(0, 768)}, path), "shape"),
    "whole numbers": (".pt", lambda path: torch.save({"a": torch.ones(1, 768).long()}, path), "int64"),
    "sparse": (".pt", lambda path: torch.save({"a": torch.ones(2, 2).to_sparse()}, path), "stored"),
    "NaN": (".safetensors", lambda path: save_file({"a": VECTORS * float("nan")}, path), "NaN"),
    "counts that differ": (
        ".safetensors",
        lambda path: save_file({"clip_l": VECTORS, "clip_g": torch.ones(3, 1280)}, path),
        "different numbers",
    ),
    "empty": (".pt", lambda path: path.write_bytes(b""), "pickle"),
    "noise": (".pt", lambda path: path.write_bytes(os.urandom(300)), "pickle"),
    "a folder": (".safetensors", lambda path: path.mkdir(), "regular file"),
    "truncated": (".safetensors", lambda path: path.write_bytes(b"\x10\0\0\0\0\0\0\0{"), "truncated"),
}


@pytest.mark.parametrize(("suffix", "write", "cause"), WRONG.values(), ids=WRONG.keys())
def test_what_is_no_embedding_is_one_line_with_the_cause(
    tmp_path: Path, suffix: str, write: Callable[[Path], None], cause: str
) -> None:
    path = tmp_path / f"bad{suffix}"
    write(path)
    with pytest.raises(NetworkError, match=cause) as caught:
        read_embedding(path)
    assert "bad" in str(caught.value)
    assert "\n" not in str(caught.value)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_is_never_executed(tmp_path: Path, save: Callable[[object, Path], None]) -> None:
    save({"string_to_param": {"*": Bomb(tmp_path / "executed")}}, tmp_path / "a.pt")
    with pytest.raises(NetworkError, match="pickle"):
        read_embedding(tmp_path / "a.pt")
    assert not (tmp_path / "executed").exists()
