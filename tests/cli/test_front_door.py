"""Laws of webui.py, in a small project of its own: one wheel to install, and an `app` that says how it was called."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
APP = """
import json, os, sys
try:
    import tiny
    version = tiny.VERSION
except ImportError:
    version = None
print(json.dumps({"arguments": sys.argv[1:], "cwd": os.getcwd(), "tiny": version, "prefix": sys.prefix}))
sys.exit(7 if "seven" in sys.argv else 0)
"""


class Project:
    """A checkout with webui.py, and starts of it."""

    def __init__(self, folder: Path) -> None:
        self.said: list[str] = []
        self.folder = folder / "checkout with blanks"
        (self.folder / "app").mkdir(parents=True)
        shutil.copy(ROOT / "webui.py", self.folder)
        (self.folder / "app" / "__main__.py").write_text(APP)
        self.elsewhere = folder / "elsewhere"
        (self.elsewhere / "app").mkdir(parents=True)
        (self.elsewhere / "app" / "__main__.py").write_text("raise SystemExit('the wrong app')")

    def require(self, *requirements: str, extra: str = "") -> None:
        lines = ["[project]", f"dependencies = {json.dumps(requirements)}", "[project.optional-dependencies]"]
        lines += [f"test = {json.dumps([extra] if extra else [])}"]
        (self.folder / "pyproject.toml").write_text("\n".join(lines))

    def wheel(self, name: str, version: str) -> str:
        """A requirement on a wheel that is written here."""
        path = self.folder / f"{name}-{version}-py3-none-any.whl"
        info = f"{name}-{version}.dist-info"
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
            wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
            wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
            wheel.writestr(f"{info}/RECORD", "")
        return f"{name} @ {path.as_uri()}"

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.Popen(
            [sys.executable, str(self.folder / "webui.py"), *arguments],
            cwd=self.elsewhere,
            env={**environment, "PIP_NO_INDEX": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def start(self, *arguments: str) -> tuple[int, list[str]]:
        """Exit status and output of one start."""
        with self.begin(*arguments) as process:
            said = process.communicate(timeout=300)[0]
        return process.returncode, said.splitlines()


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that is set up already."""
    made = Project(tmp_path_factory.mktemp("front door"))
    made.require(made.wheel("tiny", "1.0"))
    status, made.said = made.start()
    assert status == 0, made.said
    return made


def test_the_first_start_says_what_it_does_and_runs_the_app_in_its_environment(project: Project) -> None:
    said = project.said
    told = json.loads(said[-1])
    assert said[0].startswith("Setting up") and said[-2].startswith("Set up in")
    assert told["tiny"] == "1.0"
    assert Path(told["prefix"]) == project.folder / ".venv"


def test_the_app_gets_the_callers_folder_and_the_arguments_after_the_front_doors_own(project: Project) -> None:
    status, said = project.start("--xformers", "generate", "a cat", "--torch", "x", "seven")
    told = json.loads(said[-1])
    assert status == 7
    assert told["arguments"] == ["generate", "a cat", "--torch", "x", "seven"]
    assert Path(told["cwd"]) == project.elsewhere


def test_with_everything_in_place_nothing_is_said_and_nothing_is_done(project: Project) -> None:
    project.start()
    before = made(project)
    status, said = project.start()
    assert status == 0 and len(said) == 1
    assert made(project) == before


def made(project: Project) -> dict[Path, int]:
    """What is in the environment, and when it was written. A compiled module may come with any start."""
    files = (path for path in (project.folder / ".venv").rglob("*") if "__pycache__" not in path.parts)
    return {path: path.lstat().st_mtime_ns for path in files}


def test_a_changed_requirement_is_installed_and_a_failing_one_is_told_and_mended(project: Project) -> None:
    project.require(project.wheel("tiny", "2.0"))
    assert json.loads(project.start()[1][-1])["tiny"] == "2.0"
    project.require("no-such-package-anywhere==1")
    status, said = project.start()
    assert status == 1 and any("no-such-package-anywhere" in line for line in said)
    assert "failed" in said[-1] and not any("Traceback" in line for line in said)
    assert project.start()[0] == 1
    project.require(project.wheel("tiny", "3.0"))
    assert json.loads(project.start()[1][-1])["tiny"] == "3.0"


def test_the_tests_extra_is_installed_by_test_and_stays(project: Project) -> None:
    project.require(project.wheel("tiny", "3.0"), extra=project.wheel("probe", "1.0"))
    status, said = project.start("test", "-k", "x")
    assert status == 0 and json.loads(said[-1])["arguments"] == ["test", "-k", "x"]
    assert list((project.folder / ".venv").rglob("probe.py"))
    assert len(project.start()[1]) == 1


def test_a_set_up_that_was_cut_off_is_completed(project: Project) -> None:
    stamp = project.folder / ".venv" / "patchbay.json"
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "digest": "", "interrupted": True}))
    for module in (project.folder / ".venv").rglob("site-packages/pip"):
        shutil.rmtree(module)
    status, said = project.start()
    assert status == 0, said
    assert json.loads(said[-1])["tiny"] == "3.0"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_two_starts_at_once_and_one_interrupted_leave_a_whole_environment(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.require(project.wheel("tiny", "1.0"))
    with project.begin() as cut:
        assert cut.stdout
        cut.stdout.readline()
        os.killpg(cut.pid, signal.SIGKILL)
    with project.begin() as one, project.begin() as other:
        said = [process.communicate(timeout=300)[0].splitlines() for process in (one, other)]
    assert one.returncode == other.returncode == 0, said
    assert all(json.loads(lines[-1])["tiny"] == "1.0" for lines in said)
    assert sum(any(line.startswith("Set up in") for line in lines) for lines in said) == 1


def test_no_venv_uses_this_python_and_names_what_it_lacks(tmp_path: Path) -> None:
    project = Project(tmp_path)
    project.require("pytest>=1", "no_such_package_anywhere[x]==1")
    status, said = project.start("--no-venv", "x")
    assert status == 1 and len(said) == 1 and "no_such_package_anywhere" in said[0] and "pytest" not in said[0]
    project.require("pytest>=1")
    status, said = project.start("--no-venv", "x")
    assert (status, json.loads(said[-1])["arguments"]) == (0, ["x"])
    assert not (project.folder / ".venv").exists()


@pytest.mark.parametrize(
    "options", [["--torch"], ["--torch", "--xformers"], ["--torch=$(x)"], ["--no-venv", "--xformers"]]
)
def test_options_that_cannot_be_are_one_line(tmp_path: Path, options: list[str]) -> None:
    status, said = Project(tmp_path).start(*options)
    assert status == 2 and len(said) == 1
