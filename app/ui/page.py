"""The page: what it is made of, and how it is mounted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.engine.engine import Engine
from app.settings import SettingsStore
from app.ui.quick_gradio import import_gradio

if TYPE_CHECKING:
    import gradio as gr

UPLOAD_LIMIT = "64mb"
HEAD = """
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="dark light">
<link rel="icon" href="/app/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/app/static/style.css">
<link rel="stylesheet" href="/app/static/networks.css">
<link rel="stylesheet" href="/app/static/settings.css">
<link rel="stylesheet" href="/app/static/tour.css">
<script src="/app/static/appearance.js"></script>
<script>window.patchbay = import("/app/static/boot.js");</script>
"""


@dataclass(frozen=True, slots=True)
class Page:
    """The Gradio blocks, and the arguments that `gradio.mount_gradio_app` takes beside them."""

    blocks: gr.Blocks
    mount: dict[str, Any]


def build(engine: Engine, settings: SettingsStore) -> Page:
    """The page of `engine`. Gradio is imported here and not before, with its cache in the data folder."""
    import_gradio(settings.data / "cache" / "gradio")
    from app.ui.layout import studio_page
    from app.ui.theme import dense_theme

    return Page(
        blocks=studio_page(engine, settings.current),
        mount={
            "theme": dense_theme(),
            "head": HEAD,
            "footer_links": [],
            "run_history": False,
            "enable_monitoring": False,
            "max_file_size": UPLOAD_LIMIT,
            "show_error": False,
            "ssr_mode": False,
            "mcp_server": False,
        },
    )
