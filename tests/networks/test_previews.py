"""Laws of previews: the user's picture goes first, and only what begins as a picture passes."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from app.networks.previews import picture_name, read_preview

PNG, JPEG, GIF, WEBP = b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff...", b"GIF89a...", b"RIFF....WEBP"
THUMBNAIL = {"modelspec.thumbnail": "data:image/jpeg;base64," + base64.b64encode(JPEG).decode()}
COVERS = {"ssmd_cover_images": json.dumps(["not a picture", base64.b64encode(WEBP).decode()])}


def test_the_picture_beside_the_file_goes_first_then_the_thumbnail_then_the_covers(tmp_path: Path) -> None:
    network = tmp_path / "my.net.safetensors"
    found = [read_preview(network, {}), read_preview(network, COVERS), read_preview(network, COVERS | THUMBNAIL)]
    (tmp_path / "my.net.preview.png").write_bytes(PNG)
    found.append(read_preview(network, COVERS | THUMBNAIL))
    (tmp_path / "my.net.gif").write_bytes(GIF)
    found.append(read_preview(network, COVERS | THUMBNAIL))
    assert [(preview.data, preview.media_type, preview.source) if preview else None for preview in found] == [
        None,
        (WEBP, "image/webp", "ssmd_cover_images"),
        (JPEG, "image/jpeg", "modelspec.thumbnail"),
        (PNG, "image/png", "my.net.preview.png"),
        (GIF, "image/gif", "my.net.gif"),
    ]


@pytest.mark.parametrize(
    "metadata",
    [
        {"modelspec.thumbnail": "data:image/svg+xml;base64," + base64.b64encode(b"<svg onload=alert(1)>").decode()},
        {"modelspec.thumbnail": "https://example.org/a.png"},
        {"modelspec.thumbnail": "data:image/png;base64,!!!"},
        {"modelspec.thumbnail": "data:image/png;base64,é"},
        {"ssmd_cover_images": "[" * 100_000},
        {"ssmd_cover_images": '{"a": 1}'},
        {"ssmd_cover_images": '[1, null, "", "AAAA"]'},
    ],
)
def test_what_is_no_picture_is_none(tmp_path: Path, metadata: dict[str, str]) -> None:
    (tmp_path / "a.png").write_bytes(b"<html>")
    (tmp_path / "a.jpg").mkdir()
    assert read_preview(tmp_path / "a.safetensors", metadata) is None


def test_the_name_of_the_picture_is_the_networks() -> None:
    names = {"a.png", "a.v1.webp", "b.preview.jpeg", "peft.v1.png"}
    found = [picture_name(Path(p), names) for p in ("x/a.safetensors", "a.v1.pt", "b.safetensors", "c.pt", "peft.v1")]
    assert found == ["a.png", "a.v1.webp", "b.preview.jpeg", "", "peft.v1.png"]
