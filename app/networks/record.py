"""What the library knows of one network without loading it: the record that cards, commands and tags share."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from itertools import islice
from pathlib import Path

from app.errors import NetworkError, Problem
from app.networks.contents import contents, read_scalars
from app.networks.families import FAMILIES, folder_family
from app.networks.grouping import Keys, grouped
from app.networks.header import Header, read_header, uncollected
from app.networks.identity import UNKNOWN, BaseModel, identify
from app.networks.metadata import clean, describe, metadata_json, training
from app.networks.scan import ADAPTER_CONFIG, OUTSIDE_HINT, Found, Kind, legible
from app.networks.sidecar import AUTO_APPLY, read_object

CARD_TAGS = 40
"""Training tags on a record, for search; `details` reads them all from the file."""
CARD_TEXT = 2000
FLOAT_LIMIT = 1e300
NOT_READ = "the file has not been read yet"
"""The reason of a record that holds a name alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkFile:
    """A network on the disk. Sizes are bytes; times are since 1970.

    `name` is what a tag names: the path below its folder, without suffix. `output_name` is what its trainer called
    it, and `alias` is that name where it works in a tag, else empty. `file` holds the tensors (inside `path`, where
    that is a folder). The hashes are empty until computed. `auto_apply` is False where the user wants no trigger words
    applied. A network that must not be read says why in `refused`.
    """

    name: str
    path: Path
    file: Path
    kind: Kind
    size: int
    mtime_ns: int
    pickled: bool = False
    base_model: str = "unknown"
    reason: str = ""
    algorithms: Mapping[str, int] = field(default_factory=dict)
    components: tuple[str, ...] = ()
    rank: int | None = None
    alpha: float | None = None
    title: str = ""
    author: str = ""
    description: str = ""
    output_name: str = ""
    alias: str = ""
    trigger_words: tuple[str, ...] = ()
    trigger_source: str = ""
    tag_frequency: Mapping[str, int] = field(default_factory=dict)
    activation_text: str = ""
    negative_text: str = ""
    preferred_weight: float = 0.0
    notes: str = ""
    auto_apply: bool = True
    embedded_preview: bool = False
    picture: Path | None = None
    autov2: str = ""
    autov3: str = ""
    refused: str = ""
    problems: tuple[Problem, ...] = ()

    @property
    def mtime(self) -> float:
        """When the file was last changed, in seconds."""
        return self.mtime_ns / 1e9

    @property
    def folder(self) -> str:
        """The part of the name before its last slash."""
        return self.name.rpartition("/")[0]

    @property
    def bare(self) -> str:
        """The part of the name after its last slash."""
        return self.name.rpartition("/")[2]

    def as_card(self) -> dict[str, object]:
        """The record as JSON: text, numbers, lists. Paths are for showing, never for opening."""
        card = {name: getattr(self, name) for name in _PLAIN}
        return card | {
            "folder": self.folder,
            "mtime": self.mtime,
            "path": legible(str(self.path)),
            "algorithms": dict(self.algorithms),
            "tag_frequency": dict(self.tag_frequency),
            "hash": self.autov3,
            "preview": self.picture is not None or self.embedded_preview,
            "problems": [problem.as_json() for problem in self.problems],
        }


_ELSEWHERE = frozenset(
    {"name", "path", "file", "kind", "size", "mtime_ns", "pickled", "picture", "refused", "alias", "autov2", "autov3"}
)
"""Fields that a scan, the other files and the hashes give anew each time, so that the index need not keep them."""
_KEPT = tuple(entry.name for entry in fields(NetworkFile) if entry.name not in _ELSEWHERE)
_PLAIN = tuple(
    entry.name
    for entry in fields(NetworkFile)
    if entry.name
    not in {"mtime_ns", "path", "file", "algorithms", "tag_frequency", "picture", "embedded_preview", "problems"}
)


def named(found: Found, kind: Kind) -> NetworkFile:
    """A record of the name alone, of a file that is still to be read."""
    return _placed(found, kind, reason=NOT_READ)


def inspect(found: Found, kind: Kind) -> NetworkFile:
    """What a network's header and the small files beside it tell. A file that cannot be read is a record of that."""
    if found.refused:
        problem = Problem("error", found.refused, source=legible(str(found.path)), hint=OUTSIDE_HINT)
        return _placed(found, kind, reason="the file is not read", problems=(problem,))
    try:
        with uncollected():
            header = read_header(found.file) if found.file.suffix.lower() == ".safetensors" else None
            return _described(found, kind, header)
    except NetworkError as error:
        problem = Problem("error", error.message, source=legible(error.where), hint=error.hint)
        return _placed(found, kind, reason="the file cannot be read", problems=(problem,))


