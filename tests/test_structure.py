"""Laws of the code itself: who imports whom, what is imported early, and how large things grow."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import app

ROOT = Path(__file__).resolve().parent.parent
SOURCES = [*sorted((ROOT / "app").rglob("*.py")), ROOT / "webui.py"]
LINES, FUNCTION_LINES, PARAMETERS = 300, 60, 6
LARGEST_FILE = 45 * 2**20
HEAVY = ("torch", "diffusers", "transformers", "peft")
# Written apart, so that this file does not name one either.
REGISTRIES = (
    ("pypi", "org"),
    ("pythonhosted", "org"),
    ("pytorch", "org/whl"),
    ("npmjs", "org"),
    ("debian", "org/debian"),
)


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *command], cwd=ROOT, capture_output=True, text=True, check=False)


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("this is not a git checkout")
    return [path for name in listed.stdout.decode().split("\0") if name and (path := ROOT / name).is_file()]


@pytest.mark.parametrize(
    "command", [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)], ids="-".join
)
def test_the_code_passes(command: tuple[str, ...]) -> None:
    checked = run("-m", *command)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_imports_point_downward() -> None:
    checked = run("-c", "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())")
    assert checked.returncode == 0, checked.stdout + checked.stderr


@pytest.mark.parametrize(
    "module",
    ["app.__main__", "app.cli.generate", "app.cli.explain", "app.api.routes", "app.plugins", "app.settings"],
)
def test_a_command_starts_without_what_only_generating_needs(module: str) -> None:
    code = f"import sys, {module}; print(*(name for name in {(*HEAVY, 'gradio')} if name in sys.modules))"
    assert run("-c", code).stdout.split() == []


def test_the_page_is_built_before_torch_is_imported(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from app.cli.studio import load_extensions, open_engine; from app.settings import SettingsStore\n"
        "from app.server.application import application\n"
        f"settings = SettingsStore(Path({str(tmp_path)!r}))\n"
        "application(open_engine(settings, load_extensions()), settings)\n"
        f"print(*(name for name in {HEAVY} if name in sys.modules))"
    )
    built = run("-c", code)
    assert built.returncode == 0, built.stderr
    assert built.stdout.split() == []


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_files_and_functions_stay_small(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= LINES
    for function in functions(ast.parse(text)):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        arguments = function.args
        own = [each for each in [*arguments.posonlyargs, *arguments.args] if each.arg not in ("self", "cls")]
        assert length <= FUNCTION_LINES, f"{function.name} has {length} lines"
        # A GPU kernel's parameters are its pointers and sizes, one by one.
        is_kernel = any("jit" in ast.unparse(decorator) for decorator in function.decorator_list)
        assert is_kernel or len(own) + len(arguments.kwonlyargs) <= PARAMETERS, f"{function.name} has too many"


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def test_no_file_names_a_package_registry() -> None:
    for path in tracked():
        content = path.read_bytes().lower()
        for registry in REGISTRIES:
            assert ".".join(registry).encode() not in content, f"{path} names a registry"


def test_no_tracked_file_is_larger_than_a_host_takes() -> None:
    assert [path for path in tracked() if path.stat().st_size > LARGEST_FILE] == []


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == app.__version__


def test_the_front_door_needs_the_standard_library_alone() -> None:
    tree = ast.parse((ROOT / "webui.py").read_text(encoding="utf-8"))
    named = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    named |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name.partition(".")[0] for name in named} <= sys.stdlib_module_names
