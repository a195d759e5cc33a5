"""Adding a network to the prompts and taking exactly that away again, as pure functions on their texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from app.engine.triggers import TriggerOptions, apply_triggers
from app.errors import Span
from app.networks.metadata import words
from app.networks.record import NetworkFile
from app.prompt.edit import PlacedTag, format_tag, placed_tags
from app.settings.model import NetworkSettings

MOST_WORDS = 8
"""Trigger words that a click adds, where a training has counted many."""
JOINS = ",([|:\n"
"""What needs no comma after it; its mirror image needs none before it."""
JOINED = ",)]|:\n"
EVERY_WORD = TriggerOptions("all")
TAG_KINDS = {"lora": "lora", "hypernetwork": "hypernet"}
"""The kind of tag that adds a network; the other kinds are words, or chosen in the form."""


@dataclass(frozen=True, slots=True)
class Added:
    """What a click added: round the tag in the prompt, the trigger words therein, and at the negative prompt's end."""

    before: str = ""
    after: str = ""
    words: tuple[str, ...] = ()
    negative: str = ""


@dataclass(frozen=True, slots=True)
class Picked:
    """Both prompts after a click, and the place of the cursor in the one that was clicked into."""

    prompt: str
    negative: str
    caret: int
    added: Added | None = None


def added_text(file: NetworkFile, networks: NetworkSettings) -> str:
    """What a click on the card writes into the prompt, its trigger words aside; the name, for what the form chooses."""
    if file.kind not in TAG_KINDS:
        return file.bare if file.kind == "embedding" else file.name
    name = file.alias if networks.names == "alias" and file.alias else file.name
    return format_tag(name, file.preferred_weight or networks.default_strength, kind=TAG_KINDS[file.kind])


def add_tag(prompt: str, negative: str, tag: str, file: NetworkFile, caret: int) -> Picked:
    """Both prompts with a network's tag at the cursor, the trigger words that are missing, and its negative text."""
    place = _place_outside(prompt, caret)
    left, right = prompt[:place], prompt[place:]
    missing = trigger_words(file, prompt)
    before = " " if left and not left[-1].isspace() and left[-1] not in "([|:" else ""
    joined = not left.strip() or left.rstrip(" ")[-1] in JOINS
    after = f"{' ' if joined else ', '}{', '.join(missing)}" if missing else ""
    follows = right.lstrip(" ")
    if follows and follows[0] not in JOINED:
        after += ("," if missing else "") + ("" if right[0] == " " else " ")
    typed = _negative_piece(file, negative)
    added = Added(before, after, missing, typed)
    text = f"{left}{before}{tag}{after}"
    return Picked(text + right, negative + typed, len(text), added)


def remove_tags(prompt: str, negative: str, meant: Sequence[PlacedTag], added: Added | None) -> Picked:
    """Both prompts without these tags of one network, and without what was `added` with them where it still stands."""
    added = added or Added()
    caret = len(prompt)
    is_whole = False
    for placed in reversed(meant):
        start, end = placed.span
        if _stands(prompt, placed, added) and not is_whole:
            start, end, is_whole = start - len(added.before), end + len(added.after), True
            prompt = prompt[:start] + prompt[end:]
        else:
            prompt = _without(prompt, start, end)
        caret = min(start, len(prompt))
    for word in () if is_whole else added.words:
        prompt = without_piece(prompt, word)
    if added.negative and negative.endswith(added.negative):
        negative = negative[: len(negative) - len(added.negative)]
    elif added.negative:
        for word in words(added.negative):
            negative = without_piece(negative, word)
    return Picked(prompt, negative, min(caret, len(prompt)))


def add_word(text: str, word: str, caret: int) -> tuple[str, int]:
    """The text with a word as a piece of its own after the piece that the cursor is in, and the new cursor."""
    place = next((end for _, end in _pieces(text) if caret <= end), len(text))
    left, right = text[:place].rstrip(" "), text[place:]
    before = "" if not left.strip() or left[-1] in "([|:\n" else " " if left[-1] == "," else ", "
    after = ", " if right.strip() and right.lstrip(" ")[0] not in JOINED else ""
    made = f"{left}{before}{word}"
    return made + after + right, len(made)


def has_word(text: str, word: str) -> bool:
    """Whether an embedding's word stands by itself in a text, in any case."""
    return _word(word).search(text) is not None


