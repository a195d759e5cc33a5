"""The settings: their model, and the file that keeps what the user changed.

A value comes from the command line, else the environment (`PATCHBAY_NETWORKS__LOADER=diffusers`), else `settings.toml`
in the data folder, else its default. The first two pin a key: it is shown, and locked. Only keys that were edited are
written, so a default that improves later reaches everyone who never touched it.
"""

from app.settings.files import temporary_file, write_atomically
from app.settings.folders import Folders, folders
from app.settings.model import Settings
from app.settings.store import SettingsStore, default_data_folder

__all__ = [
    "Folders",
    "Settings",
    "SettingsStore",
    "default_data_folder",
    "folders",
    "temporary_file",
    "write_atomically",
]
