"""Laws of the safetensors header: what the library writes is read back; what cannot be is refused by name and cause."""

from __future__ import annotations

import json
import os
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save, save_file

from app.errors import NetworkError
from app.networks.header import HEADER_LIMIT, read_header

DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16, "I64": torch.int64, "BOOL": torch.bool}
DTYPES |= {"F8_E4M3": torch.float8_e4m3fn, "U8": torch.uint8}
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NAMES = TEXT.filter(lambda name: name != "__metadata__")
SHAPES = st.lists(st.integers(0, 3), max_size=4)
GOOD = {"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}


def write(path: Path, header: object, data: bytes = b"") -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


def entry(dtype: object = "F32", shape: object = (2,), offsets: object = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@given(
    st.dictionaries(NAMES, st.tuples(st.sampled_from(sorted(DTYPES)), SHAPES), min_size=1, max_size=6),
    st.dictionaries(TEXT, TEXT, max_size=4),
)
def test_what_the_library_writes_is_what_the_header_says(
    tmp_path_factory: pytest.TempPathFactory, tensors: dict[str, tuple[str, list[int]]], metadata: dict[str, str]
) -> None:
    data = {name: torch.zeros(shape, dtype=DTYPES[dtype]) for name, (dtype, shape) in tensors.items()}
    path = tmp_path_factory.mktemp("header") / "a.safetensors"
    path.write_bytes(save(data, metadata))
    header = read_header(path)
    assert header.metadata == metadata
    assert header.size == path.stat().st_size
    assert {name: (info.dtype, list(info.shape)) for name, info in header.tensors.items()} == tensors
    assert sum(info.end - info.begin for info in header.tensors.values()) == header.size - header.data_start


def test_the_offsets_point_at_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"a": torch.tensor([1.0, 2.0]), "b": torch.tensor([3], dtype=torch.int64)}, path)
    header = read_header(path)
    start, end = header.tensors["a"].begin + header.data_start, header.tensors["a"].end + header.data_start
    assert struct.unpack("<2f", path.read_bytes()[start:end]) == (1.0, 2.0)


def test_a_header_padded_with_spaces_is_read(tmp_path: Path) -> None:
    assert read_header(write(tmp_path / "a", json.dumps(GOOD).encode() + b" " * 7, bytes(8))).shapes == {"a": (2,)}


CORRUPT: dict[str, tuple[object, bytes, str]] = {
    "overlap": (GOOD | {"b": entry(offsets=[4, 12])}, bytes(12), "overlaps"),
    "gap": (GOOD | {"b": entry(offsets=[12, 20])}, bytes(20), "gap"),
    "truncated data": (GOOD, bytes(7), "truncated"),
    "bytes left over": (GOOD, bytes(9), "1 bytes follow"),
    "wrong size": ({"a": entry(shape=[3])}, bytes(8), "8 bytes"),
    "unknown dtype": ({"a": entry(dtype="F31")}, bytes(8), "unknown dtype"),
    "dtype of another type": ({"a": entry(dtype=7)}, bytes(8), "unknown dtype"),
    "negative shape": ({"a": entry(shape=[-2])}, bytes(8), "impossible shape"),
    "fractional shape": ({"a": entry(shape=[2.0])}, bytes(8), "whole number"),
    "a text for offsets": ({"a": entry(offsets="ab")}, bytes(8), "impossible offsets"),
    "a shape that is a word": ({"a": entry(shape="[2]")}, bytes(8), "impossible shape"),
    "a shape that only prints like another": (GOOD | {"b": entry(shape=["2"])}, bytes(8), "impossible shape"),
    "boolean shape": ({"a": entry(shape=[True, 2])}, bytes(8), "impossible shape"),
    "absurd shape": ({"a": entry(shape=[2**64, 0])}, bytes(8), "impossible shape"),
    "too many dimensions": ({"a": entry(shape=[1] * 1000)}, bytes(8), "impossible shape"),
    "offsets reversed": ({"a": entry(offsets=[8, 0])}, bytes(8), "impossible offsets"),
    "offsets negative": ({"a": entry(offsets=[-8, 0])}, bytes(8), "impossible offsets"),
    "three offsets": ({"a": entry(offsets=[0, 4, 8])}, bytes(8), "lacks"),
    "an entry that is a number": ({"a": 7}, b"", "lacks"),
    "a list": ([], b"", "not a JSON object"),
    "metadata not strings": ({"__metadata__": {"a": 1}}, b"", "not all strings"),
    "metadata a list": ({"__metadata__": []}, b"", "not all strings"),
    "NaN": (b'{"a": NaN}', b"", "NaN"),
    "not JSON": (b"{]", b"", "JSON"),
    "not UTF-8": (b'{"\xff": 1}', b"", "UTF-8"),
    "half a character": (b'{"__metadata__": {"a": "\\uD800"}}', b"", "JSON"),
    "deep": (b"[" * 10_000 + b"]" * 10_000, b"", "deeply"),
    "deep in an object": (b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b"", "deeply"),
    "deep without an end": (b"[" * 1_000_000, b"", "deeply"),
    "a number of 5,000 digits": (b'{"a": ' + b"9" * 5000 + b"}", b"", "JSON"),
}


@pytest.mark.parametrize(("header", "data", "cause"), CORRUPT.values(), ids=CORRUPT.keys())
def test_a_corrupt_header_is_one_line_naming_the_file_and_the_cause(
    tmp_path: Path, header: object, data: bytes, cause: str
) -> None:
    with pytest.raises(NetworkError, match=cause) as caught:
        read_header(write(tmp_path / "bad.safetensors", header, data))
    assert "bad.safetensors" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = save({"a": torch.zeros(2, 3), "b": torch.zeros(1)}, {"k": "v"})
    for length in range(len(whole)):
        path = tmp_path / f"{length}.safetensors"
        path.write_bytes(whole[:length])
        with pytest.raises(NetworkError):
            read_header(path)


@given(st.binary(max_size=200))
def test_no_bytes_do_anything_but_parse_or_be_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("noise") / "a.safetensors"
    path.write_bytes(data)
    try:
        read_header(path)
    except NetworkError as error:
        assert error.where == str(path)


@pytest.mark.parametrize("length", [HEADER_LIMIT + 1, 2**63, 2**64 - 1])
def test_an_absurd_header_length_is_refused_without_reading_it(tmp_path: Path, length: int) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(struct.pack("<Q", length) + b"{}")
    with pytest.raises(NetworkError, match=str(length)):
        read_header(path)


def test_other_files_renamed_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.pkl", b"")
    with pytest.raises(NetworkError, match="zip"):
        read_header(path)
    path.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(NetworkError, match="pickle"):
        read_header(path)
    path.write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    with pytest.raises(NetworkError, match="LFS"):
        read_header(path)
    path.write_bytes(b"")
    with pytest.raises(NetworkError, match="empty"):
        read_header(path)


def test_what_is_not_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match="not a regular file"):
        read_header(tmp_path)
    with pytest.raises(NetworkError, match="cannot be read"):
        read_header(tmp_path / "missing.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no named pipes in folders")
def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.safetensors")
    with pytest.raises(NetworkError, match="not a regular file"):
        read_header(tmp_path / "a.safetensors")