def without_word(text: str, word: str) -> str:
    """The text without this word: as a piece between commas, else wherever it stands by itself."""
    shorter = without_piece(text, word)
    while (found := _word(word).search(shorter)) is not None:
        shorter = _without(shorter, *found.span())
    return shorter


def without_piece(text: str, piece: str) -> str:
    """The text without the first piece between commas that is this one, and without one of its commas."""
    wanted = _folded(piece)
    for start, end in _pieces(text):
        if _folded(text[start:end]) == wanted:
            return _without_span(text, start, end)
    return text


def trigger_words(file: NetworkFile, prompt: str = "") -> tuple[str, ...]:
    """The words that a click adds, those left out that stand in the prompt, as a prompt writes them."""
    named = tuple(words(file.activation_text)) or file.trigger_words[:MOST_WORDS]
    missing = apply_triggers(prompt, [named], EVERY_WORD).added if prompt else named
    # Captions are no prompts: their brackets are brackets.
    is_caption = not file.activation_text and file.trigger_source == "training tags"
    return tuple(re.sub(r"([()\[\]\\])", r"\\\1", word) for word in missing) if is_caption else missing


def _negative_piece(file: NetworkFile, negative: str) -> str:
    missing = apply_triggers(negative, [tuple(words(file.negative_text))], EVERY_WORD).added
    if not missing:
        return ""
    end = negative.rstrip()
    return ("" if not end else " " if end.endswith(",") else ", ") + ", ".join(missing)


def _place_outside(text: str, caret: int) -> int:
    """The cursor's place, moved out of the tag, the line's end of spaces or the word that it is in."""
    place = max(0, min(caret, len(text)))
    for placed in placed_tags(text, None):
        if placed.span[0] < place < placed.span[1]:
            return placed.span[1]
    while place < len(text) and place and text[place].isalnum() and text[place - 1].isalnum():
        place += 1
    return place


def _stands(prompt: str, placed: PlacedTag, added: Added) -> bool:
    """Whether what was added round a tag is round it still."""
    start, end = placed.span
    return prompt[:start].endswith(added.before) and prompt[end:].startswith(added.after) and added != Added()


def _without(text: str, start: int, end: int) -> str:
    """The text without a span; of the spaces on both sides one stays, before a comma or at either end none."""
    before, after = text[:start], text[end:]
    if not before or before[-1] in "([|\n":
        return before + after.lstrip(" ")
    if before[-1] == " " and (not after or after[0].isspace() or after[0] in JOINED):
        return before[:-1] + after
    return before + after


def _without_span(text: str, start: int, end: int) -> str:
    """The text without a piece and one of the commas beside it."""
    while start < end and text[start].isspace():
        start += 1
    before, after = text[:start], text[end:]
    if after.startswith(","):
        after = after[1:].lstrip(" ")
        return before + after if after else before.rstrip(" ")
    if before.rstrip(" ").endswith(","):
        return before.rstrip(" ")[:-1].rstrip(" ") + after
    return before + after if after.strip() else before.rstrip(" ") + after


def _pieces(text: str) -> Iterator[Span]:
    """The spans between the commas, lines and tags of a text; commas inside brackets do not separate."""
    start = 0
    spans = [placed.span for placed in placed_tags(text, None)]
    for begin, end in (*spans, (len(text), len(text))):
        if begin >= start:
            yield from _split(text, start, begin)
            start = end


def _split(text: str, start: int, end: int) -> Iterator[Span]:
    depth, place = 0, start
    while place < end:
        character = text[place]
        if character == "\\":
            place += 1
        elif character in "([":
            depth += 1
        elif character in ")]":
            depth = max(0, depth - 1)
        elif character == "\n" or (character == "," and not depth):
            yield start, place
            start = place + 1
        place += 1
    yield start, end


def _word(word: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(word)}(?!\w)", re.IGNORECASE)


def _folded(piece: str) -> str:
    return " ".join(piece.split()).casefold()


def as_added(record: object) -> Added | None:
    """What a browser remembers of a click; None for anything else."""
    if not isinstance(record, dict):
        return None
    texts = {name: record.get(name, "") for name in ("before", "after", "negative")}
    kept = record.get("words", [])
    if not all(isinstance(text, str) for text in texts.values()) or not isinstance(kept, Sequence):
        return None
    return Added(**texts, words=tuple(word for word in kept if isinstance(word, str)))
