"""The networks of a prompt, as the list under it shows them: each tag's strengths, and what of it the model has."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import Any

from app.engine.forecast import Forecast, Forecasts, Unknown
from app.engine.library import ModelFile
from app.errors import CheckpointError, NetworkError, RequestError
from app.networks.catalog import Catalog
from app.networks.identity import UNKNOWN
from app.networks.record import NetworkFile
from app.prompt.arguments import ALIASES, BLOCK, STRENGTHS, Settings, read_arguments
from app.prompt.ast import Argument, NetworkTag
from app.prompt.curve import Curve, Unreadable, read_curve
from app.prompt.edit import PlacedTag, placed_tags, remove_argument, remove_tag, rename_tag, set_argument, switch
from app.prompt.strength import component_curves
from app.settings.model import NetworkSettings
from app.ui.shelves import Shelves, network_key

SLIDERS = ("te", "unet", "in", "mid", "out")
"""The strengths that have a slider of their own, beside the first number's."""
SLIDER_RANGE, WIDE_RANGE = 2.0, 5.0
"""A slider's reach on both sides of 0; networks made to be sliders are meant to be turned far."""
MOST_EXAMPLES = 8
"""Modules without a place that are named, of each sort."""


def active_networks(
    prompt: str, shelves: Shelves, networks: NetworkSettings, forecasts: Forecasts, checkpoint: str
) -> list[dict[str, Any]]:
    """One record for each tag of a text, in order, switched off or not; a tag without a file has a problem.

    `match` tells what of it the checkpoint of this name has a place for, `near` are names like one that is missing.
    `other` is the checkpoint's family, where the network is of another one: that is known sooner.
    """
    base = _family(checkpoint, shelves.catalogs["checkpoint"])
    model = _model(checkpoint, shelves)
    records = []
    for index, placed in enumerate(placed_tags(prompt, shelves.library.tags)):
        told = {"index": index, **_active(placed, networks)}
        try:
            file = shelves.library.catalog(placed.tag.kind).find(placed.tag.name)
        except NetworkError as error:
            problem = told["problem"] or str(error)
            records.append({**told, "key": None, "problem": problem, "near": list(error.near), "reach": SLIDER_RANGE})
            continue
        match = _match(forecasts.of(model, placed.tag.kind, file) if isinstance(model, ModelFile) else model)
        is_other = UNKNOWN not in (base, file.base_model) and base != file.base_model
        records.append({**told, **_facts(file), "match": match, "other": base if is_other else ""})
    return records


def followed(index: int, before: str, after: str, kinds: frozenset[str]) -> int:
    """Where a tag of one text stands in what became of that text, both counted from 0 among tags of these `kinds`.

    Raises:
        RequestError: it is not there any more, or cannot be told from others like it.
    """
    old, new = ([placed.tag for placed in placed_tags(text, kinds)] for text in (before, after))
    head = _common(old, new)
    tail = _common(old[head:][::-1], new[head:][::-1])
    if index < head:
        return index
    if index >= len(old) - tail:
        return index + len(new) - len(old)
    changed = old[head : len(old) - tail], new[head : len(new) - tail]
    said: Callable[[NetworkTag], object]
    for said in (lambda tag: tag.text, lambda tag: (tag.kind, tag.name)):
        olds, news = ([*map(said, tags)] for tags in changed)
        wanted = said(old[index])
        places = [place for place, one in enumerate(news) if one == wanted]
        if len(places) == olds.count(wanted):
            return head + places[olds[: index - head].count(wanted)]
    raise RequestError("The prompt has no such tag any more.", where="tag")


