"""The `parameters` text that an image carries: what it was made from, in the form every tool reads.

    a cat, <lora:ink:0.8>
    Negative prompt: blurry
    Steps: 20, Sampler: Euler a, Schedule type: Automatic, CFG scale: 7, Seed: 1, Size: 512x512, Model: demo

The prompt, the negative prompt where there is one, and one line of `key: value` in a fixed order. Values with a comma,
a colon or a line break are JSON strings. A prompt that this form cannot hold (it has a line that begins with
"Negative prompt:", or blanks at its ends) is kept a second time, exactly, as a JSON string in the last line; so
reading what was written always gives the same request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from app import __version__
from app.errors import Problem, RequestError
from app.generation.request import BOUNDS, WHOLE_NUMBERS, GenerationRequest

Value = str | int | float

NEGATIVE = "Negative prompt:"
INIT_HASH = "Init image hash"
EXACT_PROMPT = "Exact prompt"
EXACT_NEGATIVE = "Exact negative prompt"
ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Image CFG scale", "Seed", "Size", "Model hash", "Model",
    "VAE hash", "VAE", "Variation seed", "Variation seed strength", "Seed resize from", "Denoising strength",
    "Conditional mask weight", "Clip skip", "Batch count", "Batch size", INIT_HASH, "RNG", "Tiling",
)  # fmt: skip
"""The order other tools write; what is not named here follows, as given, before the version."""

FIELDS: Mapping[str, str] = {
    "Steps": "steps", "Sampler": "sampler", "Schedule type": "schedule_type", "CFG scale": "cfg_scale", "Seed": "seed",
    "Model": "checkpoint", "VAE": "vae", "Clip skip": "clip_skip", "Batch count": "batch_count",
    "Batch size": "batch_size", "Emphasis": "emphasis", "Default strength": "default_strength",
    "Schedule separator": "schedule_separator", "Denoising strength": "denoising_strength",
    "Hires upscale": "hires_scale", "Hires steps": "hires_steps", "Hires upscaler": "hires_upscaler",
}  # fmt: skip
"""Keys that are fields of a request; `Size` is two of them."""

OMITTED_DEFAULTS = (
    "Model", "VAE", "Clip skip", "Batch count", "Batch size", "Emphasis", "Default strength", "Schedule separator",
    "Denoising strength", "Hires upscale", "Hires steps", "Hires upscaler",
)  # fmt: skip
SCHEDULE_SUFFIXES = ("SGM Uniform", "Karras", "Exponential", "Polyexponential", "Uniform", "Beta")

# The key's length is bounded: without that, a long line of letters would take quadratic time.
_PAIR = re.compile(r'\s{0,9}(\w[\w \-/]{1,63}):\s*("(?:\\.|[^\\"])+"|[^,]*)(?:,|$)')
_SIZE = re.compile(r"(\d{1,6})x(\d{1,6})")
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_DEFAULTS = GenerationRequest()
_TYPES: Mapping[str, type] = dict.fromkeys([name for name, _, _ in BOUNDS], float) | dict.fromkeys(WHOLE_NUMBERS, int)


@dataclass(frozen=True, slots=True)
class ParsedInfotext:
    """What a text says. `present` names the request's fields that it gave; `extras` are its other keys, as written."""

    request: GenerationRequest
    extras: Mapping[str, str] = field(default_factory=dict)
    present: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()


def format_infotext(request: GenerationRequest, extras: Mapping[str, Value] | None = None) -> str:
    """The text for `request`, with `extras` (Model hash, Lora hashes, …) among its keys.

    A key is a letter or digit followed by at least one more letter, digit, blank, `-` or `/`.
    """
    pairs = _pairs(request, extras or {})
    head = request.prompt + (f"\n{NEGATIVE} {request.negative_prompt}" if request.negative_prompt else "")
    if _LONE_SURROGATE.search(head) or _prompts(f"{head}\n{_line(pairs)}") != (request.prompt, request.negative_prompt):
        exact = {EXACT_PROMPT: json.dumps(request.prompt), EXACT_NEGATIVE: json.dumps(request.negative_prompt)}
        version = {"Version": pairs.pop("Version")}
        pairs = pairs | exact | version
    return f"{_LONE_SURROGATE.sub('?', head)}\n{_line(pairs)}".lstrip("\n")


def parse_infotext(text: str) -> ParsedInfotext:
    """Read the text of any tool that writes this form; a value that cannot be used is left out and reported."""
    head, pairs = _split(text)
    prompt, negative = _halves(head)
    values: dict[str, object] = {}
    if EXACT_PROMPT in pairs:
        prompt, negative = pairs.pop(EXACT_PROMPT), pairs.pop(EXACT_NEGATIVE, "")
    if text.strip():
        values |= {"prompt": prompt, "negative_prompt": negative}
    if pairs:  # Who makes a second pass says so.
        values["hires_scale"] = 1
    if size := _SIZE.fullmatch(pairs.get("Size", "")):
        values |= {"width": size[1], "height": size[2]}
        del pairs["Size"]
    values |= {FIELDS[key]: pairs.pop(key) for key in FIELDS if key in pairs}
    if "sampler" in values and "schedule_type" not in values:
        values["sampler"], values["schedule_type"] = split_sampler(str(values["sampler"]))
    request, problems = _filled(values)
    if INIT_HASH in pairs:
        said = "The image was made from a picture, which its text does not hold."
        problems = (*problems, Problem("warning", said, hint="Give that picture too.", source="init_image"))
    pairs.pop("Version", None)
    refused = {problem.source for problem in problems}
    return ParsedInfotext(request, pairs, frozenset(values) - refused, problems)


