"""Files written by the real libraries, with the weights that those libraries merge: every one must come out the same.

The files lie outside the repository, in a `shared/conformance` beside or above it, or where PATCHBAY_CONFORMANCE says.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from app.networks.files import read_network
from app.networks.resolve import Match, resolve


def folder() -> Path | None:
    """The files' folder, if there is one."""
    told = os.environ.get("PATCHBAY_CONFORMANCE")
    places = [Path(told)] if told else [parent / "shared" / "conformance" for parent in Path(__file__).parents]
    return next((place for place in places if (place / "index.json").is_file()), None)


FOLDER = folder()
pytestmark = pytest.mark.skipif(FOLDER is None, reason="the conformance files are not here (PATCHBAY_CONFORMANCE)")


def cases() -> list[dict[str, Any]]:
    return [] if FOLDER is None else json.loads((FOLDER / "index.json").read_text(encoding="utf-8"))["cases"]


@cache
def checker() -> ModuleType:
    assert FOLDER is not None
    spec = importlib.util.spec_from_file_location("corpus_check", FOLDER / "corpus_check.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def model(name: str) -> dict[str, nn.Module]:
    """The live modules of one of the small models."""
    import diffusers
    import transformers

    assert FOLDER is not None
    root = FOLDER / name
    loaded: dict[str, nn.Module] = {}
    for part in sorted(root.iterdir()):
        config = part / "config.json"
        if part.is_dir() and config.is_file():
            fields = json.loads(config.read_text(encoding="utf-8"))
            made = getattr(diffusers, fields["_class_name"]) if "_class_name" in fields else None
            made = made or getattr(transformers, fields["architectures"][0])
            loaded[part.name] = made.from_pretrained(part)
    return loaded


@cache
def weights(name: str) -> dict[str, Tensor]:
    return {
        f"{part}.{parameter}": value.detach().float()
        for part, module in model(name).items()
        for parameter, value in module.named_parameters()
    }


def matched(case: dict[str, Any]) -> Iterator[tuple[Match, float]]:
    assert FOLDER is not None
    stack = case.get("adapters", [{"adapter": case["adapter"], "multiplier": case["multiplier"]}])
    for entry in stack:
        network = read_network(FOLDER / entry["adapter"])
        yield resolve(network, model(case["model"]), "unknown"), entry["multiplier"]


def merged(base: dict[str, Tensor], match: Match, strength: float, factored: bool) -> dict[str, Tensor]:
    """W + strength · ΔW of every parameter that the match changes; from the factors where there are any."""
    pristine: Callable[[str], Tensor] = base.__getitem__
    changed = {}
    for name, patches in match.patches.items():
        total = torch.zeros_like(base[name])
        for patch in patches:
            factors = patch.factors() if factored else None
            total += patch.delta(pristine) if factors is None else (factors[0] @ factors[1]).reshape(total.shape)
        changed[name] = strength * total
    return changed


@pytest.mark.parametrize("factored", [False, True], ids=["whole", "factored"])
@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_every_file_merges_as_its_own_library_merges_it(case: dict[str, Any], factored: bool) -> None:
    base = weights(case["model"])
    result = dict(base)
    for match, strength in matched(case):
        for name, change in merged(base, match, strength, factored).items():
            if strength:
                result[name] = result[name] + change
        if case["expect"] == "mismatch":
            assert match.patches == {}
            assert any(problem.level == "error" for problem in match.problems)
        else:
            assert match.problems == ()
            assert match.network.problems == ()
    assert checker().compare(case, result) == []
