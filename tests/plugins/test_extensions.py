"""Laws of extensions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from app.errors import ExtensionError, RequestError
from app.generation.request import GenerationRequest
from app.plugins import Extensions, hook

LOUD = """
from dataclasses import dataclass, replace
from app.plugins import hook

@dataclass
class Loud:
    mark: str = "{mark}"

    def __call__(self, request):
        return replace(request, prompt=request.prompt + self.mark)

@hook
def request_filters():
    return [Loud()]
"""
ROUTE = """
from fastapi import APIRouter
from app.plugins import hook

router = APIRouter()

@router.get("/hello")
def hello():
    return "hello"

@hook
def api_routes():
    return [router]
"""
BROKEN = {
    "raises": "raise RuntimeError('line one\\nline two')",
    "syntax": "def (",
    "exits": "import sys; sys.exit(3)",
    "missing": "import no_such_package_anywhere",
    "hook_raises": "from app.plugins import hook\n@hook\ndef request_filters():\n    return 1 / 0",
    "hook_unknown": "from app.plugins import hook\n@hook\ndef no_such_hook():\n    return []",
    "hook_wrong": "from app.plugins import hook\n@hook\ndef request_filters(app):\n    return []",
    "hook_number": "from app.plugins import hook\n@hook\ndef request_filters():\n    return 3",
}


def write(folder: Path, **sources: str) -> Path:
    for name, source in sources.items():
        (folder / f"{name}.py").write_text(source)
    return folder


def test_files_and_folders_are_loaded_in_name_order_and_what_is_hidden_is_not(tmp_path: Path) -> None:
    write(tmp_path, b=LOUD.format(mark="b"), _private="raise Exception", a=LOUD.format(mark="a"))
    package = tmp_path / "c"
    package.mkdir()
    write(package, __init__="from .inner import request_filters", inner=LOUD.format(mark="c"))
    (tmp_path / "not_one").mkdir()
    extensions = Extensions(tmp_path)
    assert extensions.names == ("a", "b", "c") and not extensions.problems
    assert extensions.filtered(GenerationRequest(prompt="x")).prompt == "xabc"


@pytest.mark.parametrize("name", BROKEN)
def test_an_extension_that_fails_is_reported_once_and_stops_no_other(tmp_path: Path, name: str) -> None:
    write(tmp_path, a=LOUD.format(mark="!"), **{name: BROKEN[name]}, z=LOUD.format(mark="?"))
    extensions = Extensions(tmp_path)
    (problem,) = extensions.problems
    assert name in problem.message and "\n" not in problem.message
    assert extensions.filtered(GenerationRequest(prompt="x")).prompt == "x!?"


def test_a_filter_that_fails_names_its_extension(tmp_path: Path) -> None:
    write(
        tmp_path, bad="from app.plugins import hook\n@hook\ndef request_filters():\n    return [lambda request: 1 / 0]"
    )
    with pytest.raises(ExtensionError, match=r"bad: .*ZeroDivisionError"):
        Extensions(tmp_path).filtered(GenerationRequest())


def test_a_filter_may_refuse_a_request_in_its_own_words(tmp_path: Path) -> None:
    source = "from app.errors import RequestError\nfrom app.plugins import hook\ndef no(request):\n"
    source += "    raise RequestError('not today')\n@hook\ndef request_filters():\n    return [no]\n"
    with pytest.raises(RequestError, match="not today"):
        Extensions(write(tmp_path, strict=source)).filtered(GenerationRequest())


def test_what_ships_comes_through_the_same_door(tmp_path: Path) -> None:
    shipped = ModuleType("shipped")
    shipped.__dict__["request_filters"] = hook(lambda: [lambda asked: replace(asked, prompt=asked.prompt + "s")])
    extensions = Extensions(write(tmp_path, a=LOUD.format(mark="a")), [("shipped", shipped)])
    assert extensions.filtered(GenerationRequest()).prompt == "sa"


def test_routes_come_with_the_name_of_their_extension(tmp_path: Path) -> None:
    ((name, router),) = Extensions(write(tmp_path, greeter=ROUTE)).routers
    assert name == "greeter" and router.routes


def test_no_folder_is_no_extension(tmp_path: Path) -> None:
    assert Extensions(tmp_path / "none").names == Extensions(None).names == ()
