"""The engine over this machine's folders, as every command that generates opens it."""

from __future__ import annotations

from app.engine.engine import Engine, Generator
from app.engine.library import Library, ModelShelf
from app.settings import SettingsStore


def open_engine(settings: SettingsStore) -> Engine:
    """An engine that is not started yet; use it as a context manager."""
    folders = settings.folders
    library = Library(
        checkpoints=ModelShelf("checkpoint", folders.checkpoints, "model_index.json"),
        vaes=ModelShelf("VAE", folders.vaes, "config.json"),
    )

    def make_generator() -> Generator:
        raise NotImplementedError

    return Engine(make_generator, library)