def _common(one: Sequence[NetworkTag], other: Sequence[NetworkTag]) -> int:
    """How many tags both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0].text == pair[1].text, zip(one, other, strict=False)))


def edited(prompt: str, index: int, change: str, key: str, value: str, kinds: frozenset[str]) -> str:
    """The prompt with one of its tags changed: `set` or `clear` the strength `key`, `switch` it off or on,
    `remove` it, or `name` another network in it.

    The key "all" is the first number. Tags are counted among those of these `kinds`.

    Raises:
        RequestError: there is no such tag, strength or change, or the value is no strength.
    """
    tags = placed_tags(prompt, kinds)
    if not 0 <= index < len(tags):
        raise RequestError("The prompt has no such tag any more.", where="tag")
    placed = tags[index]
    if change == "switch":
        return switch(prompt, placed)
    if change == "remove":
        return remove_tag(prompt, placed)
    if change == "name":
        return rename_tag(prompt, placed.tag, value)
    if key != "all" and key not in STRENGTHS and not BLOCK.fullmatch(key):
        raise RequestError("There is no such strength.", where=key[:40])
    argument = _argument(placed.tag, key)
    if change == "clear":
        return _cleared(prompt, placed.tag, argument)
    if change != "set":
        raise RequestError("There is no such change.", where=change[:40])
    try:
        read_curve(value)
    except Unreadable as error:
        raise RequestError(error.message, where=key, hint=error.hint) from None
    if argument is not None and argument.key is None:
        return prompt[: argument.span[0]] + value + prompt[argument.span[1] :]
    return set_argument(prompt, placed.tag, None if key == "all" else key, value)


def _argument(tag: NetworkTag, key: str) -> Argument | None:
    """The argument that says a strength: by its name, or by its place among the numbers."""
    named = next((a for a in tag.arguments if a.key and ALIASES.get(a.key, a.key) == key), None)
    numbers = [argument for argument in tag.arguments if argument.key is None]
    place = {"all": 0, "unet": 1}.get(key, len(numbers))
    return named or (numbers[place] if place < len(numbers) else None)


def _cleared(prompt: str, tag: NetworkTag, argument: Argument | None) -> str:
    """The prompt without an argument. A number that others follow by place stays: they would move up."""
    if argument is None:
        return prompt
    numbers = [other for other in tag.arguments if other.key is None]
    if argument.key is None and argument is not numbers[-1]:
        raise RequestError("Numbers that follow this one count by place; change it instead.", where="tag")
    return remove_argument(prompt, tag, argument)


def _family(checkpoint: str, catalog: Catalog) -> str:
    try:
        return catalog.find(checkpoint).base_model if checkpoint else UNKNOWN
    except NetworkError:
        return UNKNOWN


def _model(name: str, shelves: Shelves) -> ModelFile | Unknown:
    try:
        return shelves.library.checkpoints.find(name) if name else Unknown("No checkpoint is chosen.")
    except CheckpointError as error:
        return Unknown(str(error))


def _match(answer: Forecast | Unknown | None) -> dict[str, Any]:
    """What a checkpoint has a place for, as the list shows it: `known` is False while it is being found out."""
    if answer is None:
        return {"known": False, "reason": ""}
    if isinstance(answer, Unknown):
        return {"known": False, "reason": answer.reason}
    return {
        "known": True,
        "family": answer.family,
        "matched": answer.matched,
        "unmatched": len(answer.unmatched),
        "mismatched": len(answer.mismatched),
        "examples": [*answer.mismatched[:MOST_EXAMPLES], *answer.unmatched[:MOST_EXAMPLES]],
        "error": next((f"{one.message} {one.hint}".strip() for one in answer.problems if one.level == "error"), ""),
        "warnings": [one.message for one in answer.problems if one.level != "error"][:MOST_EXAMPLES],
    }


def _active(placed: PlacedTag, networks: NetworkSettings) -> dict[str, Any]:
    """What the tag itself says."""
    tag = placed.tag
    settings, problems = read_arguments(tag)
    return {
        "kind": tag.kind,
        "name": tag.name,
        "span": list(placed.span),
        "off": placed.off,
        "problem": str(problems[0].message) if problems else "",
        "strengths": _strengths(tag, settings, networks.default_strength) if settings else {},
    }


def _facts(file: NetworkFile) -> dict[str, Any]:
    said = f"{file.name} {file.title} {' '.join(file.trigger_words)}".casefold()
    return {
        "key": network_key(file),
        "file": file.name,
        "base": file.base_model,
        "reason": file.reason,
        "components": list(file.components),
        "words": list(file.trigger_words),
        "reach": WIDE_RANGE if "slider" in said else SLIDER_RANGE,
    }


def _strengths(tag: NetworkTag, settings: Settings, default: float) -> dict[str, Any]:
    """Every slider: whether the tag says it, and the curve that acts."""
    curves = component_curves(settings, default, hires=False)
    first = settings.first or (curves["te"] if curves["te"] == curves["unet"] else Curve.level(default))
    shown = {"all": first} | {name: curves[name] for name in SLIDERS}
    return {name: {"typed": _argument(tag, name) is not None, "points": _points(c)} for name, c in shown.items()}


def _points(curve: Curve) -> list[dict[str, Any]]:
    """The keyframes: a constant is one without a position. `at` is a fraction of the run, or a step."""
    return [
        {
            "value": frame.value,
            "at": None if curve.constant else frame.position.value,
            "fraction": frame.position.fraction,
            "join": frame.separator,
        }
        for frame in curve.keyframes
    ]
