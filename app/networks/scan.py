"""What lies in the folders of a library: one `Found` per network, with what tells whether it has changed.

Only directory entries are read here, never files. Folders that begin with a dot are left out; links are never
followed out of a library, and never into a folder, so a loop cannot be walked.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.errors import NetworkError, Problem
from app.networks.civitai import CIVITAI_SUFFIXES
from app.networks.previews import picture_name
from app.networks.sidecar import stem

Entry = os.DirEntry[str]
Entries = Mapping[str, Entry]
Kind = Literal["lora", "embedding", "hypernetwork", "checkpoint", "vae"]

PICKLES = frozenset({".pt", ".ckpt", ".bin", ".pth"})
"""Suffixes of files that hold pickles."""
SUFFIXES: tuple[str, ...] = (".safetensors", ".pt", ".ckpt", ".bin", ".pth")
"""Where two files differ in these alone, the first keeps the plain name."""
ADAPTER_CONFIG = "adapter_config.json"
FOLDERS: Mapping[Kind, tuple[tuple[str, tuple[str, ...]], ...]] = {
    "lora": ((ADAPTER_CONFIG, ("adapter_model.safetensors", "adapter_model.bin")),),
    "checkpoint": (("model_index.json", ("model_index.json",)),),
    "vae": (("config.json", ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.bin")),),
}
"""Folders that are one network: the file that marks them, and the files that may hold their tensors."""
DIFFUSERS_FILE = "pytorch_lora_weights.safetensors"
"""What diffusers calls the one network of a folder. In a library it goes by its own name, below the folder's."""
DEPTH_LIMIT = 32
OUTSIDE = "This link leads out of the networks folder and is not followed."
OUTSIDE_HINT = "Add the folder that it points to under Settings → Networks → Extra folders."


@dataclass(frozen=True, slots=True)
class Found:
    """One network on the disk. `path` is its file or folder, `file` the file whose size and time are given.

    `signature` changes whenever anything that describes it does: the file, its sidecars. `picture` is the path of
    the picture beside it, or None. A network that must not be read says why in `refused`.
    """

    root: Path
    path: Path
    name: str
    file: Path
    size: int
    mtime_ns: int
    signature: str
    picture: Path | None
    refused: str = ""

    @property
    def pickled(self) -> bool:
        return self.file.suffix.lower() in PICKLES


