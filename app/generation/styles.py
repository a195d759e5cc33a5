"""Styles: saved pieces of prompts. They lie in `<data>/styles.csv`, in the form that other web UIs read and write."""

from __future__ import annotations

import csv
import hashlib
import io
import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from app.errors import RequestError, StorageError
from app.settings import write_atomically

FILE = "styles.csv"
COLUMNS = ("name", "prompt", "negative_prompt")
PLACE = "{prompt}"
"""Where a style's text puts the prompt that it is applied to; without it the style's text follows."""
MOST = 5000
LONGEST_NAME = 200
LONGEST_TEXT = 20_000
LARGEST_FILE = 16_000_000
"""Bytes."""


@dataclass(frozen=True, slots=True)
class Style:
    """A saved piece of both prompts. Either text may hold network tags, and `{prompt}` once or not at all."""

    name: str
    prompt: str = ""
    negative: str = ""

    @property
    def key(self) -> str:
        """Its name in an address: letters and digits alone."""
        return hashlib.blake2s(self.name.encode(errors="surrogatepass"), digest_size=10).hexdigest()

    def applied(self, prompt: str, negative: str) -> tuple[str, str]:
        """Both prompts with this style."""
        return _joined(self.prompt, prompt), _joined(self.negative, negative)


class Styles:
    """The styles of one data folder; safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE
        self._lock = threading.Lock()

    def all(self) -> Mapping[str, Style]:
        """Every style by its key, in the order of the file. The file is read anew: it may be edited by hand.

        Raises:
            StorageError: there is a file that cannot be read.
        """
        try:
            content = self.path.read_bytes()[:LARGEST_FILE]
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise StorageError(f"It cannot be read ({error.strerror or error}).", where=str(self.path)) from error
        return {style.key: style for style in read_styles(content)}

    def save(self, *styles: Style) -> None:
        """Add styles; those of a name that is there already take its place.

        Raises:
            RequestError: a name is missing.
            StorageError: the file cannot be read or written; nothing is changed.
        """
        if any(not style.name.strip() for style in styles):
            raise RequestError("A style has a name.", where="name")
        with self._lock:
            self._write({**self.all(), **{style.key: style for style in styles}}.values())

    def delete(self, key: str) -> None:
        """Take a style away, if it is there; raises as `save` does."""
        with self._lock:
            self._write(style for own, style in self.all().items() if own != key)

    def _write(self, styles: Iterable[Style]) -> None:
        try:
            write_atomically(self.path, written_styles(styles))
        except OSError as error:
            raise StorageError(f"It cannot be written ({error.strerror or error}).", where=str(self.path)) from error


def read_styles(content: bytes) -> tuple[Style, ...]:
    """The styles of a CSV file; lines without a name are left out.

    Raises:
        StorageError: it is no CSV file: saved again, what follows the broken place would be lost.
    """
    text = content.decode("utf-8-sig", "replace").replace("\0", "")
    found: list[Style] = []
    try:
        for row in csv.DictReader(io.StringIO(text, newline="")):
            name, prompt, negative = (str(row.get(column) or "") for column in COLUMNS)
            if name.strip() and len(found) < MOST:
                found.append(Style(name[:LONGEST_NAME], prompt[:LONGEST_TEXT], negative[:LONGEST_TEXT]))
    except csv.Error as error:
        raise StorageError(f"The styles cannot be read ({error}).", hint="Mend or move styles.csv.") from error
    return tuple(found)


def written_styles(styles: Iterable[Style]) -> bytes:
    """The CSV file of some styles, with the mark that spreadsheets know UTF-8 by."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows((style.name, style.prompt, style.negative) for style in styles)
    return text.getvalue().encode("utf-8-sig", "replace")


def _joined(style: str, text: str) -> str:
    if PLACE in style:
        return style.replace(PLACE, text)
    return ", ".join(part for part in (text.strip().rstrip(","), style.strip()) if part)
