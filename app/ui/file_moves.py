"""A network's files on the move: to another name, or to the trash. What lies beside a network goes with it."""

from __future__ import annotations

import re
import secrets
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

from app.errors import NetworkError, StorageError
from app.networks.previews import SUFFIXES as PICTURE_SUFFIXES
from app.networks.record import NetworkFile
from app.networks.sidecar import beside, stem

COMPANIONS = (
    *PICTURE_SUFFIXES,
    ".json",
    ".civitai.info",
    ".metadata.json",
    ".cm-info.json",
    ".txt",
    ".description.txt",
    ".html",
)
"""What the web UIs keep beside a network, by what follows its name."""
UNUSABLE = re.compile(r'[\x00-\x1f\x7f<>:"/\\|?*]|^\.|^\s|[\s.]$')
"""What a name may not hold on one system or another; names that begin with a dot are not listed."""
LONGEST_NAME = 150
MOST_BYTES = 200


def rename_network(file: NetworkFile, name: str, others: Sequence[NetworkFile]) -> str:
    """Give a network's files another bare name in their folder; its whole name then.

    Raises:
        NetworkError: the name cannot be used, or is taken.
        StorageError: a file cannot be moved; none is.
    """
    if not name or len(name) > LONGEST_NAME or len(name.encode(errors="replace")) > MOST_BYTES or UNUSABLE.search(name):
        hint = 'A name has no slashes, none of <>:"|?*, and does not begin with a dot.'
        raise NetworkError("This name cannot be used.", where=name[:LONGEST_NAME], hint=hint)
    suffix = "" if file.path.is_dir() else file.path.suffix
    moves = [(file.path, file.path.with_name(name + suffix))]
    moves += [(path, path.with_name(name + path.name[len(stem(file.path)) :])) for path in companions(file, others)]
    for old, new in moves:
        # On disks that ignore case, the new name may be the old one's own file.
        if (new.exists() or new.is_symlink()) and not (old.exists() and new.exists() and old.samefile(new)):
            raise NetworkError("There is a file of this name.", where=new.name)
    _move(moves)
    return f"{file.folder}/{name}" if file.folder else name


def companions(file: NetworkFile, others: Sequence[NetworkFile]) -> list[Path]:
    """What lies beside a network and is its alone: another network of its name keeps what they share."""
    shared = {stem(other.path) for other in others if other.path.parent == file.path.parent and other.path != file.path}
    if stem(file.path) in shared:
        return []
    found = (beside(file.path, suffix) for suffix in COMPANIONS)
    return [path for path in found if path.is_file() and not path.is_symlink()]


def move_to_trash(paths: Sequence[Path], trash: Path) -> Path:
    """Move files into a new folder of the trash, and tell which.

    Raises:
        StorageError: a file cannot be moved; none is.
    """
    folder = trash / f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise StorageError(f"It cannot be made ({error.strerror or error}).", where=str(folder)) from error
    _move([(path, folder / path.name) for path in paths])
    return folder


def _move(moves: Sequence[tuple[Path, Path]]) -> None:
    """Move every file, or put back those that were."""
    moved: list[tuple[Path, Path]] = []
    for old, new in moves:
        try:
            shutil.move(old, new)
        except OSError as error:
            for was, now in reversed(moved):
                shutil.move(now, was)
            raise StorageError(f"It cannot be moved ({error.strerror or error}).", where=str(old)) from error
        moved.append((old, new))
