"""A network tag over the steps: the strength of each component at each of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from app.errors import Problem, Span
from app.prompt.arguments import MODULES, Settings, read_arguments
from app.prompt.ast import NetworkTag
from app.prompt.curve import SLACK, Curve, Separator

HYPERNET = "hypernet"
KINDS = frozenset({"lora", "lyco", HYPERNET})


@dataclass(frozen=True, slots=True)
class ScheduledNetwork:
    """A tag over the steps.

    `strengths` has one number per step under te, unet, in, mid, out and vae; and under te1, te2, te3, in4, out7, block3
    where the tag names them. `lbw` are 12, 17, 20, 26 or 61 numbers that multiply. `module` is the only component to
    patch; the others' strengths are 0.
    """

    kind: str
    name: str
    span: Span
    strengths: Mapping[str, tuple[float, ...]]
    lbw: tuple[float, ...] | None = None
    dyn: int | None = None
    module: str | None = None


@dataclass(frozen=True, slots=True)
class ScheduleOptions:
    """Settings of the language: the strength of a tag without a number, what a comma does, the kinds of tags."""

    default_strength: float = 1.0
    separator: Separator = "switch"
    kinds: frozenset[str] = KINDS


DEFAULTS = ScheduleOptions()


def scheduled_network(
    tag: NetworkTag, steps: int, on: int, options: ScheduleOptions, hires: bool
) -> tuple[ScheduledNetwork | None, list[Problem]]:
    """A tag over the steps; none if it is void. Bit s−1 of `on` says that the tag is in force on step s."""
    settings, errors = read_arguments(tag)
    if settings is None:
        return None, list(errors)
    curves = component_curves(settings, options.default_strength, hires)
    shown = on & _window(settings, steps)
    distinct = {curve: _masked(curve.strengths(steps, options.separator), shown) for curve in set(curves.values())}
    off = (0.0,) * steps
    strengths = {name: distinct[curve] if _applies(name, settings.module) else off for name, curve in curves.items()}
    said = dict.fromkeys(text for curve in curves.values() for text in curve.complaints(steps, options.separator))
    if not shown:
        said[f"It is not in force on any of the {steps} steps."] = None
    warnings = [Problem("warning", f"{tag.text}: {text}", tag.span) for text in said]
    warnings += _unheeded(tag, settings) if tag.kind == HYPERNET else ()
    kind = "lora" if tag.kind == "lyco" else tag.kind
    return ScheduledNetwork(kind, tag.name, tag.span, strengths, settings.lbw, settings.dyn, settings.module), warnings


def _unheeded(tag: NetworkTag, settings: Settings) -> Iterator[Problem]:
    """What a hypernetwork's tag says of something else than the UNet, which is all that one changes."""
    named = settings.first or settings.second or "unet" in settings.curves
    for argument in tag.arguments:
        key, message = argument.key or "", ""
        if key == "te" and not named:
            message = f"a hypernetwork acts on the UNet alone; {key}={argument.value} is its strength there."
        elif key in _ELSEWHERE:
            message = f"a hypernetwork acts on the UNet alone; {key}= does nothing."
        elif key == "module" and MODULES[argument.value.lower()] in ("te", "vae"):
            message = f"a hypernetwork acts on the UNet alone; with module={argument.value} it does nothing."
        elif argument.span == _ranks(tag):
            message = "a hypernetwork has no ranks; dyn does nothing."
        if message:
            hint = "Name the UNet's strength: unet=0.5, or a number alone."
            yield Problem("warning", f"{tag.name}: {message}", argument.span, hint)


_ELSEWHERE = frozenset({"te", "te1", "te2", "te3", "vae", "hrte"})


def _ranks(tag: NetworkTag) -> Span | None:
    """Where a tag says how many ranks to keep: `dyn=`, or the third number."""
    numbers = [argument for argument in tag.arguments if argument.key is None]
    named = [argument for argument in tag.arguments if argument.key == "dyn"]
    return next((argument.span for argument in (*numbers[2:], *named)), None)


def component_curves(settings: Settings, default: float, hires: bool) -> dict[str, Curve]:
    """The curve of every component.

    What is not named takes the first number. Without one it takes the default, but the denoiser what `te=` says.
    In a hires pass hrte, hrunet and hr, where given, take the place of all that concerns their component.
    """
    named = settings.curves
    first = settings.first or Curve.level(default)
    te = named.get("te", first)
    unet = named.get("unet") or settings.second or (first if settings.first else te)
    curves = {"te": te, "unet": unet, "in": unet, "mid": unet, "out": unet, "vae": first}
    curves |= {name: curve for name, curve in named.items() if not name.startswith("hr")}
    if hires:
        again = {"te": named.get("hrte"), "unet": named.get("hrunet"), "vae": None}
        for name in curves:
            curves[name] = again[component(name)] or named.get("hr") or curves[name]
    return curves


def component(name: str) -> str:
    """The component that a strength belongs to: te, unet or vae."""
    return "te" if name.startswith("te") else "vae" if name == "vae" else "unet"


def _applies(name: str, module: str | None) -> bool:
    """Whether `module=` leaves this strength in force."""
    return module is None or component(name) == ("unet" if module.startswith("transformer") else module)


def _masked(values: tuple[float, ...], shown: int) -> tuple[float, ...]:
    """The values, 0 on the steps that are not in `shown`."""
    if shown == (1 << len(values)) - 1:
        return values
    return tuple(value if shown >> step & 1 else 0.0 for step, value in enumerate(values))


def _window(settings: Settings, steps: int) -> int:
    """The steps from `start=` to `stop=`, both included, as bits.

    0 and 1 are fractions if one of the two is 0 or typed as a fraction; `start=1` alone is step 1.
    """
    ends = [end for end in (settings.start, settings.stop) if end]
    if all(end.unit_interval for end in ends) and any(end.fraction or not end.value for end in ends):
        ends = [replace(end, fraction=True) for end in ends]
    first = ends[0].step(steps) if settings.start else 1
    last = ends[-1].step(steps) if settings.stop else steps
    lowest, highest = max(1, math.ceil(first - SLACK)), min(steps, math.floor(last + SLACK))
    return (1 << highest) - (1 << lowest - 1) if lowest <= highest else 0