def _described(found: Found, kind: Kind, header: Header | None) -> NetworkFile:
    metadata = header.metadata if header else {}
    said = describe(found.path, metadata)
    common: dict[str, object] = {
        "title": said.title,
        "author": said.author,
        "description": said.text[:CARD_TEXT],
        "output_name": said.alias,
        "trigger_words": said.trigger_words,
        "trigger_source": said.trigger_source,
        "tag_frequency": dict(islice(said.tag_frequency.items(), CARD_TAGS)),
        "activation_text": clean(said.sidecar.activation_text, CARD_TEXT),
        "negative_text": clean(said.sidecar.negative_text, CARD_TEXT),
        "preferred_weight": said.sidecar.preferred_weight,
        "notes": clean(said.sidecar.notes, CARD_TEXT),
        "auto_apply": said.sidecar.others.get(AUTO_APPLY) is not False,
        "embedded_preview": bool(metadata.get("modelspec.thumbnail") or metadata.get("ssmd_cover_images")),
        "problems": said.problems,
    }
    keys = grouped(header.tensors) if header is not None and kind not in FAMILIES else None
    base = _base(found, kind, header, keys)
    common |= {"base_model": base.family, "reason": base.reason}
    if kind != "lora" or header is None:
        return _placed(found, kind, **common)
    held = contents(header, base.family, keys)
    alpha = next(read_scalars(found.file, header, held.alphas[:1]), None)
    common |= {
        "algorithms": held.algorithms,
        "components": held.components,
        "rank": held.rank,
        "alpha": _finite(alpha if held.alphas or not held.ranks else declared_alpha(found.path, metadata)),
        "problems": said.problems + held.problems(legible(str(found.path))),
    }
    return _placed(found, kind, **common)


def _base(found: Found, kind: Kind, header: Header | None, keys: Keys | None) -> BaseModel:
    """The base model of a network, or the family of another file."""
    if header is not None:
        shapes = header.shapes
        return FAMILIES[kind](shapes) if kind in FAMILIES else identify(shapes, header.metadata, keys)
    if found.pickled:
        return BaseModel(UNKNOWN, "a pickle is not opened to list it")
    return folder_family(found.file)


def declared_alpha(path: Path, metadata: Mapping[str, str]) -> object:
    """The alpha that a file without alpha tensors declares: peft's configuration, diffusers' metadata, kohya's."""
    config = read_object(path / ADAPTER_CONFIG) if path.is_dir() else {}
    document = metadata_json(metadata.get("lora_adapter_metadata", ""))
    fields = document if isinstance(document, dict) else {}
    alphas = (value for key, value in fields.items() if key.rpartition(".")[2] == "lora_alpha")
    return config.get("lora_alpha", next(alphas, training(metadata).get("alpha")))


def _finite(value: object) -> float | None:
    """A number that JSON can hold, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) > FLOAT_LIMIT:
        return None
    return float(value) if math.isfinite(value) else None


def _placed(found: Found, kind: Kind, **facts: object) -> NetworkFile:
    return NetworkFile(
        name=found.name,
        path=found.path,
        file=found.file,
        kind=kind,
        size=found.size,
        mtime_ns=found.mtime_ns,
        pickled=found.pickled,
        picture=found.picture,
        refused=found.refused,
        **facts,  # type: ignore[arg-type]
    )


def to_row(record: NetworkFile) -> str:
    """The part of a record that is worth keeping, as JSON."""
    kept = {name: getattr(record, name) for name in _KEPT} | {"problems": [asdict(one) for one in record.problems]}
    return json.dumps(kept, separators=(",", ":"))


def from_row(row: str, found: Found, kind: Kind) -> NetworkFile:
    """A kept record, at its place on the disk.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: for text that `to_row` did not write.
    """
    kept = json.loads(row)
    problems = tuple(Problem(**{**entry, "span": None}) for entry in kept.pop("problems"))
    lists = {name: tuple(value) for name, value in kept.items() if isinstance(value, list)}
    return _placed(found, kind, **(kept | lists), problems=problems)
