"""Laws of `explain`: the record of prompts, and nothing heavy to print it."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from app.__main__ import main
from app.prompt.explain import explain

MINE = """
from app.plugins import NetworkKind, hook

@hook
def network_kinds():
    return [NetworkKind("mine", lambda path: None)]
"""
PROMPT = "a [cat:dog:3] <lora:ink:0.1@1,0.6@6>"


@pytest.fixture(autouse=True)
def _data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATCHBAY_DATA", str(tmp_path))


def test_json_is_the_record_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", PROMPT, "--negative", "bad", "--steps", "8", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == json.loads(json.dumps(explain(PROMPT, "bad", 8)))


def test_the_table_tells_stages_and_strengths(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", PROMPT, "--steps", "8"]) == 0
    said = capsys.readouterr().out
    assert "a cat" in said and "a dog" in said and "0.6" in said


def test_a_batch_answers_each_question_in_order(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    questions = [{"prompt": PROMPT, "negative": "", "steps": 5}, {"prompt": "猫"}]
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(questions)))
    assert main(["explain", "--batch", "-"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [answer["steps"] for answer in told] == [5, 20]
    file = tmp_path / "batch.json"
    file.write_text(json.dumps(questions), encoding="utf-8")
    assert main(["explain", "--batch", str(file)]) == 0
    assert json.loads(capsys.readouterr().out) == told


def test_settings_act_on_what_a_tag_means(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "settings.toml").write_text("[networks]\ndefault_strength = 0.25\nschedule_separator = 'ramp'\n")
    main(["explain", "<lora:a><lora:b:0@1,1@3>", "--steps", "3", "--json"])
    first, second = json.loads(capsys.readouterr().out)["networks"]
    assert first["strengths"]["unet"] == [0.25] * 3
    assert second["strengths"]["unet"] == [0, 0.5, 1]


def test_kinds_of_extensions_are_kinds_of_networks(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "extensions").mkdir()
    (tmp_path / "extensions" / "mine.py").write_text(MINE)
    monkeypatch.setattr("app.cli.studio.CHECKOUT", tmp_path)
    assert main(["explain", "a <mine:x:0.5> <other:y>", "--steps", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert [(network["kind"], network["strengths"]["unet"]) for network in told["networks"]] == [("mine", [0.5, 0.5])]
    assert [problem["level"] for problem in told["problems"]] == ["warning"]


def test_an_error_is_told_on_standard_error_and_exits_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "a <lora:x:1.1.> b", "--json"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out)["problems"] and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("batch", ["{", "{}", "[1]", '[{"prompt": 3}]', '[{"prompt": "x", "steps": 0}]'])
def test_a_batch_that_cannot_be_read_is_one_line(
    batch: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(batch))
    assert main(["explain", "--batch", "-"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and len(err.strip().splitlines()) == 1


@pytest.mark.parametrize("steps", ["0", "-1", "100000"])
def test_steps_out_of_bounds_are_one_line(steps: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "x", "--steps", steps]) == 1
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_explaining_needs_no_torch() -> None:
    code = "import sys, app.__main__ as it; it.main(['explain', 'a <lora:x:1>']); assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
