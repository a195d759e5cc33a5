"""Laws of `networks list` and `networks show`: JSON alone on standard output, problems on the other, and no torch."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import safe_open

from app.__main__ import main
from app.networks.header import read_header
from tests.networks.library import lora, note

KEYS = {"name", "path", "kind", "base_model", "reason", "algorithms", "components", "rank", "alpha"}
KEYS |= {"trigger_words", "tag_frequency", "hash", "size", "problems"}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path / "data"))
    lora(tmp_path / "loras" / "a" / "ink.safetensors", {"ss_tag_frequency": '{"d": {"brush": 3, "paper": 1}}'})
    (tmp_path / "loras" / "bad.safetensors").write_bytes(b"")
    return tmp_path / "loras"


def test_list_prints_every_file_as_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["networks", "list", "--dir", str(folder), "--json", "--hash"]) == 0
    ink, bad = json.loads(capsys.readouterr().out)
    assert ink.keys() >= KEYS | {"metadata"}
    assert len(ink["hash"]) == 12
    assert (ink["name"], ink["rank"], ink["alpha"], ink["base_model"]) == ("a/ink", 2, 1.5, "sd15")
    assert [problem["message"] for problem in bad["problems"]] == ["The file is empty."]


def test_show_tells_all_of_a_path_or_of_a_name(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / "a" / "ink.safetensors"
    answers = []
    for arguments in ([str(path)], ["ink", "--dir", str(folder)]):
        assert main(["networks", "show", *arguments, "--json"]) == 0
        answers.append(json.loads(capsys.readouterr().out))
    by_path, by_name = answers
    assert by_path | {"name": "a/ink", "folder": "a"} == by_name
    assert by_path.keys() >= KEYS | {"metadata"}
    with safe_open(path, "pt") as file:
        assert by_path["metadata"] == file.metadata()
    data = path.read_bytes()[read_header(path).data_start :]
    assert by_path["hash"] == by_path["autov3"] == hashlib.sha256(data).hexdigest()[:12]
    assert by_path["autov2"] == hashlib.sha256(path.read_bytes()).hexdigest()[:10]
    assert by_path["tag_frequency"] == {"brush": 3, "paper": 1}


def test_a_broken_file_is_shown_with_its_problem_and_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["networks", "show", str(folder / "bad.safetensors"), "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"][0]["message"] == "The file is empty."
    assert err.count("\n") == 1 and "bad.safetensors" in err


@pytest.mark.parametrize("arguments", [["show", "nothing"], ["list", "--dir", "/nowhere/at/all"]])
def test_what_is_not_there_is_one_line_and_exits_with_1(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    assert main(["networks", *arguments]) == 1
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)


@pytest.mark.parametrize("arguments", [["list"], ["show", "ink"]])
def test_what_is_printed_for_reading_cannot_command_the_terminal(
    folder: Path, capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    lora(folder / "ink\x1b[31m.safetensors", {"modelspec.title": "[bold]x[/] \x1b[2J"})
    note(folder / "a" / "ink.json", {"activation text": "[red]brush\x1b]0;x\x07"})
    assert main(["networks", *arguments, "--dir", str(folder)]) == 0
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\x07" not in out
    assert "[red]brush" in out


def test_neither_imports_torch(folder: Path) -> None:
    program = "import sys; from app.__main__ import main; status = main(sys.argv[1:]); sys.exit('torch' in sys.modules)"
    for arguments in (["list", "--dir", str(folder)], ["show", str(folder / "a" / "ink.safetensors")]):
        subprocess.run([sys.executable, "-c", program, "networks", *arguments], check=True, capture_output=True)


def test_check_tells_what_has_a_place_on_the_model(
    folder: Path, models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from app.diffusion.device import CPU
    from app.diffusion.loading import load_checkpoint
    from tests.engine.conftest import write_lora

    unet = load_checkpoint(models / "checkpoints" / "tiny", CPU).components["unet"]
    write_lora(folder / "fits.safetensors", unet, "lora_unet", seed=1)
    shown = []
    for model in ("tiny", str(models / "checkpoints" / "tiny")):
        arguments = ["fits", "--dir", str(folder), "--models", str(models), "--model", model, "--json"]
        assert main(["networks", "check", *arguments]) == 0
        shown.append(json.loads(capsys.readouterr().out))
    assert shown[0] == shown[1]
    assert shown[0].keys() >= KEYS
    assert shown[0]["matched"] == sum(shown[0]["algorithms"].values())
    assert (shown[0]["unmatched"], shown[0]["mismatched"], shown[0]["model_family"]) == ([], [], "sd15")


@pytest.mark.parametrize("name", ["ink", "nan", "bad"])
def test_check_says_why_a_file_cannot_be_used(
    folder: Path, models: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    lora(folder / "nan.safetensors", fill=float("nan"))
    arguments = [name, "--dir", str(folder), "--models", str(models), "--model", "tiny", "--json"]
    assert main(["networks", "check", *arguments]) == 1
    out, err = capsys.readouterr()
    told = json.loads(out)
    assert any(problem["level"] == "error" for problem in told["problems"])
    assert err
    if name == "ink":  # it is 768 wide, and the small model is not
        assert (told["matched"], len(told["mismatched"]) + len(told["unmatched"])) == (0, 1)
