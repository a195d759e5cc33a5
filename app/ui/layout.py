"""Where the controls stand. The scripts in static/ give the page its life; Gradio keeps the form's values."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from app.ui.events import connect
from app.ui.form import SHAPES, Form
from app.ui.studio import Studio

STATIC = Path(__file__).parent / "static"
BRIDGE = "element.addEventListener('patchbay', () => trigger('restored'))"
"""The way from a script to a Gradio event; Gradio reads the event's name here."""


def studio_page(engine: Studio) -> gr.Blocks:
    """The whole page, with its events."""
    form = Form.of(engine)
    with gr.Blocks(title="Patchbay", fill_width=True, analytics_enabled=False) as blocks:
        _quick_settings(form)
        _prompts(form)
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Generation", id="generation"), gr.Row(equal_height=False, elem_id="workbench"):
                _generation_settings(form)
                with gr.Column(scale=5, min_width=340, elem_id="results_column"):
                    static_part("results")
            with gr.Tab("PNG Info", id="pnginfo"):
                static_part("pnginfo")
        bridge = static_part("bridge", script=BRIDGE)
        connect(blocks, form, bridge)
    return blocks


def static_part(name: str, script: str | None = None) -> gr.HTML:
    """A piece of the page that the server never changes: no user's text ever goes through a template."""
    markup = (STATIC / f"{name}.html").read_text(encoding="utf-8")
    return gr.HTML(None, html_template=markup, js_on_load=script, elem_id=name, apply_default_css=False)


def _quick_settings(form: Form) -> None:
    with gr.Row(elem_id="quick", equal_height=True):
        static_part("brand")
        form.checkpoint.render()
        form.refresh.render()
        form.vae.render()
        form.clip_skip.render()
        form.appearance.render()


def _prompts(form: Form) -> None:
    with gr.Row(elem_id="prompts", equal_height=False):
        with gr.Column(scale=6, min_width=320, elem_id="prompt_column"):
            form.prompt.render()
            form.negative_prompt.render()
            static_part("explanation")
        with gr.Column(scale=1, min_width=190, elem_id="actions"):
            form.generate.render()
            with gr.Row(elem_id="stopping"):
                form.interrupt.render()
                form.skip.render()
            with gr.Row(elem_id="tools"):
                form.restore.render()
                form.clear.render()


def _generation_settings(form: Form) -> None:
    with gr.Column(scale=4, min_width=340, elem_id="settings_column"):
        with gr.Row(elem_classes="panel"):
            form.sampler.render()
            form.schedule_type.render()
            form.steps.render()
        with gr.Column(elem_classes="panel"):
            with gr.Row(equal_height=True):
                form.width.render()
                form.swap.render()
                form.height.render()
            with gr.Row(elem_id="shapes"):
                for shape in SHAPES:
                    form.shapes[shape].render()
        with gr.Row(elem_classes="panel"):
            form.cfg_scale.render()
            form.batch_count.render()
            form.batch_size.render()
        with gr.Row(equal_height=True, elem_classes="panel"):
            form.seed.render()
            form.seed_random.render()
            form.seed_reuse.render()
            form.emphasis.render()
