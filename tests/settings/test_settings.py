"""Laws of the settings and their file."""

import os
import subprocess
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from app.errors import SettingsError, StorageError
from app.generation.request import GenerationRequest
from app.settings import Settings, SettingsStore


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PATCHBAY_"):
            monkeypatch.delenv(name)


def test_a_change_is_there_after_a_restart(tmp_path: Path) -> None:
    SettingsStore(tmp_path).change({"networks.loader": "diffusers", "networks.extra_folders": ["/a", "b"]})
    again = SettingsStore(tmp_path).current.networks
    assert (again.loader, again.extra_folders) == ("diffusers", (Path("/a"), Path("b")))


def test_only_what_was_edited_is_written_and_comments_stay(tmp_path: Path) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("# mine\n[networks]\ncard_size = 200 # large\n")
    SettingsStore(tmp_path, {"device.dtype": "fp32"}).change({"networks.names": "alias"})
    assert file.read_text() == '# mine\n[networks]\ncard_size = 200 # large\nnames = "alias"\n'


def test_a_value_comes_from_the_command_line_else_the_environment_else_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SettingsStore(tmp_path).change({"device.dtype": "fp16", "networks.card_size": 100, "server.port": 1})
    monkeypatch.setenv("PATCHBAY_DEVICE__DTYPE", "bf16")
    monkeypatch.setenv("PATCHBAY_SERVER__PORT", "2")
    store = SettingsStore(tmp_path, {"server.port": 3})
    assert (store.current.server.port, store.current.device.dtype, store.current.networks.card_size) == (
        3,
        "bf16",
        100,
    )
    assert store.locked == {"server.port", "device.dtype"}


def test_a_pinned_key_is_locked_and_never_reaches_the_file(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path, {"device.dtype": "fp32"})
    with pytest.raises(SettingsError):
        store.change({"device.dtype": "fp16"})
    store.change({"networks.card_size": 100})
    assert "dtype" not in store.path.read_text()
    assert store.current.device.dtype == "fp32"


def test_a_reset_key_is_its_default_again_and_leaves_the_file(tmp_path: Path) -> None:
    store = SettingsStore(tmp_path)
    store.change({"networks.card_size": 100})
    assert store.reset(["networks.card_size"]) == Settings()
    assert store.path.read_text().strip() == ""


BAD: list[tuple[str, Any]] = [
    ("networks.default_strength", float("nan")),
    ("networks.default_strength", 1e99),
    ("networks.loader", "magic"),
    ("networks.nothing", 1),
    ("nothing", 1),
    ("generation.steps", "many"),
    ("generation.width", 513),
    ("device.device", "cuda; rm"),
    ("server.port", 10**30),
]


@pytest.mark.parametrize(("key", "value"), BAD)
def test_a_value_that_cannot_be_is_one_line_that_names_the_key_and_changes_nothing(
    tmp_path: Path, key: str, value: object
) -> None:
    store = SettingsStore(tmp_path)
    with pytest.raises(SettingsError) as caught:
        store.change({"networks.card_size": 100, key: value})
    assert key in str(caught.value) and "\n" not in str(caught.value)
    assert store.current == Settings() and not store.path.exists()


@pytest.mark.parametrize(
    "text", ["[networks", "networks = 3", "[networks]\nloader = 'magic'", "\0", "[server]\nport='x'"]
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "settings.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        SettingsStore(tmp_path)
    assert "\n" not in str(caught.value)


def test_an_unknown_key_in_the_file_is_reported_and_kept(tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[networks]\nfrom_the_future = 1\n")
    store = SettingsStore(tmp_path)
    assert "networks.from_the_future" in str(store.problems[0])
    store.change({"networks.card_size": 100})
    assert "from_the_future" in store.path.read_text()


def test_an_environment_variable_that_cannot_be_used_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATCHBAY_SERVER__HOSTS", "not json")
    with pytest.raises(SettingsError):
        SettingsStore(tmp_path)


def test_a_file_that_cannot_be_written_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises((StorageError, SettingsError)):
        SettingsStore(tmp_path / "file").change({"networks.card_size": 100})


def test_every_default_of_a_request_is_a_setting() -> None:
    asked = {field.name for field in fields(GenerationRequest)} - {"init_image"}
    generation = set(type(Settings().generation).model_fields)
    assert generation <= asked <= generation | set(type(Settings().networks).model_fields)
    assert GenerationRequest(**Settings().generation.model_dump()) == GenerationRequest()


def test_every_setting_has_a_title_for_the_settings_tab() -> None:
    for section in Settings.model_fields.values():
        assert section.title
        assert all(field.title for field in section.annotation.model_fields.values())  # type: ignore[union-attr]


def test_folders_of_other_web_uis_are_found_too(tmp_path: Path) -> None:
    models = tmp_path / "models"
    for name in ("Stable-diffusion", "Lora", "LyCORIS", "VAE", "hypernetworks"):
        (models / name).mkdir(parents=True)
    folders = SettingsStore(tmp_path, {"paths.models": models, "networks.extra_folders": ["more", "more"]}).folders
    assert folders.checkpoints == (models / "checkpoints", models / "Stable-diffusion")
    assert folders.loras == (models / "loras", models / "Lora", models / "LyCORIS", tmp_path / "more")
    assert folders.outputs == tmp_path / "outputs"


def test_a_folder_reached_twice_is_listed_once(tmp_path: Path) -> None:
    (tmp_path / "models" / "loras").mkdir(parents=True)
    (tmp_path / "other").symlink_to(tmp_path / "models" / "loras")
    folders = SettingsStore(tmp_path, {"paths.models": "models", "networks.extra_folders": ["other"]}).folders
    assert folders.loras == (tmp_path / "models" / "loras",)


def test_the_data_folder_is_the_one_the_environment_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path))
    assert SettingsStore().data == tmp_path


def test_settings_need_no_torch() -> None:
    code = "import app.settings, app.generation.png, app.generation.infotext, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
