"""What a network's makers and its user say about it: trigger words, training, description.

Three sources, each of which may hold anything at all: the header's metadata (strings, some of them JSON), the user's
sidecar, and the record that Civitai's downloaders leave beside a file. A value that cannot be used is left out, and
said as a problem; nothing here raises for the contents of a file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from app.errors import Problem
from app.networks.civitai import Civitai, read_civitai
from app.networks.sidecar import Sidecar, read_sidecar

JSON_LIMIT = 8_000_000
"""Characters of one metadata value that are read as JSON."""
TEXT_LIMIT = 20_000
"""Characters of a description; names and words are cut at `WORD_LIMIT`."""
WORD_LIMIT = 500
TAG_LIMIT = 10_000
"""Distinct training tags that are kept, the commonest first."""
TRIGGER_LIMIT = 100
TAGS_A_CAPTION = 30
"""So many tags a caption has, as a rule, at the most: what is counted in a smaller share of all is itself a caption."""
FREQUENT_LIMIT = 20

Fact = str | int | float
TRAINING: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("rank", ("ss_network_dim",)),
    ("alpha", ("ss_network_alpha",)),
    ("network_module", ("ss_network_module",)),
    ("network_args", ("ss_network_args",)),
    ("base_model", ("ss_sd_model_name", "ss_base_model_name")),
    ("base_model_version", ("ss_base_model_version",)),
    ("epochs", ("ss_epoch", "ss_num_epochs")),
    ("steps", ("ss_steps", "ss_max_train_steps")),
    ("images", ("ss_num_train_images",)),
    ("regularisation_images", ("ss_num_reg_images",)),
    ("batch_size", ("ss_total_batch_size", "ss_batch_size_per_device")),
    ("resolution", ("modelspec.resolution", "ss_resolution")),
    ("clip_skip", ("ss_clip_skip",)),
    ("learning_rate", ("ss_learning_rate",)),
    ("unet_learning_rate", ("ss_unet_lr",)),
    ("text_encoder_learning_rate", ("ss_text_encoder_lr", "ss_text_encoder_lr1")),
    ("optimizer", ("ss_optimizer",)),
    ("learning_rate_schedule", ("ss_lr_scheduler",)),
    ("noise_offset", ("ss_noise_offset",)),
    ("seed", ("ss_seed",)),
    ("comment", ("ss_training_comment",)),
)
"""Each fact of a training, and the keys that tell it, the surest first."""
DATES = ("ss_training_finished_at", "ss_training_started_at", "modelspec.date")


@dataclass(frozen=True, slots=True)
class Description:
    """What is said about a network. Texts are single strings of user data; `trigger_source` says who named the words.

    `tag_frequency` counts each training tag over all datasets, the commonest first. A preferred weight of 0 means none.
    """

    title: str = ""
    author: str = ""
    text: str = ""
    alias: str = ""
    trigger_words: tuple[str, ...] = ()
    trigger_source: str = ""
    tag_frequency: Mapping[str, int] = field(default_factory=dict)
    training: Mapping[str, Fact] = field(default_factory=dict)
    sidecar: Sidecar = field(default_factory=Sidecar)
    problems: tuple[Problem, ...] = ()


def describe(path: Path, metadata: Mapping[str, str]) -> Description:
    """What a network's header metadata and the files beside it say. It reads small files beside `path`."""
    sidecar, problems = read_sidecar(path)
    civitai, civitai_problems = read_civitai(path)
    tags, tag_problems = tag_frequency(metadata, str(path))
    words, source = trigger_words(metadata, sidecar, civitai, tags)
    return Description(
        title=_first(metadata, "modelspec.title", "ssmd_display_name") or clean(civitai.name),
        author=_first(metadata, "modelspec.author", "ssmd_author"),
        text=clean(sidecar.description, TEXT_LIMIT)
        or _first(metadata, "modelspec.description", "ssmd_description", limit=TEXT_LIMIT)
        or clean(civitai.description, TEXT_LIMIT),
        alias=_first(metadata, "ss_output_name"),
        trigger_words=words,
        trigger_source=source,
        tag_frequency=tags,
        training=training(metadata),
        sidecar=sidecar,
        problems=(*problems, *civitai_problems, *tag_problems),
    )


def clean(text: str, limit: int = WORD_LIMIT) -> str:
    """Text that can be shown: no control characters but line breaks, trimmed, cut at `limit` characters."""
    text = text.strip()[: 2 * limit]
    if text.isprintable():
        return text[:limit].rstrip()
    return "".join(_visible(character) for character in text).strip()[:limit].rstrip()