def split_sampler(name: str) -> tuple[str, str]:
    """The sampler and the schedule type of a name of the older form that joins them.

    >>> split_sampler("DPM++ 2M Karras")
    ('DPM++ 2M', 'Karras')
    >>> split_sampler("Euler a")
    ('Euler a', 'Automatic')
    """
    for suffix in SCHEDULE_SUFFIXES:
        if name.lower().endswith(f" {suffix.lower()}"):
            return name[: -len(suffix) - 1], suffix
    return name, "Automatic"


def format_hashes(hashes: Iterable[tuple[str, str]]) -> str:
    """The value of "Lora hashes" and "TI hashes": `name: first twelve digits` by commas, of (name, sha256) pairs.

    >>> format_hashes([("ink", "0123456789abcdef")])
    'ink: 0123456789ab'
    """
    return ", ".join(f"{re.sub('[:,]', '', name)}: {digest[:12]}" for name, digest in hashes)


def parse_hashes(text: str) -> dict[str, str]:
    """Names to digits, of a value that `format_hashes` or another tool wrote."""
    halves = (part.rpartition(":") for part in text.split(","))
    return {name.strip(): digest.strip() for name, colon, digest in halves if colon}


def _pairs(request: GenerationRequest, extras: Mapping[str, Value]) -> dict[str, str]:
    """Every key of the last line with its value as it stands there, in order."""
    known: dict[str, Value] = {key: getattr(request, name) for key, name in FIELDS.items()}
    for key in OMITTED_DEFAULTS:
        if known[key] == getattr(_DEFAULTS, FIELDS[key]) and key not in _in_force(request):
            del known[key]
    known |= {"Size": f"{request.width}x{request.height}"}
    values: dict[str, Value] = {**extras, **known, "Version": f"Patchbay {__version__}"}
    last = ("Emphasis", "Version")
    rest = [key for key in values if key not in ORDER and key not in last]
    return {key: _quoted(values[key]) for key in (*ORDER, *rest, *last) if key in values}


def _in_force(request: GenerationRequest) -> tuple[str, ...]:
    """The keys that are said even of a default, because a pass begins with a picture."""
    if request.hires_scale > 1:
        return "Denoising strength", "Hires upscaler"
    return () if request.init_image is None else ("Denoising strength",)


def _line(pairs: Mapping[str, str]) -> str:
    return ", ".join(f"{key}: {value}" for key, value in pairs.items())


def _quoted(value: Value) -> str:
    """`value` as the last line holds it: plain, or a JSON string where plain would not be read back."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    text = str(value)
    if text and text == text.strip() and text[0] != '"' and not re.search("[,:\n\ud800-\udfff]", text):
        return text
    return json.dumps(text, ensure_ascii=bool(_LONE_SURROGATE.search(text)))


def _unquoted(text: str) -> str:
    if len(text) < 2 or text[0] != '"' or text[-1] != '"':
        return text.rstrip()
    try:
        return str(json.loads(text, strict=False))
    except ValueError:
        return text


def _split(text: str) -> tuple[str, dict[str, str]]:
    """The prompts' part and the last line's pairs; a last line without three pairs, one of them known, is prompt."""
    text = text.replace("\r\n", "\n").strip()
    head, _, line = text.rpartition("\n")
    pairs = _PAIR.findall(line)
    if len(pairs) < 3 or not any(key in FIELDS or key == "Size" for key, _ in pairs):
        return text, {}
    return head, {key: _unquoted(value) for key, value in pairs}


def _halves(head: str) -> tuple[str, str]:
    """The prompt, and the negative prompt from the first line that says so."""
    before, found, after = f"\n{head}".partition(f"\n{NEGATIVE}")
    return before[1:], after.removeprefix(" ") if found else ""


def _prompts(text: str) -> tuple[str, str]:
    return _halves(_split(text)[0])


def _filled(values: Mapping[str, object]) -> tuple[GenerationRequest, tuple[Problem, ...]]:
    """The default request with each of `values` that its field can have, and a problem for each it cannot."""
    request, problems = _DEFAULTS, []
    for name, value in values.items():
        try:
            read: Any = _TYPES.get(name, str)(str(value))
            replace(_DEFAULTS, **{name: read}).checked()
            request = replace(request, **{name: read})
        except (ValueError, RequestError) as error:
            said = str(error) if isinstance(error, RequestError) else f"{name}: {value!r:.60} is not a number."
            problems.append(Problem("warning", said, source=name))
    return request, tuple(problems)
