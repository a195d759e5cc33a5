"""Laws of hashes: they are SHA-256 of the bytes, and editing the metadata changes one of the two."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from app.errors import NetworkError
from app.networks.hashes import CHUNK, hash_file
from app.networks.header import read_header


def hashed(path: Path) -> tuple[str, str]:
    hashes = hash_file(path, read_header(path).data_start)
    assert hashes is not None
    return hashes.autov2, hashes.autov3


@pytest.mark.parametrize("size", [1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_they_are_sha256_of_the_file_and_of_what_follows_its_header(tmp_path: Path, size: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(save({"a": torch.zeros(size, dtype=torch.uint8)}))
    whole = path.read_bytes()
    assert hashed(path) == (hashlib.sha256(whole).hexdigest()[:10], hashlib.sha256(bytes(size)).hexdigest()[:12])


def test_metadata_change_the_first_and_not_the_second_and_are_not_believed(tmp_path: Path) -> None:
    plain, edited = tmp_path / "plain.safetensors", tmp_path / "edited.safetensors"
    save_file({"a": torch.ones(3)}, plain)
    save_file({"a": torch.ones(3)}, edited, {"sshs_model_hash": "0" * 64, "sshs_legacy_hash": "0" * 8})
    assert hashed(plain)[0] != hashed(edited)[0]
    assert hashed(plain)[1] == hashed(edited)[1] != "0" * 12


def test_a_file_without_a_header_has_the_hash_of_the_whole(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(b"abc")
    hashes = hash_file(tmp_path / "a.pt")
    assert hashes is not None and hashes.sha256 == hashes.tensors == hashlib.sha256(b"abc").hexdigest()


def test_files_without_a_tensor_do_not_share_the_hash_of_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"\x02\0\0\0\0\0\0\0{}")
    assert hashed(path)[1] == ""


def test_it_stops_when_told(tmp_path: Path) -> None:
    (tmp_path / "a.pt").write_bytes(bytes(CHUNK))
    assert hash_file(tmp_path / "a.pt", stopped=lambda: True) is None


def test_a_file_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"a\.pt"):
        hash_file(tmp_path / "a.pt")
