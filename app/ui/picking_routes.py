"""Changes to the prompts that cards and sliders ask for. The parser finds the tags, so they may be edited at will."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from app.engine.forecast import Forecasts
from app.errors import NetworkError, PatchbayError, RequestError
from app.networks.record import NetworkFile
from app.prompt.edit import PlacedTag, placed_tags
from app.prompt.strength import HYPERNET
from app.settings import SettingsStore
from app.settings.model import NetworkSettings
from app.ui.active import active_networks, edited, followed
from app.ui.picking import (
    Picked,
    add_tag,
    add_word,
    added_text,
    as_added,
    has_word,
    remove_tags,
    without_piece,
    without_word,
)
from app.ui.shelves import Shelves
from app.ui.tag_words import FOLDER, TagWords

LONGEST_PROMPT = 100_000


class Texts(BaseModel):
    """What stands in the boxes."""

    prompt: str = Field("", max_length=LONGEST_PROMPT)
    negative: str = Field("", max_length=LONGEST_PROMPT)


class Checkpoint(BaseModel):
    """The checkpoint that will read the prompts."""

    checkpoint: str = Field("", max_length=4096)


class Prompts(Texts, Checkpoint):
    """What stands in the boxes, and the checkpoint that will read it."""


class Click(Texts):
    """A click on a card: where the cursor is, and what an earlier click added."""

    kind: Literal["lora", "hypernetwork", "embedding"]
    key: str = Field(max_length=100)
    caret: int = Field(0, ge=0)
    box: Literal["prompt", "negative"] = "prompt"
    added: dict[str, Any] | None = None


class Word(BaseModel):
    """A piece of a prompt, to be there or not."""

    text: str = Field("", max_length=LONGEST_PROMPT)
    word: str = Field(min_length=1, max_length=2000)
    caret: int = Field(0, ge=0)


class TagChange(BaseModel):
    """A change to one tag of a prompt, counted from 0 in the text that it was `seen` in: by default, the same."""

    prompt: str = Field(max_length=LONGEST_PROMPT)
    seen: str | None = Field(None, max_length=LONGEST_PROMPT)
    tag: int = Field(ge=0)
    change: Literal["set", "clear", "switch", "remove", "name"]
    key: str = Field("all", max_length=20)
    value: str = Field("", max_length=2000)


def picking_routes(shelves: Shelves, settings: SettingsStore, forecasts: Forecasts) -> APIRouter:
    """The routes that answer with changed prompts."""
    routes = APIRouter()
    tags = TagWords(settings.data / FOLDER)

    @routes.post("/app/prompt/toggle")
    def toggle(click: Click) -> Response:
        """Add a network to the prompts, or take away exactly what was added. The cursor counts code points."""
        try:
            file = shelves.find(click.kind, click.key)
            picked, is_added = _toggled(click, file, shelves, settings.current.networks)
        except PatchbayError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse(asdict(picked) | {"is_added": is_added})

    @routes.post("/app/prompt/word")
    def toggle_word(piece: Word) -> dict[str, Any]:
        """Take a piece out of a text, or add it after the one that the cursor is in."""
        shorter = without_piece(piece.text, piece.word)
        if shorter != piece.text:
            return {"text": shorter, "is_added": False}
        return {"text": add_word(piece.text, piece.word, piece.caret)[0], "is_added": True}

    @routes.get("/app/prompt/words")
    def tag_words(query: Annotated[str, Query(max_length=200)]) -> dict[str, Any]:
        """Words of the tag files that fit what is typed, the commonest first."""
        found = tags.search(query)
        return {"words": [{"word": word.name, "count": word.count, "called": called} for word, called in found]}

    @routes.post("/app/prompt/edit")
    def edit(change: TagChange) -> Response:
        """Change one tag of a prompt."""
        try:
            kinds = shelves.library.tags
            seen = change.prompt if change.seen is None else change.seen
            tag = followed(change.tag, seen, change.prompt, kinds)
            prompt = edited(change.prompt, tag, change.change, change.key, change.value, kinds)
        except RequestError as error:
            return JSONResponse(error.as_json(), 422)
        return JSONResponse({"prompt": prompt})

    @routes.post("/app/prompt/active")
    def used(texts: Prompts) -> dict[str, Any]:
        """What the prompts use: the tags of each box in order, and the keys of the embeddings whose words they have."""
        networks = settings.current.networks
        active = [
            {"box": box, **record}
            for box, text in (("prompt", texts.prompt), ("negative", texts.negative))
            for record in active_networks(text, shelves, networks, forecasts, texts.checkpoint)
        ]
        return {"active": active, "words": list(embeddings_in(f"{texts.prompt}\n{texts.negative}", shelves))}

    return routes


def embeddings_in(text: str, shelves: Shelves) -> dict[str, NetworkFile]:
    """The embeddings whose words stand in a text, by key."""
    folded = text.casefold()
    found = ((key, file) for key, file in shelves.keyed("embedding").items() if file.bare.casefold() in folded)
    return {key: file for key, file in found if has_word(text, file.bare)}


def _toggled(click: Click, file: NetworkFile, shelves: Shelves, networks: NetworkSettings) -> tuple[Picked, bool]:
    """Both prompts after a click, and whether the network was added to them."""
    texts = {"prompt": click.prompt, "negative": click.negative}
    if file.kind == "embedding":
        if any(has_word(text, file.bare) for text in texts.values()):
            texts = {name: without_word(text, file.bare) for name, text in texts.items()}
            return Picked(texts["prompt"], texts["negative"], min(click.caret, len(texts[click.box]))), False
        texts[click.box], caret = add_word(texts[click.box], file.bare, click.caret)
        return Picked(texts["prompt"], texts["negative"], caret), True
    kinds = frozenset({HYPERNET}) if file.kind == "hypernetwork" else shelves.library.tags - {HYPERNET}
    catalog = shelves.catalogs[file.kind]

    def is_meant(placed: PlacedTag) -> bool:
        try:
            return catalog.find(placed.tag.name).path == file.path
        except NetworkError:
            return False

    meant = [placed for placed in placed_tags(click.prompt, kinds) if is_meant(placed)]
    if meant:
        return remove_tags(click.prompt, click.negative, meant, as_added(click.added)), False
    caret = click.caret if click.box == "prompt" else len(click.prompt)
    return add_tag(click.prompt, click.negative, added_text(file, networks), file, caret), True