class Scan:
    """One walk over the roots; `found` and `problems` are its result."""

    def __init__(self, roots: tuple[Path, ...], kind: Kind) -> None:
        self.found: list[Found] = []
        self.problems: list[Problem] = []
        self._kind = kind
        self._names: set[str] = set()
        self._paths: set[Path] = set()
        for root in roots:
            self._root = root
            self._real = Path(os.path.realpath(root))
            self._walk(root, "", 0, {})

    def _walk(self, folder: Path, below: str, depth: int, around: Entries) -> None:
        """Everything in one folder; `below` is its path below the root, with a slash; `around` is what lies by it."""
        entries = self._entries(folder)
        taken = self._whole(folder, below, entries, around) if below else frozenset()
        files = [entry for name, entry in entries.items() if name not in taken and self._is_network(name)]
        rank = {suffix: position for position, suffix in enumerate(SUFFIXES)}
        files.sort(key=lambda entry: (rank[Path(entry.name).suffix.lower()], entry.name))
        names: set[str] = set()
        for entry in files:
            name = stem(Path(entry.name))
            name = entry.name if name in names else name
            names.add(name)
            self._add(Path(entry.path), below + name, entry, entries)
        for entry in entries.values():
            if self._is_folder(entry):
                if depth < DEPTH_LIMIT:
                    self._walk(Path(entry.path), f"{below}{entry.name}/", depth + 1, entries)
                else:
                    self._problem(entry.path, f"It is more than {DEPTH_LIMIT} folders deep and is left out.")

    def _entries(self, folder: Path) -> Entries:
        """What is in a folder, by name, in order; nothing of one that cannot be read, which is said."""
        try:
            with os.scandir(folder) as entries:
                return {entry.name: entry for entry in sorted(entries, key=lambda entry: entry.name)}
        except FileNotFoundError:
            return {}
        except OSError as error:
            self._problem(folder, f"This folder cannot be read ({error.strerror or error}).")
            return {}

    @staticmethod
    def _is_network(name: str) -> bool:
        return name.lower().endswith(SUFFIXES) and not name.startswith(".")

    def _is_folder(self, entry: Entry) -> bool:
        """Whether to look inside; a linked folder is not, and is said if it leads out of the library."""
        if entry.name.startswith("."):
            return False
        try:
            if not entry.is_symlink():
                return entry.is_dir() and not self._is_network(entry.name)
            if entry.is_dir() and not self._inside(entry):
                self._problem(entry.path, OUTSIDE, OUTSIDE_HINT)
        except OSError as error:
            self._problem(entry.path, f"It cannot be read ({error.strerror or error}).")
        return False

    def _inside(self, entry: Entry) -> bool:
        """Whether a link stays in the library."""
        return Path(os.path.realpath(entry.path)).is_relative_to(self._real)

    def _whole(self, folder: Path, below: str, entries: Entries, around: Entries) -> frozenset[str]:
        """Add a folder that is one network; the names that belong to it."""
        for mark, names in FOLDERS.get(self._kind, ()):
            name = next((name for name in names if name in entries), "")
            if mark in entries and name:
                self._add(folder, below.rstrip("/"), entries[name], around, entries[mark])
                return frozenset({mark, *names})
        return frozenset()

    def _add(self, path: Path, name: str, entry: Entry, around: Entries, mark: Entry | None = None) -> None:
        """Note a network: `entry` is its file, `around` is what lies by it, `mark` is the other file it depends on."""
        own = stem(path)
        if path in self._paths:  # one root lies in another
            return
        try:
            outside = entry.is_symlink() and not self._inside(entry)
            status = entry.stat(follow_symlinks=not outside)
            companions = [around[own + suffix] for suffix in CIVITAI_SUFFIXES if own + suffix in around]
            companions += [mark] if mark else []
            times = [(other.name, other.stat().st_mtime_ns, other.stat().st_size) for other in companions]
        except OSError as error:  # a link to nothing, or in a circle
            self._problem(entry.path, f"It cannot be read ({error.strerror or error}).")
            return
        picture = picture_name(path, around)
        self._paths.add(path)
        self.found.append(
            Found(
                root=self._root,
                path=path,
                name=self._named(legible(name)),
                file=Path(entry.path),
                size=status.st_size,
                mtime_ns=status.st_mtime_ns,
                signature=f"{status.st_size} {status.st_mtime_ns} {times}",
                picture=path.parent / picture if picture else None,
                refused=OUTSIDE if outside else "",
            )
        )

    def _named(self, name: str) -> str:
        """A name of its own: where an earlier root has the name too, the later root's name goes before it."""
        candidates = (f"{self._root.name}{f'~{count}' if count > 1 else ''}/{name}" for count in itertools.count(1))
        unique = name if name not in self._names else next(name for name in candidates if name not in self._names)
        self._names.add(unique)
        return unique

    def _problem(self, path: str | os.PathLike[str], message: str, hint: str = "") -> None:
        self.problems.append(Problem("warning", message, hint=hint, source=legible(os.fspath(path))))


def found_at(path: Path) -> Found:
    """One network by itself, wherever it lies: a file, or a folder that is one network.

    Raises:
        NetworkError: naming the path: nothing is there, or a folder that is no network.
    """
    own = path.absolute()
    try:
        marked = [
            own / name for rows in FOLDERS.values() for mark, names in rows if (own / mark).is_file() for name in names
        ]
        file = next((inner for inner in (*marked, own / DIFFUSERS_FILE) if inner.is_file()), own)
        status = file.stat()
        names = {entry.name for entry in own.parent.iterdir()}
    except OSError as error:
        raise NetworkError(f"It cannot be read ({error.strerror or error}).", where=str(path)) from error
    picture = picture_name(own, names)
    name = legible(stem(own))
    size, time = status.st_size, status.st_mtime_ns
    return Found(own.parent, own, name, file, size, time, "", own.parent / picture if picture else None)


def legible(text: str) -> str:
    """A file name as text that can be shown, sent and stored: what is not Unicode in it becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")
