"""Laws of images as files."""

import io
import os
import shutil
import subprocess
import zlib
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from app.errors import RequestError, StorageError
from app.generation.png import MAX_TEXT_CHARACTERS, png_bytes, read_infotext, save_png

WHEN = datetime(2026, 11, 28, 8, 30)
TEXTS = ["a cat\nSteps: 1, Seed: 2, Size: 8x8", "猫 “quoted” café", "line\r\nline", ""]


def picture(width: int = 8, height: int = 8) -> Image.Image:
    return Image.frombytes("RGB", (width, height), bytes(range(256)) * (width * height * 3 // 256 + 1))


@given(st.text(max_size=200))
def test_a_png_gives_back_its_text(text: str) -> None:
    assert read_infotext(png_bytes(picture(), text)) == text


@pytest.mark.parametrize("kind", ["JPEG", "WEBP"])
@pytest.mark.parametrize(
    ("coding", "text"), [*(("utf-16-be", text) for text in TEXTS), ("utf-16-le", TEXTS[0]), ("utf-16-le", TEXTS[2])]
)
def test_a_jpeg_and_a_webp_give_back_their_text(coding: str, text: str, kind: str) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + text.encode(coding)
    buffer = io.BytesIO()
    picture().save(buffer, kind, exif=exif)
    assert read_infotext(buffer.getvalue()) == text


def test_a_file_is_named_by_date_and_seed_and_holds_its_pixels(tmp_path: Path) -> None:
    path = save_png(picture(), "hello", tmp_path, seed=7, when=WHEN)
    assert path.relative_to(tmp_path).as_posix() == "2026-11-28/20261128-083000-7.png"
    assert read_infotext(path) == "hello"
    with Image.open(path) as image:
        assert image.tobytes() == picture().tobytes()


def test_a_file_is_never_written_over_another(tmp_path: Path) -> None:
    paths = [save_png(picture(), str(number), tmp_path, seed=7, when=WHEN) for number in range(4)]
    assert [read_infotext(path) for path in paths] == ["0", "1", "2", "3"]
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_a_file_is_as_readable_as_any_other_new_file(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.touch()
    assert save_png(picture(), "", tmp_path, seed=1).stat().st_mode == plain.stat().st_mode


def test_a_full_disk_is_one_line_and_leaves_nothing_behind(tmp_path: Path) -> None:
    if not shutil.which("mount") or os.name == "nt" or os.geteuid() != 0:
        pytest.skip("needs root, to mount a small file system")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a file system")
    try:
        with pytest.raises(StorageError) as caught:
            save_png(Image.frombytes("RGB", (128, 128), os.urandom(128 * 128 * 3)), "x", tmp_path, seed=1)
        assert "\n" not in str(caught.value) and str(tmp_path) in str(caught.value)
        assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    finally:
        subprocess.run(["umount", tmp_path], check=True)


def test_a_folder_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        save_png(picture(), "", tmp_path / "file", seed=1)


@pytest.mark.parametrize(
    "content", [b"", b"text", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff"]
)
def test_a_file_that_is_no_image_is_refused_in_one_line(content: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        read_infotext(content)
    assert "\n" not in str(caught.value)


@given(st.integers(0, 400), st.binary(min_size=1, max_size=8))
def test_a_damaged_image_is_read_or_refused_and_nothing_else(position: int, damage: bytes) -> None:
    whole = png_bytes(picture(), "猫" * 20)
    try:
        read_infotext(whole[:position] + damage + whole[position + len(damage) :])
        read_infotext(whole[:position])
    except RequestError:
        pass


def test_an_image_of_absurd_size_is_refused_before_its_pixels_are_read() -> None:
    whole = png_bytes(picture(), "")
    header = b"IHDR" + (10**5).to_bytes(4, "big") * 2 + whole[24:29]
    bomb = whole[:12] + header + zlib.crc32(header).to_bytes(4, "big") + whole[33:]
    with pytest.raises(RequestError):
        read_infotext(bomb)


def test_a_text_of_absurd_length_is_refused() -> None:
    with pytest.raises(RequestError):
        read_infotext(png_bytes(picture(), "a" * (MAX_TEXT_CHARACTERS + 1)))


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        read_infotext(tmp_path / "none.png")
