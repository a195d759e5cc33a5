"""The engine over this machine's folders, as every command that generates opens it."""

from __future__ import annotations

from app.engine.engine import Engine, Generator
from app.engine.library import Library
from app.plugins import Extensions
from app.settings import SettingsStore
from app.settings.model import CHECKOUT


def open_engine(settings: SettingsStore) -> Engine:
    """An engine that is not started yet; use it as a context manager."""
    library = Library.of(settings.folders)

    def make_generator() -> Generator:
        from app.engine.generator import StudioGenerator

        return StudioGenerator(settings, library, Extensions(CHECKOUT / "extensions"))

    return Engine(make_generator, library)
