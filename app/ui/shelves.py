"""Every network there is, by kind and key. A key is made here and only ever looked up: nothing is joined to a path."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from types import MappingProxyType

from app.engine.library import Library
from app.errors import NetworkError
from app.networks.catalog import Catalog
from app.networks.record import NetworkFile
from app.settings import Folders

Listing = tuple[NetworkFile, ...]


def network_key(file: NetworkFile) -> str:
    """The name of a network in an address: letters and digits alone."""
    return hashlib.blake2s(f"{file.kind}/{file.name}".encode(errors="surrogatepass"), digest_size=10).hexdigest()


class Shelves:
    """One catalogue for each kind of file; safe to use from several threads."""

    def __init__(self, library: Library, folders: Folders) -> None:
        index = folders.data / "index.sqlite"
        self.library = library
        self.catalogs: Mapping[str, Catalog] = MappingProxyType(
            {
                "lora": library.networks,
                "embedding": library.embeddings,
                "hypernetwork": library.hypernetworks,
                "checkpoint": Catalog(folders.checkpoints, "checkpoint", index),
                "vae": Catalog(folders.vaes, "vae", index),
            }
        )
        self._by_key: dict[str, tuple[Listing, dict[str, NetworkFile]]] = {}
        self._lock = threading.Lock()

    def find(self, kind: str, key: str) -> NetworkFile:
        """The network of a key.

        Raises:
            NetworkError: there is none, or no longer.
        """
        file = self.keyed(kind).get(key) if kind in self.catalogs else None
        if file is None:
            raise NetworkError("This network is not there any more.", hint="Refresh the cards.")
        return self.catalogs[kind].whole(file)

    def refresh(self) -> None:
        """Look at the folders again."""
        for catalog in self.catalogs.values():
            catalog.refresh()

    def reading(self) -> tuple[int, int] | None:
        """How many files of how many have been read, while the folders are looked at for the first time."""
        seen = [catalog.so_far(patience=0) for catalog in self.catalogs.values()]
        if all(one.is_whole for one in seen):
            return None
        return sum(one.read for one in seen), sum(one.total for one in seen)

    def keyed(self, kind: str) -> dict[str, NetworkFile]:
        """The networks of a kind by key, in the order of their names; those found yet, during a first look."""
        listing = self.catalogs[kind].so_far().files
        with self._lock:
            seen, files = self._by_key.get(kind, ((), {}))
            if seen is not listing:
                files = {network_key(file): file for file in listing}
                self._by_key[kind] = (listing, files)
            return files
