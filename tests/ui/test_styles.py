"""The page lists, saves, applies and exchanges styles."""

from __future__ import annotations

from pathlib import Path

from tests.ui.network_page import studio


def test_styles_are_saved_applied_exported_and_imported_by_the_page(tmp_path: Path) -> None:
    with studio(tmp_path / "one", lambda _models: None) as tab:
        tab.post("/app/styles", json={"name": "Ink", "prompt": "ink, {prompt}", "negative": "blurry"})
        (style,) = tab.get("/app/styles.json").json()["styles"]
        applied = tab.post("/app/styles/toggle", json={"key": style["key"], "prompt": "a cat", "negative": "x"}).json()
        assert applied == {"prompt": "ink, a cat", "negative": "x, blurry", "is_added": True}
        assert tab.post("/app/styles/active", json=applied).json() == {"keys": [style["key"]]}
        again = tab.post("/app/styles/toggle", json={**applied, "key": style["key"]}).json()
        assert again == {"prompt": "a cat", "negative": "x", "is_added": False}
        assert tab.post("/app/styles/active", json=again).json() == {"keys": []}
        exported = tab.get("/app/styles.csv").content
        tab.post("/app/styles/delete", json={"key": style["key"]})
        assert tab.get("/app/styles.json").json()["styles"] == []
        assert tab.post("/app/styles/toggle", json={"key": style["key"]}).status_code == 422
        assert tab.post("/app/styles/import", content=exported).json()["count"] == 1
        assert tab.get("/app/styles.json").json()["styles"] == [style]
        assert tab.post("/app/styles/import", content=b"no,styles\n").status_code == 422
        assert tab.post("/app/styles", json={"name": " "}).status_code == 422


def test_a_style_has_a_star_and_a_picture_like_any_card(tmp_path: Path) -> None:
    with studio(tmp_path, lambda _models: None) as tab:
        tab.cookies.set("patchbay_owner", "a" * 24)
        tab.post("/app/styles", json={"name": "Ink", "prompt": "ink"})
        (style,) = tab.get("/app/styles.json").json()["styles"]
        assert (style["favourite"], style["picture"]) == (False, None)
        job = tab.post("/app/generate", json={"prompt": "a cat", "steps": 1, "width": 64, "height": 64}).json()["id"]
        while tab.get(f"/app/image/{job}/0").status_code != 200:
            pass
        key = style["key"]
        assert tab.post(f"/app/networks/style/favourite/{key}", json={"favourite": True}).json()["favourite"]
        assert tab.post(f"/app/networks/style/preview/{key}", json={"job": job}).status_code == 200
        (style,) = tab.get("/app/styles.json").json()["styles"]
        assert style["favourite"] and tab.get(style["picture"]).content.startswith(b"RIFF")
        assert tab.post(f"/app/networks/style/preview/{key}", json={"job": "another"}).status_code == 404
        assert tab.post("/app/networks/style/favourite/nowhere", json={"favourite": True}).status_code == 422
        assert tab.get("/app/networks/style/thumb/..%2f..%2fsettings").status_code == 404
        tab.post("/app/styles/delete", json={"key": key})
        assert tab.get(style["picture"]).status_code == 404
