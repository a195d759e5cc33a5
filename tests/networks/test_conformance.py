"""Files written by the real libraries, with the weights that those libraries merge: every one must come out the same.

The files lie outside the repository, in a `shared/conformance` beside or above it, or where PATCHBAY_CONFORMANCE says.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
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


@cache
def matched(adapter: str, name: str) -> Match:
    assert FOLDER is not None
    return resolve(read_network(FOLDER / adapter), model(name), "unknown")


def stack(case: dict[str, Any]) -> list[tuple[Match, float]]:
    """The files of a case, each with its strength."""
    entries = case.get("adapters", [{"adapter": case["adapter"], "multiplier": case["multiplier"]}])
    return [(matched(entry["adapter"], case["model"]), entry["multiplier"]) for entry in entries]


def merged(case: dict[str, Any], *, factored: bool) -> dict[str, Tensor]:
    """The whole model, with W + Σ strength · ΔW where a file changes it; from the factors where there are any."""
    base = weights(case["model"])
    result = dict(base)
    for match, strength in stack(case):
        for name, patches in match.patches.items():
            for patch in patches if strength else ():
                factors = patch.factors() if factored else None
                delta = patch.delta(base.__getitem__) if factors is None else factors[0] @ factors[1]
                result[name] = result[name] + strength * delta.reshape(base[name].shape)
    return result


@pytest.mark.parametrize("case", cases(), ids=lambda case: case["id"])
def test_every_file_merges_as_its_own_library_merges_it(case: dict[str, Any]) -> None:
    """Formed whole and from its factors; what belongs elsewhere changes nothing and is told."""
    for match, _ in stack(case):
        if case["expect"] == "mismatch":
            assert match.patches == {}
            assert any(problem.level == "error" for problem in match.problems)
        else:
            assert match.problems == match.network.problems == ()
    assert checker().compare(case, merged(case, factored=False)) == []
    assert checker().compare(case, merged(case, factored=True)) == []
