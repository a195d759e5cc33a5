"""What the README shows is so."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from app.cli.parser import command_line, read
from app.generation.request import GenerationRequest
from app.plugins import Extensions, Hooks
from app.settings.model import CHECKOUT

README = (CHECKOUT / "README.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^python3 webui\.py(.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def test_the_extension_it_shows_works(tmp_path: Path) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    (tmp_path / "quality.py").write_text(source, encoding="utf-8")
    extensions = Extensions(tmp_path)
    assert not extensions.problems
    assert extensions.filtered(GenerationRequest(prompt="a cat")).prompt == "a cat, best quality"


def test_every_hook_is_named_with_its_arguments() -> None:
    for name, hook in vars(Hooks).items():
        if not name.startswith("_"):
            arguments = ", ".join(hook.__code__.co_varnames[1 : hook.__code__.co_argcount])
            assert f"`{name}({arguments})`" in README


@pytest.mark.parametrize("command", COMMANDS)
def test_the_commands_it_shows_are_commands(command: str) -> None:
    assert read(command_line(lambda arguments: 0), shlex.split(command)).run


def test_every_part_of_the_app_stands_in_the_tree() -> None:
    tree = README.partition("app/\n")[2].partition("```")[0]
    parts = {
        path.name for path in (CHECKOUT / "app").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists()
    }
    assert parts - {"__init__.py"} == set(re.findall(r"^  ([\w.]+)/? ", tree, re.MULTILINE))
