"""The page lists, saves, applies and exchanges styles."""

from __future__ import annotations

from pathlib import Path

from tests.ui.network_page import studio


def test_styles_are_saved_applied_exported_and_imported_by_the_page(tmp_path: Path) -> None:
    with studio(tmp_path / "one", lambda _models: None) as tab:
        tab.post("/app/styles", json={"name": "Ink", "prompt": "ink, {prompt}", "negative": "blurry"})
        (style,) = tab.get("/app/styles.json").json()["styles"]
        applied = tab.post("/app/styles/apply", json={"key": style["key"], "prompt": "a cat", "negative": "x"}).json()
        assert applied == {"prompt": "ink, a cat", "negative": "x, blurry"}
        exported = tab.get("/app/styles.csv").content
        tab.post("/app/styles/delete", json={"key": style["key"]})
        assert tab.get("/app/styles.json").json()["styles"] == []
        assert tab.post("/app/styles/apply", json={"key": style["key"]}).status_code == 422
        assert tab.post("/app/styles/import", content=exported).json()["count"] == 1
        assert tab.get("/app/styles.json").json()["styles"] == [style]
        assert tab.post("/app/styles/import", content=b"no,styles\n").status_code == 422
        assert tab.post("/app/styles", json={"name": " "}).status_code == 422
