"""Laws of sidecars: what is written is read, other programs' keys stay, a bad file is said and never overwritten."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import StorageError
from app.networks.sidecar import KEYS, Sidecar, beside, read_sidecar, write_sidecar
from tests.networks.library import note

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
OTHERS = st.dictionaries(
    TEXT.filter(lambda key: key not in KEYS.values()),
    st.none() | st.booleans() | st.integers() | TEXT | st.lists(st.floats(allow_nan=False), max_size=3),
    max_size=3,
)
SIDECARS = st.builds(Sidecar, TEXT, TEXT, TEXT, st.floats(allow_nan=False, allow_infinity=False), TEXT, TEXT, OTHERS)


@given(SIDECARS)
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, sidecar: Sidecar) -> None:
    network = tmp_path_factory.mktemp("sidecar") / "my.net.safetensors"
    path = write_sidecar(network, sidecar)
    assert path.name == "my.net.json"
    assert read_sidecar(network) == (sidecar, ())


@given(OTHERS)
def test_keys_of_other_programs_are_kept(tmp_path_factory: pytest.TempPathFactory, others: dict[str, object]) -> None:
    network = tmp_path_factory.mktemp("sidecar") / "a.safetensors"
    note(beside(network, ".json"), others | {"notes": "old"})
    sidecar, _ = read_sidecar(network)
    write_sidecar(network, Sidecar(notes="new", others=sidecar.others))
    written = json.loads(beside(network, ".json").read_text(encoding="utf-8"))
    assert {key: written[key] for key in others} == others
    assert written["notes"] == "new"


def test_the_file_is_the_one_that_the_web_uis_share(tmp_path: Path) -> None:
    write_sidecar(tmp_path / "a.safetensors", Sidecar("d", "SDXL", "w é", 0.8, "n", "m"))
    assert (tmp_path / "a.json").read_text(encoding="utf-8") == (
        '{\n    "description": "d",\n    "sd version": "SDXL",\n    "activation text": "w é",\n'
        '    "preferred weight": 0.8,\n    "negative text": "n",\n    "notes": "m"\n}'
    )


def test_a_value_of_the_wrong_type_is_said_left_out_and_kept(tmp_path: Path) -> None:
    network = tmp_path / "a.safetensors"
    note(tmp_path / "a.json", {"description": ["x"], "preferred weight": "high", "notes": "n"})
    sidecar, problems = read_sidecar(network)
    assert (sidecar.description, sidecar.preferred_weight, sidecar.notes) == ("", 0.0, "n")
    assert len(problems) == 2
    write_sidecar(network, sidecar)
    written = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))
    assert (written["description"], written["preferred weight"]) == (["x"], "high")


@pytest.mark.parametrize(("value", "expected"), [(1, 1.0), ("0.7", 0.7), (-0.5, -0.5), (0, 0.0)])
def test_a_weight_may_be_a_number_or_the_text_of_one(tmp_path: Path, value: object, expected: float) -> None:
    note(tmp_path / "a.json", {"preferred weight": value})
    sidecar, problems = read_sidecar(tmp_path / "a.safetensors")
    assert (sidecar.preferred_weight, problems) == (expected, ())


@pytest.mark.parametrize("text", ["NaN", "Infinity", "1e999", '"nan"', "true", "[]", "9" * 4000])
def test_a_weight_that_is_no_number_is_said(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(f'{{"preferred weight": {text}}}')
    sidecar, problems = read_sidecar(tmp_path / "a.safetensors")
    assert (sidecar.preferred_weight, len(problems)) == (0.0, 1)


BAD = [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b"3", b'{"a": "' + b"x" * 5_000_000 + b'"}']


@pytest.mark.parametrize("content", BAD, ids=range(len(BAD)))
def test_a_bad_file_is_one_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    sidecar, problems = read_sidecar(tmp_path / "a.safetensors")
    assert (sidecar, len(problems), problems[0].source) == (Sidecar(), 1, str(tmp_path / "a.json"))


def test_half_a_character_does_not_stop_reading_or_writing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"notes": "x\\ud800", "other": "\\udfff"}')
    sidecar, _ = read_sidecar(tmp_path / "a.safetensors")
    sidecar.notes.encode()
    write_sidecar(tmp_path / "a.safetensors", sidecar)
    assert json.loads((tmp_path / "a.json").read_bytes())["other"] == "\udfff"


def test_a_folder_and_a_name_with_dots_have_their_own_files() -> None:
    assert beside(Path("x/my.lora.v1.safetensors"), ".json") == Path("x/my.lora.v1.json")
    assert beside(Path("x/peft.v1"), ".json") == Path("x/peft.v1.json")


@pytest.mark.skipif(sys.platform == "win32" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StorageError, match=r"a\.json"):
        write_sidecar(tmp_path / "a.safetensors", Sidecar(notes="x"))


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(StorageError, match=r"a\.json"):
        write_sidecar(tmp_path / "a.safetensors", Sidecar(notes="x"))
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
