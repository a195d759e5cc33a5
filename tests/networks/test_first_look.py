"""A first look at a large library is seen while it goes on; what is asked for meanwhile is not waited for."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch

from app.errors import NetworkError
from app.networks.catalog import Catalog, SoFar
from app.networks.first_look import FirstLook
from app.networks.record import NOT_READ, inspect
from app.networks.scan import Scan
from tests.networks.files_made import written

TENSORS = {
    "lora_unet_layer.lora_down.weight": torch.zeros(2, 8),
    "lora_unet_layer.lora_up.weight": torch.zeros(8, 2),
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Some networks, two of one bare name."""
    root = tmp_path / "loras"
    for name in ("ink", "a/same", "b/same"):
        path = root / f"{name}.safetensors"
        path.parent.mkdir(parents=True, exist_ok=True)
        written(path, TENSORS, {"ss_output_name": f"{path.stem}-v1", "modelspec.trigger_phrase": "words"})
    (root / "broken.safetensors").write_bytes(b"no network")
    return root


def whole(catalog: Catalog) -> SoFar:
    """What is known once the first look is over."""
    end = time.monotonic() + 60
    while not (found := catalog.so_far()).is_whole:
        assert time.monotonic() < end
        time.sleep(0.005)
    return found


def test_it_begins_by_itself_and_ends_with_what_entries_say(folder: Path, tmp_path: Path) -> None:
    catalog = Catalog((folder,), "lora", tmp_path / "index.sqlite")
    found = whole(catalog)
    assert found.files == catalog.entries()
    assert found.read == found.total == 4
    again = Catalog((folder,), "lora", tmp_path / "index.sqlite")
    assert whole(again).files == catalog.entries()


def test_names_are_there_before_any_file_is_read(folder: Path) -> None:
    look = FirstLook(Scan((folder,), "lora").found, "lora")
    assert [file.name for file in look.files] == ["a/same", "b/same", "broken", "ink"]
    assert all(file.reason == NOT_READ and file.trigger_words == () for file in look.files)
    assert (look.read, look.total) == (0, 4)


def test_what_is_read_takes_the_place_of_the_name(folder: Path) -> None:
    found = Scan((folder,), "lora").found
    look = FirstLook(found, "lora")
    ink = next(entry for entry in found if entry.name == "ink")
    look.add({ink.path: inspect(ink, "lora")})
    assert look.read == 1 and len(look.files) == 4
    assert next(file for file in look.files if file.name == "ink").trigger_words == ("words",)


def test_one_that_is_asked_for_is_read_at_once(folder: Path) -> None:
    found = Scan((folder,), "lora").found
    look = FirstLook(found, "lora")
    named = look.find("ink")
    assert named is not None and named.trigger_words == ("words",)
    assert look.whole(look.files[-1]) == named


def test_what_only_the_files_can_tell_is_not_guessed(folder: Path) -> None:
    look = FirstLook(Scan((folder,), "lora").found, "lora")
    for name in ("ink-v1", "same", "nothing"):  # an alias, two files, none
        assert look.find(name) is None


def test_a_catalogue_answers_the_same_during_and_after_the_first_look(folder: Path, tmp_path: Path) -> None:
    catalog = Catalog((folder,), "lora", tmp_path / "index.sqlite")
    assert catalog.find("ink-v1").name == "ink"
    assert catalog.find("b/same").name == "b/same"
    with pytest.raises(NetworkError, match="Several"):
        catalog.find("same")
    with pytest.raises(NetworkError) as missing:
        catalog.find("inc")
    assert missing.value.near == ("ink",)


def test_files_that_come_later_are_in_the_next_look(folder: Path, tmp_path: Path) -> None:
    catalog = Catalog((folder,), "lora", tmp_path / "index.sqlite")
    whole(catalog)
    written(folder / "new.safetensors", TENSORS)
    catalog.refresh()
    assert "new" in [file.name for file in catalog.so_far().files]
