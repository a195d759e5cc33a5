"""The look of the controls: dense, calm, readable in the dark and in the light. The rest is static/style.css."""

from __future__ import annotations

from collections.abc import Mapping

import gradio as gr
from gradio.themes.utils.colors import Color

INK = Color(
    name="ink",
    c50="#f6f7f9",
    c100="#eceef2",
    c200="#dde0e7",
    c300="#c3c8d3",
    c400="#979eae",
    c500="#6b7385",
    c600="#4d5566",
    c700="#343b4a",
    c800="#1e232d",
    c900="#161a22",
    c950="#0e1117",
)
"""Neutral greys with a little blue: pictures beside them keep their colours."""


LOOK: Mapping[str, str] = {
    "body_background_fill": "*neutral_100",
    "body_background_fill_dark": "*neutral_950",
    "body_text_color": "*neutral_800",
    "body_text_color_dark": "*neutral_200",
    "body_text_color_subdued": "*neutral_600",
    "body_text_color_subdued_dark": "*neutral_400",
    "background_fill_primary_dark": "*neutral_900",
    "background_fill_secondary_dark": "*neutral_950",
    "block_background_fill": "white",
    "block_background_fill_dark": "*neutral_900",
    "block_border_width": "1px",
    "block_border_color": "*neutral_200",
    "block_border_color_dark": "#ffffff0f",
    "block_shadow": "none",
    "block_label_text_color": "*neutral_600",
    "block_label_text_color_dark": "*neutral_400",
    "block_info_text_color": "*neutral_600",
    "block_info_text_color_dark": "*neutral_400",
    "block_title_text_color": "*neutral_600",
    "block_title_text_color_dark": "*neutral_400",
    "block_title_text_weight": "500",
    "border_color_primary": "*neutral_200",
    "border_color_primary_dark": "#ffffff14",
    "border_color_accent_dark": "*neutral_700",
    "color_accent_soft_dark": "*neutral_800",
    "input_background_fill": "*neutral_50",
    "input_background_fill_dark": "*neutral_950",
    "input_border_color": "*neutral_200",
    "input_border_color_dark": "#ffffff14",
    "input_border_color_focus": "*primary_600",
    "input_border_color_focus_dark": "*primary_500",
    "input_placeholder_color": "*neutral_500",
    "input_placeholder_color_dark": "*neutral_400",
    "input_shadow": "none",
    "input_shadow_focus": "none",
    "button_primary_background_fill": "*primary_700",
    "button_primary_background_fill_hover": "*primary_800",
    "button_primary_background_fill_dark": "*primary_400",
    "button_primary_background_fill_hover_dark": "*primary_300",
    "button_primary_text_color": "white",
    "button_primary_text_color_dark": "*neutral_950",
    "button_secondary_background_fill": "*neutral_200",
    "button_secondary_background_fill_hover": "*neutral_300",
    "button_secondary_background_fill_dark": "*neutral_800",
    "button_secondary_background_fill_hover_dark": "*neutral_700",
    "button_secondary_text_color": "*neutral_800",
    "button_secondary_text_color_dark": "*neutral_200",
    "button_cancel_background_fill": "#b91c1c",
    "button_cancel_background_fill_hover": "#991b1b",
    "button_cancel_background_fill_dark": "#b91c1c",
    "button_cancel_background_fill_hover_dark": "#dc2626",
    "button_cancel_text_color": "white",
    "button_cancel_text_color_dark": "white",
    "slider_color": "*primary_600",
    "slider_color_dark": "*primary_400",
    "layout_gap": "8px",
    "form_gap_width": "0px",
}
"""What Gradio's default look is changed to: its names, light and dark."""


def dense_theme() -> gr.themes.Base:
    """Small spacing and type, hairline borders, and text that keeps a contrast of 4.5 : 1 or better."""
    return gr.themes.Default(
        primary_hue="teal",
        secondary_hue="teal",
        neutral_hue=INK,
        spacing_size="sm",
        radius_size="md",
        text_size="sm",
        font=["ui-sans-serif", "system-ui", "sans-serif"],
        font_mono=["ui-monospace", "Consolas", "monospace"],
    ).set(**LOOK)
