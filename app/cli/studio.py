"""The engine over this machine's folders, as every command that generates opens it."""

from __future__ import annotations

import sys

from app.engine.engine import Engine, Generator
from app.engine.library import Library
from app.plugins import Extensions
from app.settings import SettingsStore
from app.settings.model import CHECKOUT


def load_extensions() -> Extensions:
    """The extensions of this checkout; what failed is told on standard error."""
    extensions = Extensions(CHECKOUT / "extensions")
    for problem in extensions.problems:
        print(problem, file=sys.stderr)
    return extensions


def open_engine(settings: SettingsStore, extensions: Extensions) -> Engine:
    """An engine that is not started yet; use it as a context manager."""
    library = Library.of(settings.folders, extensions.network_kinds)

    def make_generator() -> Generator:
        from transformers.utils.logging import disable_progress_bar

        from app.diffusion.device import leave_a_core
        from app.engine.generator import StudioGenerator

        leave_a_core()
        disable_progress_bar()  # A load is told once, by the job that waits for it.
        return StudioGenerator(settings, library, extensions)

    return Engine(make_generator, library)