def _visible(character: str) -> str:
    if character.isprintable() or character == "\n":
        return character
    return " " if character.isspace() else ""


def _first(metadata: Mapping[str, str], *keys: str, limit: int = WORD_LIMIT) -> str:
    """The first of these keys that says something ("None" is how trainers write nothing)."""
    values = (clean(metadata.get(key, ""), limit) for key in keys)
    return next((value for value in values if value not in ("", "None")), "")


# --- trigger words -----------------------------------------------------------------------------------------------


def trigger_words(
    metadata: Mapping[str, str], sidecar: Sidecar, civitai: Civitai, tags: Mapping[str, int]
) -> tuple[tuple[str, ...], str]:
    """The words that call the network, and who says so: the most trusted source that names any.

    The user's own words come first, then the author's, then Civitai's page, and last what the training counted: the
    tags of at least half as many images as the commonest tag. Whole captions are counted as tags too; those are rarer.
    """
    often = max(2.0, max(tags.values(), default=0) / 2, sum(tags.values()) / TAGS_A_CAPTION)
    sources: tuple[tuple[str, Iterable[str]], ...] = (
        ("sidecar", words(sidecar.activation_text)),
        ("modelspec", words(metadata.get("modelspec.trigger_phrase", ""))),
        ("civitai", (word for text in civitai.words for word in words(text))),
        ("training tags", islice((tag for tag, count in tags.items() if count >= often), FREQUENT_LIMIT)),
    )
    for source, found in sources:
        if chosen := tuple(islice(dict.fromkeys(found), TRIGGER_LIMIT)):
            return chosen, source
    return (), ""


def words(text: str) -> Iterator[str]:
    """The comma-separated parts of a piece of prompt; commas inside brackets or a network tag do not separate."""
    depth, start = 0, 0
    text = text[:TEXT_LIMIT]
    for position, character in enumerate(f"{text},"):
        if character in "([{<":
            depth += 1
        elif character in ")]}>":
            depth = max(0, depth - 1)
        elif (character in ",\n" and depth == 0) or position == len(text):
            if word := clean(text[start:position]):
                yield word
            start = position + 1


# --- training ----------------------------------------------------------------------------------------------------


def tag_frequency(metadata: Mapping[str, str], source: str) -> tuple[dict[str, int], tuple[Problem, ...]]:
    """How many captions hold each tag, summed over the datasets of `ss_tag_frequency`, the commonest first.

    Its layout is `{dataset: {tag: count}}`; a flat `{tag: count}` is read too.
    """
    text = metadata.get("ss_tag_frequency", "")
    if not text or text == "None":
        return {}, ()
    document = metadata_json(text)
    if not isinstance(document, dict):
        return {}, (Problem("warning", "Its ss_tag_frequency is not usable and is left out.", source=source),)
    counts: dict[str, int] = {}
    unusable = 0
    for dataset, entry in document.items():
        for tag, count in entry.items() if isinstance(entry, dict) else ((dataset, entry),):
            word = clean(tag)
            if not word or type(count) is not int or not 0 < count < 2**53:
                unusable += 1
            else:
                counts[word] = counts.get(word, 0) + count
    ranked = sorted(counts.items(), key=lambda item: -item[1])[:TAG_LIMIT]
    message = f"{unusable} entries of its ss_tag_frequency are not counts and are left out."
    return dict(ranked), (Problem("warning", message, source=source),) if unusable else ()


def training(metadata: Mapping[str, str]) -> dict[str, Fact]:
    """The facts of `TRAINING` that the metadata tell, numbers where they are numbers, and the date (ISO 8601, UTC)."""
    facts = {name: _fact(value) for name, keys in TRAINING if (value := _first(metadata, *keys, limit=2000))}
    date = next((date for key in DATES if (date := _date(metadata.get(key, "")))), "")
    return facts | {"date": date} if date else facts


def metadata_json(text: str) -> object:
    """A metadata value read as JSON, or None: too long, too deep, or not JSON."""
    if len(text) > JSON_LIMIT:
        return None
    try:
        document: object = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document


def _fact(text: str) -> Fact:
    """A number, where the text is one that JSON can hold; else the text."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return text
    return int(number) if number == int(number) and "." not in text and "e" not in text.lower() else number


def _date(text: str) -> str:
    """Seconds since 1970, or an ISO date already, as an ISO date; empty for anything else."""
    text = text.strip()[:40]
    try:
        seconds = float(text)
    except ValueError:
        return _iso(text)
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds > 0 else ""
    except (ValueError, OverflowError, OSError):
        return ""


def _iso(text: str) -> str:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return ""
    return moment.isoformat(timespec="seconds")
